"""The settings of a named provider, and merging them with an owner's settings to one login. Does no I/O.

The administrator sets the client and how the provider's responses are interpreted; the owner sets which of the
provider's users may enter, and for how long. Read next: `provider_directory.py`.
"""

import msgspec

from tunnelctl.policy.fields import FIELDS, default_of
from tunnelctl.wire.messages import OidcSpec
from tunnelctl.wire.problem import Problem
from tunnelctl.wire.texts import is_name
from tunnelrelay.policy.named_provider import NamedOidc

OWNERS_PARAMS = frozenset({"max_age", "acr_values", "prompt"})
"""Request parameters that an owner may add: they only ask for a stronger or fresher login of the same client."""


class ProviderSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of a named provider without the client secret. `OidcSpec` describes each.

    Attributes:
        callback: `relay` or `shared`. A callback at each endpoint's own host would have to be registered for each.
    """

    issuer: str
    client_id: str
    scopes: tuple[str, ...] = ()
    groups_claim: str = "groups"
    email_verified: str = "claim"
    request_params: tuple[tuple[str, str], ...] = ()
    callback: str = "relay"

    def encode(self) -> str:
        """Return the settings as JSON for the store."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def parse(cls, text: str) -> "ProviderSettings":
        """Parse the JSON from `encode`. Raises `msgspec.MsgspecError`."""
        return msgspec.json.decode(text, type=cls)


def name_problem(name: str) -> str:
    """Return why this is not a valid name of a provider; "" when it is valid."""
    return "" if is_name(name) else "a name has a-z, 0-9 and hyphens inside, at most 63 characters"


def merged(spec: OidcSpec, settings: ProviderSettings, *, provider: str, client_secret: str) -> NamedOidc | Problem:
    """Return the merged login, or the problem of a setting that the owner may not give.

    Args:
        spec: The owner's settings, with the provider's name as issuer.
        provider: Id of the provider.
    """
    if problem := _not_the_owners(spec, settings):
        return Problem(f"oidc.{problem[0]}", f"with {spec.issuer[:64]} {problem[1]}")
    rest = {name: getattr(spec, name) for name in OidcSpec.__struct_fields__}
    ours = {name: getattr(settings, name) for name in ProviderSettings.__struct_fields__}
    ours["request_params"] = (*settings.request_params, *spec.request_params)
    return NamedOidc(**(rest | ours | {"client_secret": client_secret}), provider=provider)


def _not_the_owners(spec: OidcSpec, settings: ProviderSettings) -> tuple[str, str] | None:
    """Return the setting in the spec that the owner may not give, and the reason; None without one."""
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
"""Settings that only the named provider may define, each with the default value that an owner's settings must have."""
