"""Named providers: an administrator registers an OpenID provider, and owners refer to it by name (`@work`), without its
secret.

An owner's settings are an `OidcSpec` whose issuer is such a name. `services.provider_directory` resolves it to a
`NamedOidc`, which is compiled like other logins. Messages of agents cannot contain a `NamedOidc`.
"""

from collections.abc import Callable

from tunnelctl.policy.named import is_named
from tunnelctl.wire.messages import OidcSpec, PolicySpec
from tunnelctl.wire.problem import Problem


class NamedOidc(OidcSpec, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of a login with the values of a named provider filled in.

    Attributes:
        provider: Id of the named provider. All owners that use it share one connection id, so that only one redirect
            URI must be registered. Sessions still belong to one host, and limits count by owner.
    """

    provider: str

    def __repr__(self) -> str:
        """Leave out the client secret."""
        return f"NamedOidc(provider={self.provider!r}, issuer={self.issuer!r}, client_id={self.client_id!r})"


Resolve = Callable[[str, OidcSpec], NamedOidc | Problem]
"""Function that takes an owner and a login with a named provider, and returns the resolved login, or the problem."""


def names_provider(spec: PolicySpec) -> bool:
    """Return whether an endpoint's rules use a named provider."""
    return spec.oidc is not None and is_named(spec.oidc.issuer)


def knows_none(_owner: str, spec: OidcSpec) -> NamedOidc | Problem:
    """Return a problem for every name; for relays and tests without named providers."""
    return Problem("oidc.issuer", f"there is no provider {spec.issuer[:64]} that this owner may name")
