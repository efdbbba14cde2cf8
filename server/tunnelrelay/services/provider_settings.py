"""A named provider's settings, and how they are merged with an owner's settings into one login. Pure.

The administrator sets the client and how the provider's answers are read; the owner sets which of the provider's users
may come in, and for how long. Next: `provider_directory.py`.
"""

import msgspec

from tunnelctl.policy.fields import FIELDS, default_of
from tunnelctl.wire.messages import OidcSpec
from tunnelctl.wire.problem import Problem
from tunnelctl.wire.texts import is_name
from tunnelrelay.policy.named_provider import NamedOidc

OWNERS_PARAMS = frozenset({"max_age", "acr_values", "prompt"})
"""Request parameters an owner may add: they ask for a stronger or fresher login of the same client, no more."""


class ProviderSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of a named provider without the client secret. `OidcSpec` describes each.

    Attributes:
        callback: `relay` or `shared`: a callback at each endpoint's own host would have to be registered for each.
    """

    issuer: str
    client_id: str
    scopes: tuple[str, ...] = ()
    groups_claim: str = "groups"
    email_verified: str = "claim"
    request_params: tuple[tuple[str, str], ...] = ()
    callback: str = "relay"

    def encode(self) -> str:
        """As the store keeps it."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def parse(cls, text: str) -> "ProviderSettings":
        """The reverse of `encode`. Raises `msgspec.MsgspecError`."""
        return msgspec.json.decode(text, type=cls)


def name_problem(name: str) -> str:
    """Why a provider cannot be called this, or ""."""
    return "" if is_name(name) else "a name has a-z, 0-9 and hyphens inside, at most 63 characters"


def merged(spec: OidcSpec, settings: ProviderSettings, *, provider: str, client_secret: str) -> NamedOidc | Problem:
    """The merged login, or the problem with settings that the owner may not give.

    Args:
        spec: Names the provider as its issuer.
        provider: The provider's id.
    """
    if problem := _not_the_owners(spec, settings):
        return Problem(f"oidc.{problem[0]}", f"with {spec.issuer[:64]} {problem[1]}")
    rest = {name: getattr(spec, name) for name in OidcSpec.__struct_fields__}
    ours = {name: getattr(settings, name) for name in ProviderSettings.__struct_fields__}
    ours["request_params"] = (*settings.request_params, *spec.request_params)
    return NamedOidc(**(rest | ours | {"client_secret": client_secret}), provider=provider)


def _not_the_owners(spec: OidcSpec, settings: ProviderSettings) -> tuple[str, str] | None:
    """The setting in the spec that the owner may not give, and why; None without one."""
    for name, default in _AS_BY_DEFAULT.items():
        if getattr(spec, name) != default:
            return name, f"the {name.replace('_', ' ')} is the provider's, and not to be given"
    taken = {name for name, _ in settings.request_params}
    for name, _ in spec.request_params:
        if name not in OWNERS_PARAMS or name in taken:
            return "request_params", f"the request parameter {name[:64]!r} is the provider's, and not to be given"
    return None


_AS_BY_DEFAULT = {
    row.name: "" if (default := default_of(row)) is None else default for row in FIELDS if row.is_of_provider
}
"""The settings that are the provider's, and the values that leave them to it."""
