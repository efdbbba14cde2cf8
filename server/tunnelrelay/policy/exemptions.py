"""Which requests pass without the login of their endpoint: CORS preflights and public paths, as its owner says. Pure.

An exemption lifts the login and no other rule. `verdict.judge` asks for it behind the rules about networks.
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
    """Forward it without a login and without an identity.

    Attributes:
        rule: What exempts it, for the owner's traffic.
        spent: Names of fields that the upstream does not get, lower-case.
        yields_to_session: A visitor whose session counts for this request is named to the upstream all the same.
    """

    rule: str
    spent: frozenset[bytes] = frozenset()
    yields_to_session: bool = False


PREFLIGHT = Exempt("CORS preflight", frozenset({b"authorization", b"cookie"}))
"""Browsers send no credentials with a preflight, and it must give no visitor an identity (row 55)."""


@dataclass(frozen=True, slots=True)
class Exemptions:
    """What an owner exempts from the login.

    Attributes:
        allows_preflight: CORS preflights.
        public_paths: Patterns as `tunnelctl.policy.public_paths` reads them, in order.
    """

    allows_preflight: bool = False
    public_paths: tuple[bytes, ...] = ()

    def find(self, head: RequestHead) -> Exempt | None:
        """What exempts this request; None when nothing does.

        No field of the request names its path (row 51): only the target does, which the upstream gets as it is. A
        target in absolute form has no path here.
        """
        if self.allows_preflight and is_preflight(head):
            return PREFLIGHT
        pattern = find_pattern(self.public_paths, head.path)
        return Exempt(f"public path {pattern.decode()}", yields_to_session=True) if pattern else None


def compile_exemptions(oidc: OidcSpec | None) -> Exemptions | None:
    """Returns what a login exempts; None for nothing, so that a request costs no more than that look."""
    if oidc is None or not (oidc.allow_preflight or oidc.public_paths):
        return None
    return Exemptions(oidc.allow_preflight, tuple(sorted({path.encode() for path in oidc.public_paths})))


def is_preflight(head: RequestHead) -> bool:
    """Says whether a browser asks what a script may send (Fetch standard, "CORS-preflight request").

    Other OPTIONS requests are not: an app that does something on OPTIONS must not be open because of this.
    """
    return (
        head.method == b"OPTIONS"
        and head.get(b"access-control-request-method") is not None
        and head.get(b"origin") is not None
        and not head.has_body
        and not head.upgrade
    )
