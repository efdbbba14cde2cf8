"""The pydantic models of a route's modules, for requests and responses, generated from the table of settings.

Each row of `tunnelctl.policy.fields` that names a module becomes a field of its models: the row's kind gives the type,
its help the description. Fields that are not in the table are added here. Next: `module_mapping.py`.
"""

from collections.abc import Callable, Mapping
from types import GenericAlias
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, Field, create_model
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError

from tunnelctl.policy.durations import format_duration
from tunnelctl.policy.fields import MAX_TOKEN_ISSUERS, PolicyField, default_of
from tunnelctl.policy.modules import MODULES, PolicyModule
from tunnelrelay.api.values import (
    MAX_LIST,
    PRINTABLE,
    Filled,
    Line,
    NotOffered,
    ParamName,
    Ref,
    Reference,
    RequestBody,
    ResponseBody,
    Seconds,
)

HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$")]
HeaderValue = Annotated[str, Field(max_length=4096, pattern=PRINTABLE)]
Network = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[0-9A-Fa-f.:/]+$")]
Secret = Annotated[str, Field(max_length=1024, pattern=PRINTABLE, json_schema_extra={"writeOnly": True})]
Password = Annotated[str, Field(min_length=3, max_length=256, pattern=PRINTABLE, json_schema_extra={"writeOnly": True})]
COOKIE_PREFIXES = ("", "ngrok.")
"""Cookie prefixes that ngrok's clients send when their user has chosen none; the only ones that the API accepts."""


def _no_prefix(value: Any) -> Any:
    if isinstance(value, str) and value not in COOKIE_PREFIXES:
        raise PydanticCustomError("not_supported", "this relay's cookies have one name: leave it empty")
    return value


CookiePrefix = Annotated[
    str,
    BeforeValidator(_no_prefix),
    Field(
        description="There is nothing to choose here: empty.",
        json_schema_extra={"enum": list(COOKIE_PREFIXES), "deprecated": True},
    ),
]
_Policies = Annotated[list[str], NotOffered("IP policies: list networks in `allow` and `deny`"), Field(max_length=0)]
_HasValue = SkipJsonSchema[Annotated[dict[HeaderName, bool], Field(max_length=MAX_LIST)]]

Fields = dict[str, Any]
"""A model's fields for pydantic's `create_model`: each name with its type and its default."""


class ModuleBody(RequestBody):
    """A module in a request; it replaces the route's former module of its name."""

    enabled: bool = True
    """Whether the module is in force."""


class ModuleView(ResponseBody):
    """A module in a response, without its secrets."""

    enabled: bool


class Claim(RequestBody):
    """A claim of a login and a value that it may have."""

    name: Filled
    value: Filled


class ClaimView(ResponseBody):
    """A claim of a login and a value that it may have."""

    name: str
    value: str


class JwtClaim(Claim):
    """A claim of a token and a value that it may have; every claim that is named must have one of its values."""


class JwtClaimView(ClaimView):
    """A claim of a token and a value that it may have."""


class Backend(RequestBody):
    """The backend module in a request: which tunnels serve the edge."""

    enabled: bool = True
    """Whether the edge is served at all."""
    backend_id: Reference | None = None
    """The tunnel group that serves the edge; null for the tunnels that join the edge itself (`edge=edghts_…`)."""
    sticky: bool = False
    """Whether a cookie keeps each visitor at the tunnel that served the visitor first."""


class BackendView(ResponseBody):
    """The backend module in a response: which tunnels serve the edge."""

    enabled: bool
    backend: Ref | None
    """The tunnel group that serves the edge; null for the tunnels that join the edge itself."""
    sticky: bool


def request_field(row: PolicyField) -> tuple[Any, Any]:
    """Return the type and the default of a setting in a request; the default of a required setting is `...`."""
    default = default_of(row)
    text = Annotated[str, Field(max_length=row.api_length, pattern=PRINTABLE)]
    described = Field(description=_description(row))
    match row.kind:
        case "secret":
            return Annotated[Secret | None, described], None
        case "choice":
            return Annotated[Literal[row.words], described], default
        case "switch":
            return Annotated[bool, described], default
        case "duration":
            return Annotated[Seconds, described], default if row.is_zero_never else 0
        case "header":
            values: Any = dict[HeaderName, HeaderValue | None]
        case "pair":
            values = dict[ParamName, Line] if row.api_is_object else _list_of(JwtClaim if row.part == "jwt" else Claim)
        case _ if row.is_list:
            values = _list_of(_ITEMS.get(row.kind) or (Annotated[text, Field(min_length=1)] if row.check("") else text))
        case _ if default is None and not row.is_of_provider:
            return Annotated[text, Field(min_length=1), described], ...
        case _:
            return Annotated[text, described], default or ""
    least = 1 if row.kind == "password" else None
    many = Annotated[values, Field(min_length=least, max_length=row.api_count), described]
    return many, ... if least else {} if row.api_is_object or row.kind == "header" else []


_ITEMS: Mapping[str, Any] = {"network": Network, "header_name": HeaderName, "password": Password}
"""Types of one entry of a list, by the setting's kind; entries of all other kinds are bounded texts."""


def _list_of(item: Any) -> Any:
    return GenericAlias(list, (item,))


