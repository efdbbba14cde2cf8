"""The modules of a route besides OpenID: who may come from where, headers, tokens, passwords, and who serves.

Each has a form that is given and one that is shown; `apply_…` and `…_of` lead from and to an edge's settings.
"""

from typing import Annotated

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from tunnelrelay.api.oidc_module import OidcModule, ShownOidc
from tunnelrelay.api.values import MAX_LIST, PRINTABLE, Filled, Given, Line, NotOffered, Ref, Reference, Shown

MAX_NETWORKS = 1000
Networks = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[0-9A-Fa-f.:/]+$")]],
    Field(max_length=MAX_NETWORKS),
]
HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$")]
HeaderValue = Annotated[str, Field(max_length=4096, pattern=PRINTABLE)]
Pair = Annotated[str, Field(min_length=3, max_length=256, pattern=PRINTABLE, json_schema_extra={"writeOnly": True})]
_Policies = Annotated[list[str], NotOffered("IP policies: list networks in `allow` and `deny`"), Field(max_length=0)]


class IpRestriction(Given):
    """Where visitors may come from: in a network of `allow` (or anywhere, when it is empty), and in none of `deny`."""

    enabled: bool = True
    """Whether it is in force."""
    allow: Networks = []
    """Networks that visitors may come from."""
    deny: Networks = []
    """Networks that they may not come from."""
    ip_policy_ids: _Policies = []
    ip_policies: _Policies = []


class ShownIpRestriction(Shown):
    """Where visitors may come from."""

    enabled: bool
    allow: list[str]
    deny: list[str]
    ip_policies: list[Ref]
    """Always empty."""


class Headers(Given):
    """Header fields to add and to remove, on their way to the app or back."""

    enabled: bool = True
    """Whether it is in force."""
    add: Annotated[dict[HeaderName, HeaderValue | None], Field(max_length=MAX_LIST)] = {}
    """Header fields to add. Values are sealed and never shown. Null keeps the value that a field of this name has."""
    remove: Annotated[list[HeaderName], Field(max_length=MAX_LIST)] = []
    """Names of header fields to remove."""
    has_value: SkipJsonSchema[Annotated[dict[HeaderName, bool], Field(max_length=MAX_LIST)]] = {}
    """As answers have it, so that they can be sent back. It changes nothing."""


class ShownHeaders(Shown):
    """Header fields to add and to remove."""

    enabled: bool
    add: dict[str, None]
    """The names. The values are not shown: any may be a secret."""
    has_value: dict[str, bool]
    """For each name whether it has a value that is not empty."""
    remove: list[str]


class JwtClaim(Given):
    """A claim and a value it may have; each name that is given must match one of its values."""

    name: Filled
    value: Filled


class JwtIssuer(Given):
    """An issuer whose tokens programs may show."""

    issuer: Filled
    audience: Filled
    claims: Annotated[list[JwtClaim], Field(max_length=MAX_LIST)] = []


class Jwt(Given):
    """Tokens of programs, besides or instead of people's logins."""

    enabled: bool = True
    """Whether it is in force."""
    issuers: Annotated[list[JwtIssuer], Field(min_length=1, max_length=8)]
    """Issuers whose tokens open: `{"issuer": …, "audience": …, "claims": […]}`."""


class ShownJwtClaim(Shown):
    """A claim and a value it may have."""

    name: str
    value: str


class ShownJwtIssuer(Shown):
    """An issuer whose tokens programs may show."""

    issuer: str
    audience: str
    claims: list[ShownJwtClaim]


class ShownJwt(Shown):
    """Tokens of programs."""

    enabled: bool
    issuers: list[ShownJwtIssuer]


class BasicAuth(Given):
    """Passwords, any of which opens. ngrok's edges have no such module."""

    enabled: bool = True
    """Whether it is in force."""
    credentials: Annotated[list[Pair], Field(min_length=1, max_length=MAX_LIST)]
    """`user:password`, a password of 8 to 128 characters. Never shown."""


class ShownBasicAuth(Shown):
    """Passwords, any of which opens."""

    enabled: bool
    users: list[str]
    """Their user names."""


class Backend(Given):
    """Who serves."""

    enabled: bool = True
    """Whether it is in force."""
    backend_id: Reference | None = None
    """A tunnel group; without one, the tunnels that join this very edge (`edge=edghts_…`)."""
    sticky: bool = False
    """A visitor stays with the tunnel that served him first, by a cookie."""


class ShownBackend(Shown):
    """Who serves."""

    enabled: bool
    backend: Ref | None
    """The tunnel group; null for the tunnels that join this very edge."""
    sticky: bool


GivenModule = OidcModule | IpRestriction | Headers | Jwt | BasicAuth
ShownModule = ShownOidc | ShownIpRestriction | ShownHeaders | ShownJwt | ShownBasicAuth
HostHeader = Line
