"""Requests that pass without the endpoint's login, as configured by its owner: CORS preflights and public paths. Does
no I/O.

An exemption skips only the login and no other rule. `verdict.judge` checks it after the rules about networks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunnelctl.policy.public_paths import find_pattern
from tunnelctl.wire.messages import OidcSpec

if TYPE_CHECKING:
    from tunnelctl.http1.head import RequestHead


@dataclass(frozen=True, slots=True)
class Exempt:
    """The request is forwarded without login and identity.

    Attributes:
        rule: Name of the exempting rule, shown in the owner's traffic.
        spent: Names of fields that are not forwarded, in lower case.
        yields_to_session: If the visitor has a valid session, the upstream gets the visitor's identity nevertheless.
    """

    rule: str
    spent: frozenset[bytes] = frozenset()
    yields_to_session: bool = False


PREFLIGHT = Exempt("CORS preflight", frozenset({b"authorization", b"cookie"}))
"""The exemption of CORS preflights. Browsers send no credentials with them, so a preflight must never give a visitor an
identity."""


@dataclass(frozen=True, slots=True)
class Exemptions:
    """The exemptions from the login that an owner has configured.

    Attributes:
        allows_preflight: CORS preflights are exempt.
        public_paths: Exempt paths, in order, as patterns of `tunnelctl.policy.public_paths`.
    """

    allows_preflight: bool = False
    public_paths: tuple[bytes, ...] = ()

    def find(self, head: RequestHead) -> Exempt | None:
        """Return the exemption of this request; None when it needs a login.

        The path is taken only from the request target, which the upstream gets unchanged, never from header fields. A
        target in absolute form is not exempt.
        """
        if self.allows_preflight and is_preflight(head):
            return PREFLIGHT
        pattern = find_pattern(self.public_paths, head.path)
        return Exempt(f"public path {pattern.decode()}", yields_to_session=True) if pattern else None


def compile_exemptions(oidc: OidcSpec | None) -> Exemptions | None:
    """Compile the exemptions of a login; None when there are none, so that requests do not pay for the check."""
    if oidc is None or not (oidc.allow_preflight or oidc.public_paths):
        return None
    return Exemptions(oidc.allow_preflight, tuple(sorted({path.encode() for path in oidc.public_paths})))


def is_preflight(head: RequestHead) -> bool:
    """Return whether a request is a CORS preflight (Fetch standard, "CORS-preflight request").

    Other OPTIONS requests are not: an app that acts on OPTIONS must not become open.
    """
    return (
        head.method == b"OPTIONS"
        and head.get(b"access-control-request-method") is not None
        and head.get(b"origin") is not None
        and not head.has_body
        and not head.upgrade
    )
