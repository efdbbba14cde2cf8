"""Logins by a provider that an administrator registered: an owner names it (`@work`) and holds no secret of it.

The owner's settings are an `OidcSpec` whose issuer is such a name. `services.provider_directory`
resolves it to a `NamedOidc`, which is compiled like any other. Nothing that comes over the wire can be one.
"""

from collections.abc import Callable

from tunnelctl.policy.named import is_named
from tunnelctl.wire.messages import OidcSpec, PolicySpec
from tunnelctl.wire.problem import Problem


class NamedOidc(OidcSpec, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A login with the provider's values filled in.

    Attributes:
        provider: Id of the named provider. All owners that name it have the same connection id, so that there is one
            redirect URI to register. Sessions
            still belong to their host, and limits count by owner.
    """

    provider: str

    def __repr__(self) -> str:
        """Never the secret."""
        return f"NamedOidc(provider={self.provider!r}, issuer={self.issuer!r}, client_id={self.client_id!r})"


Resolve = Callable[[str, OidcSpec], NamedOidc | Problem]
"""From an owner and a login that names a provider to the whole login, or to why it cannot be had."""


def names_provider(spec: PolicySpec) -> bool:
    """Whether an endpoint's rules depend on a named provider."""
    return spec.oidc is not None and is_named(spec.oidc.issuer)


def knows_none(_owner: str, spec: OidcSpec) -> NamedOidc | Problem:
    """Resolves nothing: for relays and tests without named providers."""
    return Problem("oidc.issuer", f"there is no provider {spec.issuer[:64]} that this owner may name")
