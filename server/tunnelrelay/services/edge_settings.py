"""The settings and secrets of an edge, as stored: its rules, and the tunnel group that serves it. Does no I/O.

A disabled module keeps its settings but has no effect. Read next: `edges.py`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tunnelctl.policy.fields import POINTERS
from tunnelctl.policy.modules import MODULES
from tunnelctl.policy.named import SIGN, is_named
from tunnelctl.wire.messages import HeaderEdit, OidcSpec, PolicySpec
from tunnelctl.wire.problem import Problem

MAX_SETTINGS = 64 * 1024
"""Maximum bytes of an edge's settings, as every relay keeps those of all edges in memory."""
HEADERS = ("request_headers", "response_headers")
"""Parts of a policy that add header fields. All their values are encrypted, as any of them may be a secret, whatever
the field is called."""
KEPT = "\0"
"""Placeholder for an encrypted header value in the settings; in a change, it keeps the present value. It cannot be a
real value, as those must not contain control characters."""
_NOTHING = PolicySpec()


class RouteSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An edge's only route, `/`, to which modules belong in ngrok's API.

    Attributes:
        id: Id of the route; see `ids.py`.
        created_at: Unix time of creation.
    """

    id: str
    created_at: float
    description: str = ""
    metadata: str = ""


class EdgeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings of an edge except its secrets.

    Attributes:
        policy: The modules, without secrets: client secret and passwords are empty, and header values are `KEPT`. See
            `EdgeSecrets`.
        disabled: Names (from `MODULES`) of modules that are stored but have no effect.
        sticky: Later requests of a visitor go to the tunnel that served the first one.
        route: The route; None for an edge without one, which has no modules and is not served.
        backend_enabled: Whether its tunnel group serves the edge.
        users: User names of its passwords. Also stored here, so that lost secrets are noticed.
    """

    policy: PolicySpec = PolicySpec()
    disabled: tuple[str, ...] = ()
    sticky: bool = False
    route: RouteSettings | None = None
    backend_enabled: bool = True
    users: tuple[str, ...] = ()

    def encode(self) -> str:
        """Return the settings as JSON for the store."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def parse(cls, text: str) -> "EdgeSettings":
        """Parse the JSON from `encode`. Raises `msgspec.MsgspecError` for settings that cannot be read completely."""
        return msgspec.json.decode(text, type=cls)


def provider_name(settings: str) -> str:
    """Return the name of the named provider that the login in an edge's stored settings uses; "" without one, or if the
    settings cannot be read.
    """
    try:
        oidc = EdgeSettings.parse(settings).policy.oidc
    except msgspec.MsgspecError:
        return ""
    return oidc.issuer.removeprefix(SIGN) if oidc is not None and is_named(oidc.issuer) else ""


class EdgeSecrets(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The secrets of an edge, which are stored encrypted. In a change, None keeps the stored value.

    Attributes:
        client_secret: Secret of the OpenID client.
        basic_auth: `user:password` pairs.
        request_headers, response_headers: Values of the header fields that are added, in their order. In a change they
            come from its settings.
    """

    client_secret: str | None = None
    basic_auth: tuple[str, ...] | None = None
    request_headers: tuple[str, ...] | None = None
    response_headers: tuple[str, ...] | None = None

    def __repr__(self) -> str:
        """Leave out the secrets."""
        return "EdgeSecrets([secret])"

    def __bool__(self) -> bool:
        """Return whether there are any secrets."""
        return bool(self.client_secret or self.basic_auth or self.request_headers or self.response_headers)

    def over(self, kept: "EdgeSecrets") -> "EdgeSecrets":
        """Return these secrets, with each None replaced by the stored secret."""
        return EdgeSecrets(
            client_secret=kept.client_secret if self.client_secret is None else self.client_secret,
            basic_auth=kept.basic_auth if self.basic_auth is None else self.basic_auth,
            request_headers=kept.request_headers,
            response_headers=kept.response_headers,
        )

    def needed_by(self, policy: PolicySpec) -> "EdgeSecrets":
        """Return the secrets that the policy uses, and drop others, such as that of a former client."""
        has_client = policy.oidc is not None and not is_named(policy.oidc.issuer)
        return EdgeSecrets(
            client_secret=self.client_secret if has_client else None,
            basic_auth=self.basic_auth or None,
            request_headers=self.request_headers or None,
            response_headers=self.response_headers or None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSecrets:
    """Which secrets an edge has, without their values.

    Attributes:
        users: User names of its passwords.
        valued: Names of the header fields with a value, by the part of the policy that adds them.
    """

    client_secret: bool = False
    users: tuple[str, ...] = ()
    valued: Mapping[str, frozenset[str]] = field(default_factory=lambda: dict.fromkeys(HEADERS, frozenset()))


def with_module(settings: EdgeSettings, module: str, parts: Mapping[str, Any], *, is_on: bool = True) -> EdgeSettings:
    """Return the settings with a module replaced by these parts of the policy.

    Args:
        is_on: Whether the module has an effect.
    """
    others = tuple(name for name in settings.disabled if name != module)
    return msgspec.structs.replace(
        settings,
        policy=msgspec.structs.replace(settings.policy, **parts),
        disabled=others if is_on else (*others, module),
    )


def without_module(settings: EdgeSettings, module: str) -> EdgeSettings:
    """Return the settings without a module."""
    return with_module(settings, module, {part: getattr(_NOTHING, part) for part in MODULES[module].parts})


def users_of(pairs: Iterable[str]) -> tuple[str, ...]:
    """Return the user names in `user:password` pairs."""
    return tuple(pair.partition(":")[0] for pair in pairs)


def without_secrets(policy: PolicySpec) -> PolicySpec:
    """Return the policy without secrets, for storing it unencrypted and for display."""
    oidc = policy.oidc
    if oidc is not None and oidc.client_secret:
        oidc = msgspec.structs.replace(oidc, client_secret="")
    bare = {part: without_values(getattr(policy, part)) for part in HEADERS}
    return msgspec.structs.replace(policy, oidc=oidc, basic_auth=(), **bare)


def without_values(edit: HeaderEdit) -> HeaderEdit:
    """Return the header changes without the values of added fields."""
    if all(value == KEPT for _, value in edit.add):
        return edit
    return msgspec.structs.replace(edit, add=tuple((name, KEPT) for name, _ in edit.add))


def take_values(settings: EdgeSettings, secrets: EdgeSecrets) -> tuple[EdgeSettings, EdgeSecrets]:
    """Move the values of header fields from the settings to the secrets.

    Rows of earlier releases have the values unencrypted in the settings."""
    values: dict[str, tuple[str, ...]] = {}
    for part in HEADERS:
        added = getattr(settings.policy, part).add
        if any(value != KEPT for _, value in added):
            values[part] = tuple(value for _, value in added)
    if not values:
        return settings, secrets
    policy = without_secrets(settings.policy)
    return msgspec.structs.replace(settings, policy=policy), msgspec.structs.replace(secrets, **values)


def has_values(text: str) -> bool:
    """Return whether stored settings contain values of header fields. Raises `msgspec.MsgspecError`."""
    policy = EdgeSettings.parse(text).policy
    return any(value != KEPT for part in HEADERS for _, value in getattr(policy, part).add)


def with_values(new: EdgeSettings, old: EdgeSettings, secrets: EdgeSecrets) -> tuple[EdgeSecrets, dict[str, str]]:
    """Return the secrets with the values of the header fields that `new` adds, and the problems with them, by field.

    A field whose value is `KEPT` keeps the value of the field with the same name in `old`.

    Args:
        secrets: The secrets of `old`.
    """
    fields: dict[str, str] = {}
    values: dict[str, tuple[str, ...] | None] = {}
    for part in HEADERS:
        kept: dict[str, list[str]] = {}
        for (name, _), value in zip(getattr(old.policy, part).add, getattr(secrets, part) or (), strict=False):
            kept.setdefault(name.lower(), []).append(value)
        added = getattr(new.policy, part).add
        lacking = [name for name, value in added if value == KEPT and not kept.get(name.lower())]
        if lacking:
            fields[f"{part}.add"] = f"{lacking[0][:64]}: give its value, there is none to keep"
            continue
        found = [_next(kept[name.lower()]) if value == KEPT else value for name, value in added]
        values[part] = tuple(found) or None
    return msgspec.structs.replace(secrets, **values), fields


def _next(values: list[str]) -> str:
    """Return the next stored value for a field name; the last one serves all further fields with that name."""
    return values.pop(0) if len(values) > 1 else values[0]


def in_force(settings: EdgeSettings, secrets: EdgeSecrets) -> PolicySpec:
    """Return the rules to compile: the enabled modules, with their secrets."""
    policy = msgspec.structs.replace(settings.policy, basic_auth=secrets.basic_auth or ())
    if policy.oidc is not None:
        oidc = msgspec.structs.replace(policy.oidc, client_secret=secrets.client_secret or "")
        policy = msgspec.structs.replace(policy, oidc=oidc)
    policy = msgspec.structs.replace(policy, **{part: _filled(policy, secrets, part) for part in HEADERS})
    off = {name: getattr(_NOTHING, name) for module in settings.disabled for name in MODULES[module].parts}
    return msgspec.structs.replace(policy, **off)


def _filled(policy: PolicySpec, secrets: EdgeSecrets, part: str) -> HeaderEdit:
    edit: HeaderEdit = getattr(policy, part)
    names = (name for name, _ in edit.add)
    return msgspec.structs.replace(edit, add=tuple(zip(names, getattr(secrets, part) or (), strict=False)))


def are_whole(settings: EdgeSettings, secrets: EdgeSecrets) -> bool:
    """Return whether all secrets that the settings need exist."""
    counts = all(len(getattr(settings.policy, part).add) == len(getattr(secrets, part) or ()) for part in HEADERS)
    return counts and users_of(secrets.basic_auth or ()) == settings.users


def stored_secrets_of(settings: EdgeSettings, secrets: EdgeSecrets) -> StoredSecrets:
    """Return which secrets there are, without their values."""
    valued = {}
    for part in HEADERS:
        pairs = zip(getattr(settings.policy, part).add, getattr(secrets, part) or (), strict=False)
        valued[part] = frozenset(name for (name, _), value in pairs if value)
    return StoredSecrets(client_secret=bool(secrets.client_secret), users=settings.users, valued=valued)


def module_problems(settings: EdgeSettings) -> dict[str, str]:
    """Return problems of an edge's settings that `compile_policy` does not check, by field."""
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
    """Return the problems of a policy by the API's names of their fields."""
    fields: dict[str, str] = {}
    for problem in problems:
        name = POINTERS.get(problem.field, problem.field)
        fields[name] = f"{fields[name]}; {problem.text}" if name in fields else problem.text
    return fields


def summary(settings: EdgeSettings, stored_secrets: StoredSecrets) -> dict[str, Any]:
    """Return the settings as a flat dict for audit events, without defaults.

    Header fields and request parameters are reduced to their names, as any value may be a secret.
    """
    flat: dict[str, Any] = {}
    for module in MODULES.values():
        for part in module.parts:
            shown = _named_only(getattr(settings.policy, part))
            flat |= _flat(part if part == module.name else f"{module.name}.{part}", shown)
    flat |= {
        "host_header": settings.policy.host_header,
        "disabled": list(settings.disabled),
        "sticky": settings.sticky,
        "route": settings.route is not None,
        "backend_enabled": settings.backend_enabled,
        "oidc.has_secret": stored_secrets.client_secret,
        "basic_auth.users": list(stored_secrets.users),
    }
    return {name: value for name, value in flat.items() if value is not False and value not in (None, [], "")}


def _named_only(value: object) -> object:
    match value:
        case HeaderEdit():
            return {"add": [name for name, _ in value.add], "remove": list(value.remove)}
        case OidcSpec():
            fields = msgspec.to_builtins(msgspec.structs.asdict(value))  # includes fields that messages leave out
            return fields | {"request_params": [name for name, _ in value.request_params]}
        case _:
            return value


def changed_values(before: EdgeSecrets, after: EdgeSecrets, settings: EdgeSettings) -> dict[str, str]:
    """Return an entry for every header field whose value has changed, for an audit event."""
    changed = {}
    for part in HEADERS:
        old, new = getattr(before, part) or (), getattr(after, part) or ()
        for number, (name, _) in enumerate(getattr(settings.policy, part).add):
            if old[number : number + 1] != new[number : number + 1]:
                changed[f"{part}.add.{name}"] = "changed"
    return changed


def _flat(name: str, value: object) -> dict[str, Any]:
    match value:
        case None | ():
            return {}
        case dict():
            return {f"{name}.{key}": part for key, part in value.items() if part not in ([], "", None)}
        case _:
            return {name: msgspec.to_builtins(value)}
