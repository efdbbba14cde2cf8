"""Converts modules in API requests to an edge's settings and back, by the table of settings (`tunnelctl.policy`)."""

from typing import Any

import msgspec

from tunnelctl.policy.fields import STRUCTS, PolicyField, default_of, of_part, value_of
from tunnelctl.policy.modules import MODULES, PolicyModule
from tunnelctl.wire.messages import JwtSpec, OidcSpec, PolicySpec
from tunnelrelay.api.module_schemas import VIEWS, ModuleBody, ModuleView
from tunnelrelay.services.edge_settings import KEPT, EdgeSecrets, EdgeSettings, StoredSecrets, with_module
from tunnelrelay.services.problems import invalid

_NOTHING = PolicySpec()


def has_module(settings: EdgeSettings, stored_secrets: StoredSecrets, module: str) -> bool:
    """Whether the edge has this module, enabled or not."""
    parts = MODULES[module].parts
    is_set = any(getattr(settings.policy, part) != getattr(_NOTHING, part) for part in parts)
    return (
        is_set
        or (module in settings.disabled and module != "oidc")
        or (module == "basic_auth" and bool(stored_secrets.users))
    )


def with_module_body(settings: EdgeSettings, module: str, body: ModuleBody) -> EdgeSettings:
    """Return an edge's settings with this module in place of the former one of its name."""
    parts = _parts(MODULES[module], body)
    if module == "ip_restriction" and not any(parts.values()):
        raise invalid({module: "list at least one network in allow or deny"})
    return with_module(settings, module, parts, is_on=body.enabled)


def login_of(body: ModuleBody) -> OidcSpec:
    """Return the login settings of an OpenID module in a request, with the client secret."""
    login: OidcSpec = _parts(MODULES["oidc"], body)["oidc"]
    return msgspec.structs.replace(login, client_secret=secrets_of("oidc", body).client_secret or "")


def secrets_of(module: str, body: ModuleBody) -> EdgeSecrets:
    """Return the secrets in a module of a request; None in place of a secret keeps the stored one."""
    for row in MODULES[module].rows:
        if row.kind == "secret":
            return EdgeSecrets(client_secret=getattr(body, row.api_name))
        if row.kind == "password":
            return EdgeSecrets(basic_auth=tuple(getattr(body, row.api_name)))
    return EdgeSecrets()


def secrets_without(module: str) -> EdgeSecrets:
    """Return the secrets to store when a module is deleted. A client secret needs none: it goes with its login."""
    return EdgeSecrets(basic_auth=()) if module == "basic_auth" else EdgeSecrets()


def view_of_module(settings: EdgeSettings, stored_secrets: StoredSecrets, module: str) -> ModuleView | None:
    """Return a module of an edge for a response; None when the edge does not have this module."""
    if not has_module(settings, stored_secrets, module):
        return None
    fields = _fields(settings, stored_secrets, MODULES[module])
    return VIEWS[module].model_validate({"enabled": module not in settings.disabled, **fields})


# From requests to settings


def _parts(module: PolicyModule, body: ModuleBody) -> dict[str, Any]:
    """Return the attributes of `PolicySpec` that a module sets, with their values and without secrets."""
    if module.name == "jwt":
        issuers: list[ModuleBody] = body.issuers  # type: ignore[attr-defined]  # a made model
        return {"jwt": tuple(JwtSpec(**_members(module.rows, issuer)) for issuer in issuers)}
    return {part: _part(part, body) for part in module.parts}


def _part(part: str, body: ModuleBody) -> Any:
    members = _members(of_part(part), body)
    return STRUCTS[part](**members) if part in STRUCTS else members[part]


def _members(rows: tuple[PolicyField, ...], body: ModuleBody) -> dict[str, Any]:
    return {row.name: _to_wire(row, getattr(body, row.api_name)) for row in rows}


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


# From settings to responses


def _fields(settings: EdgeSettings, stored_secrets: StoredSecrets, module: PolicyModule) -> dict[str, Any]:
    """Return the fields of a module in a response, except `enabled`."""
    match module.name:
        case "jwt":
            return {"issuers": [_of_struct(module.rows, issuer) for issuer in settings.policy.jwt]}
        case "basic_auth":
            return {"users": list(stored_secrets.users)}
        case "oidc":
            return {"cookie_prefix": "", **_of_rows(module.rows, settings.policy)}
        case "ip_restriction":
            return {**_of_rows(module.rows, settings.policy), "ip_policies": []}
        case "request_headers" | "response_headers":
            fields = _of_rows(module.rows, settings.policy)
            return {**fields, "has_value": {name: name in stored_secrets.valued[module.name] for name in fields["add"]}}
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
