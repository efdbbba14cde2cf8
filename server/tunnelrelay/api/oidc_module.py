"""The OpenID module of a route, in ngrok's words where it has them, and as the wire's `OidcSpec`."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from tunnelctl.wire.messages import OidcSpec
from tunnelrelay.api.values import MAX_LIST, PRINTABLE, Filled, Given, Line, ParamName, Seconds, Shown

_DEFAULT = OidcSpec(issuer="", client_id="", client_secret="")
MAX_RULES = 1000
"""Entries of one list of rules: a company's people, one by one, if need be."""

Rules = Annotated[list[Filled], Field(max_length=MAX_RULES)]
Texts = Annotated[list[Filled], Field(max_length=MAX_LIST)]
OnError = Literal["keep", "login", "502"]
Verified = Literal["claim", "text", "assumed"]
Callback = Literal["relay", "shared", "host"]
Secret = Annotated[str, Field(max_length=1024, pattern=PRINTABLE, json_schema_extra={"writeOnly": True})]


def _no_prefix(value: Any) -> Any:
    if isinstance(value, str) and value not in COOKIE_PREFIXES:
        raise PydanticCustomError("not_supported", "this relay's cookies have one name: leave it empty")
    return value


COOKIE_PREFIXES = ("", "ngrok.")
"""What ngrok's clients send when nobody has chosen one."""
CookiePrefix = Annotated[
    str, BeforeValidator(_no_prefix), Field(json_schema_extra={"enum": list(COOKIE_PREFIXES), "deprecated": True})
]


class Claim(Given):
    """One claim and a value it may have."""

    name: Filled
    value: Filled


class OidcModule(Given):
    """Who signs visitors in, and who of them is let in. Without rules: everybody the provider knows."""

    enabled: bool = True
    """Whether it is in force."""
    options_passthrough: bool = False
    """CORS preflights need no login."""
    cookie_prefix: CookiePrefix = ""
    """There is nothing to choose here: empty."""
    inactivity_timeout: Seconds = 0
    """Seconds until an unused login is over; 0 for the default, an hour."""
    maximum_duration: Seconds = 0
    """Seconds until any login is over; 0 for the default, eight hours."""
    issuer: Filled
    """The provider's issuer URL; or `@name` for one that an administrator has set up, which then has the client too."""
    client_id: Line = ""
    """Client id at the provider."""
    client_secret: Secret | None = None
    """Client secret at the provider, never shown. Not given, it is kept while issuer and client id stay the same."""
    scopes: Texts = []
    """Scopes to ask for besides openid, profile and email."""
    allow_emails: Rules = []
    """Verified addresses that are let in."""
    allow_domains: Rules = []
    """Domains of verified addresses that are let in."""
    allow_groups: Rules = []
    """Groups whose members are let in."""
    allow_claims: Annotated[list[Claim], Field(max_length=MAX_LIST)] = []
    """Claims whose holders are let in; one of them is enough."""
    auth_check_interval: Seconds = _DEFAULT.recheck_seconds
    """Seconds until the provider is asked again who a visitor is; 0 for never."""
    on_recheck_error: OnError = "keep"
    """What becomes of a visitor when the provider cannot be asked."""
    groups_claim: Line = _DEFAULT.groups_claim
    """Claim that lists a visitor's groups; dots lead into objects."""
    email_verified: Verified = "claim"
    """When an address counts as verified."""
    request_params: Annotated[dict[ParamName, Line], Field(max_length=MAX_LIST)] = {}
    """Added to the authorization request: `acr_values`, `prompt`, `max_age` and the like."""
    require_acr: Texts = []
    """Take only logins that the provider's acr claim calls one of these."""
    callback: Callback = "relay"
    """Where the provider sends visitors back to."""
    bearer: Annotated[list[Line], Field(max_length=MAX_LIST)] = []
    """Audiences of access tokens that programs may show instead of a login; empty text for the client id."""
    allow_origins: Texts = []
    """Origins of other sites whose pages may use a visitor's login here."""


def spec_of(module: OidcModule) -> OidcSpec:
    """The module as the relay compiles it, without the secret."""
    return OidcSpec(
        issuer=module.issuer,
        client_id=module.client_id,
        client_secret="",
        scopes=tuple(module.scopes),
        allow_emails=tuple(module.allow_emails),
        allow_domains=tuple(module.allow_domains),
        allow_groups=tuple(module.allow_groups),
        allow_claims=tuple((claim.name, claim.value) for claim in module.allow_claims),
        idle_seconds=module.inactivity_timeout or _DEFAULT.idle_seconds,
        max_seconds=module.maximum_duration or _DEFAULT.max_seconds,
        recheck_seconds=module.auth_check_interval,
        on_recheck_error=module.on_recheck_error,
        groups_claim=module.groups_claim,
        email_verified=module.email_verified,
        request_params=tuple(module.request_params.items()),
        require_acr=tuple(module.require_acr),
        callback=module.callback,
        bearer=tuple(module.bearer),
        allow_origins=tuple(module.allow_origins),
        allow_preflight=module.options_passthrough,
    )


def module_of(spec: OidcSpec, enabled: bool) -> dict[str, Any]:
    """The module as an answer shows it, and as it may be sent back changed. Never with the secret."""
    return {
        "enabled": enabled,
        "options_passthrough": spec.allow_preflight,
        "cookie_prefix": "",
        "inactivity_timeout": spec.idle_seconds,
        "maximum_duration": spec.max_seconds,
        "issuer": spec.issuer,
        "client_id": spec.client_id,
        "client_secret": None,
        "scopes": list(spec.scopes),
        "allow_emails": list(spec.allow_emails),
        "allow_domains": list(spec.allow_domains),
        "allow_groups": list(spec.allow_groups),
        "allow_claims": [{"name": name, "value": value} for name, value in spec.allow_claims],
        "auth_check_interval": spec.recheck_seconds,
        "on_recheck_error": spec.on_recheck_error,
        "groups_claim": spec.groups_claim,
        "email_verified": spec.email_verified,
        "request_params": dict(spec.request_params),
        "require_acr": list(spec.require_acr),
        "callback": spec.callback,
        "bearer": list(spec.bearer),
        "allow_origins": list(spec.allow_origins),
    }


class ShownClaim(Shown):
    """One claim and a value it may have."""

    name: str
    value: str


class ShownOidc(Shown):
    """The OpenID module, without its client secret."""

    enabled: bool
    options_passthrough: bool
    cookie_prefix: str
    inactivity_timeout: int
    maximum_duration: int
    issuer: str
    client_id: str
    client_secret: None
    scopes: list[str]
    allow_emails: list[str]
    allow_domains: list[str]
    allow_groups: list[str]
    allow_claims: list[ShownClaim]
    auth_check_interval: int
    on_recheck_error: OnError
    groups_claim: str
    email_verified: Verified
    request_params: dict[str, str]
    require_acr: list[str]
    callback: Callback
    bearer: list[str]
    allow_origins: list[str]