def _description(row: PolicyField) -> str:
    """Return the description of a setting in a request: its help, and how the API treats its kind.

    Request and response headers share one model, so their descriptions name neither.
    """
    match row.kind:
        case "secret":
            return f"{row.help} Kept when it is not given and issuer and client id stay the same. Never shown."
        case "password":
            return f"{row.help} Each is `user:password`. Never shown."
        case "header":
            return (
                "Fields to add. Values are sealed and never shown; null keeps the value that a field of this name has."
            )
        case "header_name":
            return "Names of fields to remove."
        case "duration":
            default = "" if row.is_zero_never else f"; 0 for the default, {format_duration(default_of(row))}"
            return f"{row.help} In seconds{default}."
        case _:
            return row.help


def response_type(row: PolicyField) -> Any:
    """Return the type of a setting in a response."""
    match row.kind:
        case "secret":
            return None
        case "choice":
            return Literal[row.words]
        case "switch":
            return bool
        case "duration":
            return int
        case "header":
            return dict[str, None]
        case "pair":
            return dict[str, str] if row.api_is_object else _list_of(JwtClaimView if row.part == "jwt" else ClaimView)
        case _:
            return list[str] if row.is_list else str


M = TypeVar("M", bound=BaseModel)


def _model(name: str, base: type[M], about: str, fields: Fields) -> type[M]:
    """Create a pydantic model from a base and fields.

    The fields carry their descriptions, so pydantic must not look for docstrings of attributes: for a class that is in
    no source file it searches all loaded modules, which took a quarter of the API's import time.
    """
    no_docstrings = {"use_attribute_docstrings": False}
    return create_model(name, __base__=base, __doc__=about, __cls_kwargs__=no_docstrings, **fields)


def _module_models() -> tuple[dict[str, type[ModuleBody]], dict[str, type[ModuleView]]]:
    """Create the models of all modules, by the module's name: those of requests, and those of responses."""
    bodies: dict[str, type[ModuleBody]] = {}
    views: dict[str, type[ModuleView]] = {}
    titles: dict[str, str] = {}
    for name, module in MODULES.items():
        title = _TITLES.get(name) or name.title().replace("_", "")
        same = titles.setdefault(title, name)
        about = _HEADERS if title == "Headers" else module.purpose
        bodies[name] = bodies.get(same) or _model(
            _BODY_TITLES.get(name, title), ModuleBody, about, _request_fields(module)
        )
        views[name] = views.get(same) or _model(f"{title}View", ModuleView, about, _response_fields(module))
    return bodies, views


_TITLES = {"request_headers": "Headers", "response_headers": "Headers"}
"""The model's name for modules that share one model; other models are named after their module."""
_HEADERS = "Header fields to add and to remove, on their way to the app or back."
_BODY_TITLES = {"oidc": "OidcModule"}


def _request_fields(module: PolicyModule) -> Fields:
    fields: Fields = {row.api_name: request_field(row) for row in module.rows}
    match module.name:
        case "oidc":
            return {"cookie_prefix": (CookiePrefix, ""), **fields}
        case "ip_restriction":
            return {**fields, "ip_policy_ids": (_Policies, []), "ip_policies": (_Policies, [])}
        case "request_headers" | "response_headers":
            has_value = Field(description="As answers have it, so that they can be sent back. It changes nothing.")
            return {**fields, "has_value": (Annotated[_HasValue, has_value], {})}
        case "jwt":
            issuer = _model("JwtIssuer", RequestBody, _ISSUER, fields)
            return {
                "issuers": (
                    Annotated[
                        _list_of(issuer), Field(description=_ISSUERS, min_length=1, max_length=MAX_TOKEN_ISSUERS)
                    ],
                    ...,
                )
            }
        case _:
            return fields


def _response_fields(module: PolicyModule) -> Fields:
    fields: Fields = {row.api_name: (response_type(row), ...) for row in module.rows}
    match module.name:
        case "oidc":
            return {"cookie_prefix": (str, ...), **fields}
        case "ip_restriction":
            return {**fields, "ip_policies": (Annotated[list[Ref], Field(description="Always empty.")], ...)}
        case "request_headers" | "response_headers":
            has_value = Field(description="For each name whether it has a value that is not empty.")
            return {**fields, "has_value": (Annotated[dict[str, bool], has_value], ...)}
        case "jwt":
            issuer = _model("JwtIssuerView", ResponseBody, _ISSUER, fields)
            return {"issuers": (_list_of(issuer), ...)}
        case "basic_auth":
            return {"users": (Annotated[list[str], Field(description="Their user names.")], ...)}
        case _:
            return fields


_ISSUER = "An issuer whose tokens programs may show."
_ISSUERS = """Issuers whose tokens open: `{"issuer": …, "audience": …, "claims": […]}`."""
BODIES, VIEWS = _module_models()
"""The model of each module in a request, and in a response."""


def with_fields(fields: Fields) -> Callable[[type[M]], type[M]]:
    """Return a class decorator that gives a pydantic model these fields.

    pydantic then reads attribute docstrings of the model's subclasses only if they set `use_attribute_docstrings=True`.
    """

    def extended(model: type[M]) -> type[M]:
        return _model(model.__name__, model, model.__doc__ or "", fields)

    return extended
