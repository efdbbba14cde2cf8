"""From a module of the API to an edge's settings, and back; row by row of the table of settings."""

from typing import Any

import msgspec

from tunnelctl.policy.fields import STRUCTS, PolicyField, default_of, of_part, value_of
from tunnelctl.policy.modules import MODULES, PolicyModule
from tunnelctl.wire.messages import JwtSpec, OidcSpec, PolicySpec
from tunnelrelay.api.module_schemas import SHOWN, GivenModule, ShownModule
from tunnelrelay.services.edge_settings import KEPT, EdgeSecrets, EdgeSettings, Held, with_module
from tunnelrelay.services.problems import invalid

_NOTHING = PolicySpec()


def has(settings: EdgeSettings, held: Held, module: str) -> bool:
    """Whether there is such a module, on or off."""
    parts = MODULES[module].parts
    is_set = any(getattr(settings.policy, part) != getattr(_NOTHING, part) for part in parts)
    return is_set or (module in settings.disabled and module != "oidc") or (module == "basic_auth" and bool(held.users))


def taken(settings: EdgeSettings, module: str, given: GivenModule) -> EdgeSettings:
    """The settings with it, in place of what was there."""
    parts = _parts(MODULES[module], given)
    if module == "ip_restriction" and not any(parts.values()):
        raise invalid({module: "list at least one network in allow or deny"})
    return with_module(settings, module, parts, is_on=given.enabled)


def login_of(given: GivenModule) -> OidcSpec:
    """The login that an OpenID module asks for, with its client secret."""
    login: OidcSpec = _parts(MODULES["oidc"], given)["oidc"]
    return msgspec.structs.replace(login, client_secret=secrets_of("oidc", given).client_secret or "")


def secrets_of(module: str, given: GivenModule) -> EdgeSecrets:
    """The secrets that come with a module; what is None in it keeps what there is."""
    for row in MODULES[module].rows:
        if row.kind == "secret":
            return EdgeSecrets(client_secret=getattr(given, row.api_name))
        if row.kind == "password":
            return EdgeSecrets(basic_auth=tuple(getattr(given, row.api_name)))
    return EdgeSecrets()


def secrets_without(module: str) -> EdgeSecrets:
    """What drops a module's secrets with it; a client secret goes by itself."""
    return EdgeSecrets(basic_auth=()) if module == "basic_auth" else EdgeSecrets()


def shown(settings: EdgeSettings, held: Held, module: str) -> ShownModule | None:
    """The module, or None when there is none."""
    if not has(settings, held, module):
        return None
    fields = _fields(settings, held, MODULES[module])
    return SHOWN[module].model_validate({"enabled": module not in settings.disabled, **fields})


# Into settings


def _parts(module: PolicyModule, given: GivenModule) -> dict[str, Any]:
    """The parts of a policy that a module is, without secrets."""
    if module.name == "jwt":
        issuers: list[GivenModule] = given.issuers  # type: ignore[attr-defined]
        return {"jwt": tuple(JwtSpec(**_members(module.rows, issuer)) for issuer in issuers)}
    return {part: _part(part, given) for part in module.parts}


def _part(part: str, given: GivenModule) -> Any:
    members = _members(of_part(part), given)
    return STRUCTS[part](**members) if part in STRUCTS else members[part]


def _members(rows: tuple[PolicyField, ...], given: GivenModule) -> dict[str, Any]:
    return {row.name: _to_wire(row, getattr(given, row.api_name)) for row in rows}


def _to_wire(row: PolicyField, value: Any) -> Any:
    match row.kind:
        case "secret":
            return ""
        case "password":
            return ()
        case "duration":
            return value if row.is_zero_never else value or default_of(row)
        case "header":
            return tuple((name, KEPT if text is None else text) for name, text in value.items())
        case "pair":
            return tuple(value.items() if row.api_is_object else ((one.name, one.value) for one in value))
        case _:
            return tuple(value) if row.is_list else value


# Out of settings


def _fields(settings: EdgeSettings, held: Held, module: PolicyModule) -> dict[str, Any]:
    """The module's fields in an answer, but `enabled`."""
    match module.name:
        case "jwt":
            return {"issuers": [_of_struct(module.rows, issuer) for issuer in settings.policy.jwt]}
        case "basic_auth":
            return {"users": list(held.users)}
        case "oidc":
            return {"cookie_prefix": "", **_of_rows(module.rows, settings.policy)}
        case "ip_restriction":
            return {**_of_rows(module.rows, settings.policy), "ip_policies": []}
        case "request_headers" | "response_headers":
            fields = _of_rows(module.rows, settings.policy)
            return {**fields, "has_value": {name: name in held.valued[module.name] for name in fields["add"]}}
        case _:
            return _of_rows(module.rows, settings.policy)


def _of_rows(rows: tuple[PolicyField, ...], policy: PolicySpec) -> dict[str, Any]:
    return {row.api_name: _to_json(row, value_of(policy, row)) for row in rows}


def _of_struct(rows: tuple[PolicyField, ...], struct: msgspec.Struct) -> dict[str, Any]:
    return {row.api_name: _to_json(row, getattr(struct, row.name)) for row in rows}


def _to_json(row: PolicyField, value: Any) -> Any:
    match row.kind:
        case "secret":
            return None
        case "header":
            return dict.fromkeys(name for name, _ in value)
        case "pair":
            return dict(value) if row.api_is_object else [{"name": name, "value": text} for name, text in value]
        case _:
            return list(value) if row.is_list else value
