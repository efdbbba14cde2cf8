"""Each module of a route: how it is taken into an edge's settings, shown from them, and taken out again."""

from collections.abc import Callable
from typing import Any

import msgspec

from tunnelctl.wire.messages import HeaderEdit, JwtSpec, PolicySpec
from tunnelrelay.api.modules import (
    BasicAuth,
    GivenModule,
    Headers,
    IpRestriction,
    Jwt,
    ShownBasicAuth,
    ShownHeaders,
    ShownIpRestriction,
    ShownJwt,
    ShownJwtClaim,
    ShownJwtIssuer,
    ShownModule,
)
from tunnelrelay.api.oidc_module import OidcModule, ShownOidc, module_of, spec_of
from tunnelrelay.services.edge_settings import KEPT, MODULES, EdgeSecrets, EdgeSettings, Held
from tunnelrelay.services.problems import invalid

_NOTHING = PolicySpec()


def has(settings: EdgeSettings, held: Held, module: str) -> bool:
    """Whether there is such a module, on or off."""
    if module == "oidc":
        return settings.policy.oidc is not None
    is_set = any(getattr(settings.policy, part) != getattr(_NOTHING, part) for part in MODULES[module])
    return is_set or module in settings.disabled or (module == "basic_auth" and bool(held.users))


def without(settings: EdgeSettings, module: str) -> EdgeSettings:
    """The settings without it."""
    nothing = {part: getattr(_NOTHING, part) for part in MODULES[module]}
    return _put(settings, module, enabled=True, **nothing)


def taken(settings: EdgeSettings, module: str, given: GivenModule) -> EdgeSettings:
    """The settings with it, in place of what was there."""
    return _put(settings, module, enabled=given.enabled, **_parts(module, given))


def secrets_of(given: GivenModule) -> EdgeSecrets:
    """The secrets that come with a module; what is None in it keeps what there is."""
    match given:
        case BasicAuth():
            return EdgeSecrets(basic_auth=tuple(given.credentials))
        case OidcModule():
            return EdgeSecrets(client_secret=given.client_secret)
        case _:
            return EdgeSecrets()


def secrets_without(module: str) -> EdgeSecrets:
    """What drops a module's secrets with it; a client secret goes by itself."""
    return EdgeSecrets(basic_auth=()) if module == "basic_auth" else EdgeSecrets()


def shown(settings: EdgeSettings, held: Held, module: str) -> ShownModule | None:
    """The module, or None when there is none."""
    if not has(settings, held, module):
        return None
    return _SHOW[module](settings, held, module not in settings.disabled)


def _put(settings: EdgeSettings, module: str, *, enabled: bool, **parts: Any) -> EdgeSettings:
    others = tuple(name for name in settings.disabled if name != module)
    return msgspec.structs.replace(
        settings,
        policy=msgspec.structs.replace(settings.policy, **parts),
        disabled=others if enabled else (*others, module),
    )


def _parts(module: str, given: GivenModule) -> dict[str, Any]:
    match given:
        case OidcModule():
            return {"oidc": spec_of(given)}
        case IpRestriction():
            if not given.allow and not given.deny:
                raise invalid({"ip_restriction": "list at least one network in allow or deny"})
            return {"cidr_allow": tuple(given.allow), "cidr_deny": tuple(given.deny)}
        case Headers():
            added = tuple((name, KEPT if value is None else value) for name, value in given.add.items())
            return {module: HeaderEdit(add=added, remove=tuple(given.remove))}
        case Jwt():
            return {
                "jwt": tuple(
                    JwtSpec(
                        issuer=one.issuer,
                        audience=one.audience,
                        claims=tuple((claim.name, claim.value) for claim in one.claims),
                    )
                    for one in given.issuers
                )
            }
        case BasicAuth():
            return {}


def _oidc(settings: EdgeSettings, _held: Held, enabled: bool) -> ShownModule:
    assert settings.policy.oidc is not None
    return ShownOidc.model_validate(module_of(settings.policy.oidc, enabled))


def _restriction(settings: EdgeSettings, _held: Held, enabled: bool) -> ShownModule:
    policy = settings.policy
    return ShownIpRestriction(
        enabled=enabled, allow=list(policy.cidr_allow), deny=list(policy.cidr_deny), ip_policies=[]
    )


def _headers(name: str) -> Callable[[EdgeSettings, Held, bool], ShownModule]:
    def show(settings: EdgeSettings, held: Held, enabled: bool) -> ShownModule:
        edit: HeaderEdit = getattr(settings.policy, name)
        names = [field for field, _ in edit.add]
        return ShownHeaders(
            enabled=enabled,
            add=dict.fromkeys(names),
            remove=list(edit.remove),
            has_value={field: field in held.valued[name] for field in names},
        )

    return show


def _jwt(settings: EdgeSettings, _held: Held, enabled: bool) -> ShownModule:
    issuers = [
        ShownJwtIssuer(
            issuer=spec.issuer,
            audience=spec.audience,
            claims=[ShownJwtClaim(name=name, value=value) for name, value in spec.claims],
        )
        for spec in settings.policy.jwt
    ]
    return ShownJwt(enabled=enabled, issuers=issuers)


def _basic(_settings: EdgeSettings, held: Held, enabled: bool) -> ShownModule:
    return ShownBasicAuth(enabled=enabled, users=list(held.users))


_SHOW: dict[str, Callable[[EdgeSettings, Held, bool], ShownModule]] = {
    "oidc": _oidc,
    "ip_restriction": _restriction,
    "request_headers": _headers("request_headers"),
    "response_headers": _headers("response_headers"),
    "jwt": _jwt,
    "basic_auth": _basic,
}
