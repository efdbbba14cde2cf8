"""Types that many resources share: bounded texts, ids, times, references, and the query of a list."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, NamedTuple, Protocol, TypeVar

from fastapi import Depends, Path
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema
from starlette.requests import Request

from tunnelctl.wire.texts import MAX_DESCRIPTION, MAX_METADATA
from tunnelrelay.api.auth_middleware import Call

MAX_LIST = 100
"""Entries of the longest list a request may hold."""

PRINTABLE = r"^[^\x00-\x1f\x7f]*$"
"""No control characters: they would end up in terminals and logs, and PostgreSQL keeps no NUL."""
TEXT = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"
"""The same, with line breaks and tabs."""
ID = r"^[A-Za-z0-9_-]{1,64}$"

Description = Annotated[str, Field(max_length=MAX_DESCRIPTION, pattern=PRINTABLE, description="For people.")]
Metadata = Annotated[str, Field(max_length=MAX_METADATA, pattern=TEXT, description="For your programs.")]
Line = Annotated[str, Field(max_length=255, pattern=PRINTABLE)]
Filled = Annotated[str, Field(min_length=1, max_length=255, pattern=PRINTABLE)]
ParamName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
Host = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$")]
Id = Annotated[str, Path(pattern=ID, description="The resource's id.")]
Reference = Annotated[str, Field(pattern=ID)]
Owner = Annotated[
    str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._@+][A-Za-z0-9._@+-]*$", description="Whose it is.")
]


def _whole(value: Any) -> Any:
    """`60.0` is a whole number in JSON, which has one kind of number only."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Seconds = Annotated[int, Field(ge=0, le=31_536_000), BeforeValidator(_whole)]

T = TypeVar("T")

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


class RequestBody(BaseModel):
    """Base of request bodies: unknown fields and values of other types are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True, use_attribute_docstrings=True)


class ResponseBody(BaseModel):
    """Base of response bodies."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class Ref(ResponseBody):
    """Another resource."""

    id: str
    uri: str


def seconds_of(text: str) -> float:
    """RFC 3339 -> Unix time.

    Raises:
        ValueError: It is not RFC 3339, or no day of the calendar.
    """
    if not _RFC3339.fullmatch(text):
        raise ValueError("should be a time as 2026-01-31T12:00:00Z")
    # Unix time has no leap seconds: take the second before.
    whole = re.sub(r"(T\d\d:\d\d):60", r"\1:59", text.upper())
    try:
        return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", whole)).timestamp()
    except (ValueError, OverflowError) as error:
        raise ValueError("should be a time as 2026-01-31T12:00:00Z") from error


def maybe_seconds(text: str | None) -> float | None:
    """RFC 3339 -> Unix time; None for never."""
    return None if text is None else seconds_of(text)


def rfc3339(at: float) -> str:
    """Unix time -> RFC 3339 in UTC, whole seconds."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def maybe_rfc3339(at: float | None) -> str | None:
    """As `rfc3339`; None for never."""
    return None if at is None else rfc3339(at)


def _checked_time(text: str) -> str:
    seconds_of(text)
    return text


RequestTime = Annotated[
    str, Field(max_length=40, json_schema_extra={"format": "date-time"}), AfterValidator(_checked_time)
]
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


@dataclass(frozen=True, slots=True)
class NotOffered:
    """Marks a field of ngrok's that must be null or empty here: ignoring a restriction would leave the endpoint open.

    Attributes:
        what: What this relay does not have.
    """

    what: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """The field's own type, behind a check whose error names what is missing."""
        return core_schema.no_info_before_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The field's JSON schema."""
        return {**handler(schema), "description": f"This relay does not have {self.what}."}

    def _check(self, value: Any) -> Any:
        if value:
            raise PydanticCustomError("not_supported", "{reason}", {"reason": f"this relay does not have {self.what}"})
        return value


def needs(scope: str) -> dict[str, Any]:
    """The schema's note on the scope a route needs. `services` checks it."""
    return {"openapi_extra": {"x-scope": scope}}


def digits(value: Any) -> Any:
    """Numbers in a query are ASCII digits; Python would also take `1_0`, blanks and other scripts' digits."""
    if isinstance(value, str) and not re.fullmatch(r"[0-9]{1,4}", value, re.ASCII):
        raise ValueError("should be a whole number")
    return value


class Page(BaseModel):
    """The query of a list. Parameters that neither this nor the list names are refused: a filter must never be
    ignored."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True)

    before_id: Annotated[str, Field(pattern=ID)] | None = None
    """The list goes on behind this id, whether it still exists or not."""
    limit: Annotated[int, Field(ge=1, le=100), BeforeValidator(digits)] = 100
    """Items of one answer."""

    @property
    def one_more(self) -> int:
        """The number of rows to fetch: one more than the page, to know whether another page follows."""
        return self.limit + 1


class Cut(NamedTuple, Generic[T]):
    """One page of a list, with the URLs for its response."""

    rows: list[T]
    uri: str
    next_page_uri: str | None


def cut(call: Call, path: str, page: Page, rows: list[T], id_of: Callable[[T], str]) -> Cut[T]:
    """Cut fetched rows, one more than the page at most, to the page."""
    kept = rows[: page.limit]
    more = None
    if len(rows) > page.limit:
        query = page.model_dump(exclude_none=True)
        more = call.links.next_page(path, {**query, "before_id": id_of(kept[-1])})
    return Cut(kept, call.links.to(path), more)


class HasId(Protocol):
    """A value with an id."""

    @property
    def id(self) -> str:
        """Sorts by when it was made."""


H = TypeVar("H", bound=HasId)


def newest(things: Iterable[H], page: Page) -> list[H]:
    """The page's rows and one more, of rows that are all in memory."""
    older = (thing for thing in things if page.before_id is None or thing.id < page.before_id)
    return sorted(older, key=lambda thing: thing.id, reverse=True)[: page.one_more]


def _call(request: Request) -> Call:
    call = request.scope["tunnel.call"]
    assert isinstance(call, Call)
    return call


Calling = Annotated[Call, Depends(_call)]
"""The argument by which handlers learn who asks."""
