"""Types of fields that many of the API's models share: bounded texts, ids, times, references, the query of a list."""

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
"""Entries that a list in a request may have."""

PRINTABLE = r"^[^\x00-\x1f\x7f]*$"
"""Pattern of a text without control characters, which would reach terminals and logs; PostgreSQL stores no NUL."""
TEXT = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"
"""Pattern of a text whose only control characters are line breaks and tabs."""
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
    """Convert `60.0` to 60, as JSON has only one kind of number; other values pass unchanged."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Seconds = Annotated[int, Field(ge=0, le=31_536_000), BeforeValidator(_whole)]

T = TypeVar("T")

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


class RequestBody(BaseModel):
    """Base of the models of request bodies: refuses unknown fields and values of other types."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True, use_attribute_docstrings=True)


class ResponseBody(BaseModel):
    """Base of the models of response bodies."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class Ref(ResponseBody):
    """A reference to another resource: its id and its URL."""

    id: str
    uri: str


def seconds_of(text: str) -> float:
    """Convert a text as in RFC 3339 to Unix time.

    Raises:
        ValueError: The text is not in the form of RFC 3339, or names no day of the calendar.
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
    """Convert a text as in RFC 3339 to Unix time; None, which means never, stays None."""
    return None if text is None else seconds_of(text)


def rfc3339(at: float) -> str:
    """Convert Unix time to a text as in RFC 3339, in UTC and whole seconds."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def maybe_rfc3339(at: float | None) -> str | None:
    """Convert Unix time to a text as in RFC 3339; None, which means never, stays None."""
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
    """Annotation of a field of ngrok's API that must be null or empty here.

    Such a field is refused, not ignored: an ignored restriction would leave an endpoint open.

    Attributes:
        what: The feature that this relay does not have, for the error message.
    """

    what: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return the core schema of the field's type, preceded by a check that refuses any value but null and empty."""
        return core_schema.no_info_before_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Return the JSON schema of the field's type, with a description that says what the relay does not have."""
        return {**handler(schema), "description": f"This relay does not have {self.what}."}

    def _check(self, value: Any) -> Any:
        if value:
            raise PydanticCustomError("not_supported", "{reason}", {"reason": f"this relay does not have {self.what}"})
        return value


def needs(scope: str) -> dict[str, Any]:
    """Return the arguments of a route that note its scope in the OpenAPI document. The services check the scope."""
    return {"openapi_extra": {"x-scope": scope}}


def digits(value: Any) -> Any:
    """Raise ValueError unless a number in a query is ASCII digits; Python also reads `1_0`, blanks and other digits."""
    if isinstance(value, str) and not re.fullmatch(r"[0-9]{1,4}", value, re.ASCII):
        raise ValueError("should be a whole number")
    return value


class Page(BaseModel):
    """The query of a request for a list. Unknown parameters are refused, as a filter must never be ignored."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True)

    before_id: Annotated[str, Field(pattern=ID)] | None = None
    """The list continues after the item with this id, which need not exist any more."""
    limit: Annotated[int, Field(ge=1, le=100), BeforeValidator(digits)] = 100
    """The number of items in one response."""

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
    """Return one page of the fetched rows, with the URL of the next page when there is one row more than `page.limit`.

    Args:
        path: Path of the list, for its URLs.
        rows: The fetched rows, at most `page.one_more`.
    """
    kept = rows[: page.limit]
    more = None
    if len(rows) > page.limit:
        query = page.model_dump(exclude_none=True)
        more = call.links.next_page(path, {**query, "before_id": id_of(kept[-1])})
    return Cut(kept, call.links.to(path), more)


class HasId(Protocol):
    """A value with an id, such as a tunnel."""

    @property
    def id(self) -> str:
        """The value's id; ids sort by the time of creation."""


H = TypeVar("H", bound=HasId)


def newest(things: Iterable[H], page: Page) -> list[H]:
    """Return the rows of a page and one more, the newest first, out of values that are all in memory."""
    older = (thing for thing in things if page.before_id is None or thing.id < page.before_id)
    return sorted(older, key=lambda thing: thing.id, reverse=True)[: page.one_more]


def _call(request: Request) -> Call:
    call = request.scope["tunnel.call"]
    assert isinstance(call, Call)
    return call


Calling = Annotated[Call, Depends(_call)]
"""Type of a handler's argument that gets the request's authenticated user and base URL."""
