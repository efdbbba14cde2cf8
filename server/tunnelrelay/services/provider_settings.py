"""A named provider's settings, and how they and what an owner asks for become one login. Pure.

The administrator's word holds for everything that says who the client is and what its answers mean; the owner says who
of the provider's users may come in, and for how long. Next: `provider_directory.py`.
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
    """What an administrator registers, but for the client secret. See `OidcSpec` for what each means.

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


def merged(asked: OidcSpec, settings: ProviderSettings, *, provider: str, client_secret: str) -> NamedOidc | Problem:
    """The whole login, or what the owner asks for that is not the owner's to say.

    Args:
        asked: Names the provider as its issuer.
        provider: The provider's id.
    """
    if problem := _not_the_owners(asked, settings):
        return Problem(f"oidc.{problem[0]}", f"with {asked.issuer[:64]} {problem[1]}")
    rest = {name: getattr(asked, name) for name in OidcSpec.__struct_fields__}
    ours = {name: getattr(settings, name) for name in ProviderSettings.__struct_fields__}
    ours["request_params"] = (*settings.request_params, *asked.request_params)
    return NamedOidc(**(rest | ours | {"client_secret": client_secret}), provider=provider)


def _not_the_owners(asked: OidcSpec, settings: ProviderSettings) -> tuple[str, str] | None:
    """The member of the spec that is not the owner's to say, and why; None when there is none."""
    for name, default in _AS_BY_DEFAULT.items():
        if getattr(asked, name) != default:
            return name, f"the {name.replace('_', ' ')} is the provider's, and not to be given"
    taken = {name for name, _ in settings.request_params}
    for name, _ in asked.request_params:
        if name not in OWNERS_PARAMS or name in taken:
            return "request_params", f"the request parameter {name[:64]!r} is the provider's, and not to be given"
    return None


_AS_BY_DEFAULT = {
    row.name: "" if (default := default_of(row)) is None else default for row in FIELDS if row.is_of_provider
}
"""The settings that are the provider's, and the values that leave them to it."""
