"""What guards an edge and who serves it, as it is kept: settings without secrets, and the secrets beside them. Pure.

A module that is off (`disabled`) keeps its settings and guards nothing. What the API calls the settings of a policy
stands here too, so that API and dashboard mark the field a problem is about. Next: `edges.py`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from tunnelctl.wire.messages import HeaderEdit, OidcSpec, PolicySpec
from tunnelctl.wire.problem import Problem

MODULES: Mapping[str, tuple[str, ...]] = {
    "oidc": ("oidc",),
    "jwt": ("jwt",),
    "basic_auth": ("basic_auth",),
    "ip_restriction": ("cidr_allow", "cidr_deny"),
    "request_headers": ("request_headers",),
    "response_headers": ("response_headers",),
}
"""Every module, named as ngrok names those it has too, and what it is in a `PolicySpec`."""
MAX_SETTINGS = 64 * 1024
"""Bytes of an edge's settings: every relay keeps those of all edges in memory."""
_NOTHING = PolicySpec()
_API_NAMES = {
    "cidr_allow": "ip_restriction.allow",
    "cidr_deny": "ip_restriction.deny",
    "jwt.issuer": "jwt",
    "jwt.audience": "jwt",
    "jwt.claims": "jwt",
    "oidc.idle_seconds": "oidc.inactivity_timeout",
    "oidc.max_seconds": "oidc.maximum_duration",
    "oidc.recheck_seconds": "oidc.auth_check_interval",
    "oidc.allow_preflight": "oidc.options_passthrough",
}
"""Settings of a `PolicySpec` that the API calls by another name; it has one field for all issuers of tokens."""


class RouteSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An edge's one route, `/`: what ngrok's API hangs the modules on.

    Attributes:
        id: See `ids.py`.
        created_at: Unix time.
    """

    id: str
    created_at: float
    description: str = ""
    metadata: str = ""


class EdgeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything an edge is, but for its secrets.

    Attributes:
        policy: The modules. Its client secret and passwords are always empty here: see `EdgeSecrets`.
        disabled: Modules that are kept and guard nothing; names in `MODULES`.
        sticky: A visitor stays with one tunnel as long as it is there.
        route: None while there is none: then nobody serves the edge, and it has no modules.
        backend_enabled: Whether its tunnel group serves it.
        users: Of its passwords. Said here too, so that an edge whose secrets are gone is known to have had some.
    """

    policy: PolicySpec = PolicySpec()
    disabled: tuple[str, ...] = ()
    sticky: bool = False
    route: RouteSettings | None = None
    backend_enabled: bool = True
    users: tuple[str, ...] = ()

    def encode(self) -> str:
        """As the store keeps it."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def parse(cls, text: str) -> "EdgeSettings":
        """The reverse of `encode`. Raises `msgspec.MsgspecError`: what cannot be read whole must not be served."""
        return msgspec.json.decode(text, type=cls)


class EdgeSecrets(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is sealed of an edge. Given with a change, None keeps what there is.

    Attributes:
        client_secret: Of the OpenID client.
        basic_auth: `user:password` pairs.
    """

    client_secret: str | None = None
    basic_auth: tuple[str, ...] | None = None

    def __repr__(self) -> str:
        """Never the secrets."""
        return "EdgeSecrets([secret])"

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.client_secret or self.basic_auth)

    def over(self, kept: "EdgeSecrets") -> "EdgeSecrets":
        """These, and what is kept where nothing is given."""
        return EdgeSecrets(
            client_secret=kept.client_secret if self.client_secret is None else self.client_secret,
            basic_auth=kept.basic_auth if self.basic_auth is None else self.basic_auth,
        )

    def needed_by(self, policy: PolicySpec) -> "EdgeSecrets":
        """Only what the policy has a use for: the secret of a client that is gone is not kept."""
        has_client = policy.oidc is not None and not names_provider(policy.oidc)
        return EdgeSecrets(client_secret=self.client_secret if has_client else None, basic_auth=self.basic_auth or None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Which secrets an edge has, without them.

    Attributes:
        users: Of its passwords.
    """

    client_secret: bool = False
    users: tuple[str, ...] = ()


def names_provider(oidc: OidcSpec) -> bool:
    """Whether a login is by a named provider (`@work`)."""
    return oidc.issuer.startswith("@")


def users_of(pairs: Iterable[str]) -> tuple[str, ...]:
    """The names in `user:password` pairs."""
    return tuple(pair.partition(":")[0] for pair in pairs)


def without_secrets(policy: PolicySpec) -> PolicySpec:
    """The policy as it may be kept in the clear and shown."""
    oidc = policy.oidc
    if oidc is not None and oidc.client_secret:
        oidc = msgspec.structs.replace(oidc, client_secret="")
    return msgspec.structs.replace(policy, oidc=oidc, basic_auth=())


def in_force(settings: EdgeSettings, secrets: EdgeSecrets) -> PolicySpec:
    """What is to be compiled: the modules that are on, with their secrets."""
    policy = msgspec.structs.replace(settings.policy, basic_auth=secrets.basic_auth or ())
    if policy.oidc is not None:
        oidc = msgspec.structs.replace(policy.oidc, client_secret=secrets.client_secret or "")
        policy = msgspec.structs.replace(policy, oidc=oidc)
    off = {name: getattr(_NOTHING, name) for module in settings.disabled for name in MODULES[module]}
    return msgspec.structs.replace(policy, **off)


def module_problems(settings: EdgeSettings) -> dict[str, str]:
    """What no compiler of policies would notice, by field."""
    fields = {}
    if unknown := set(settings.disabled) - MODULES.keys():
        fields["disabled"] = f"no module is called {sorted(unknown)[0][:40]!r}"
    if settings.policy.host_header == "rewrite":
        fields["host_header"] = "an edge does not know its upstreams: give the host name itself"
    if settings.route is None and (settings.policy != _NOTHING or settings.disabled):
        fields["route"] = "modules are set on a route: make one first"
    if len(settings.encode()) > MAX_SETTINGS:
        fields["policy"] = f"an edge's settings have at most {MAX_SETTINGS} bytes"
    return fields


def by_field(problems: Iterable[Problem]) -> dict[str, str]:
    """The problems of a policy, by the names that the API has for their fields."""
    fields: dict[str, str] = {}
    for problem in problems:
        name = _API_NAMES.get(problem.field, problem.field)
        fields[name] = f"{fields[name]}; {problem.text}" if name in fields else problem.text
    return fields


def summary(settings: EdgeSettings, held: Held) -> dict[str, Any]:
    """The settings as one level of names and values, for audit events: what is as by default is left out."""
    flat: dict[str, Any] = {}
    for module, parts in MODULES.items():
        for part in parts:
            flat |= _flat(module if part == module else f"{module}.{part}", getattr(settings.policy, part))
    flat |= {
        "host_header": settings.policy.host_header,
        "disabled": list(settings.disabled),
        "sticky": settings.sticky,
        "route": settings.route is not None,
        "backend_enabled": settings.backend_enabled,
        "oidc.has_secret": held.client_secret,
        "basic_auth.users": list(held.users),
    }
    return {name: value for name, value in flat.items() if value not in (None, False, [], "")}


def _flat(name: str, value: object) -> dict[str, Any]:
    match value:
        case None | ():
            return {}
        case OidcSpec() | HeaderEdit():
            told = msgspec.to_builtins(value)
            return {f"{name}.{key}": part for key, part in told.items() if part not in ([], "", None)}
        case _:
            return {name: msgspec.to_builtins(value)}
