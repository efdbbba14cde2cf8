"""Which requests pass without the login of their endpoint: CORS preflights, where the owner allows them. Pure.

An exemption lifts the login and no other rule. `verdict.judge` asks for it behind the rules about networks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunnelctl.wire.messages import OidcSpec

if TYPE_CHECKING:
    from tunnelctl.http1.head import RequestHead


@dataclass(frozen=True, slots=True)
class Exempt:
    """Forward it without a login and without an identity.

    Attributes:
        rule: What exempts it, for the owner's traffic.
        spent: Names of fields that the upstream does not get, lower-case.
    """

    rule: str
    spent: frozenset[bytes] = frozenset()


PREFLIGHT = Exempt("CORS preflight", frozenset({b"authorization", b"cookie"}))
"""Browsers send no credentials with a preflight, and it must give no visitor an identity (row 55)."""


@dataclass(frozen=True, slots=True)
class Exemptions:
    """What an owner exempts from the login.

    Attributes:
        allows_preflight: CORS preflights.
    """

    allows_preflight: bool = False

    def find(self, head: RequestHead) -> Exempt | None:
        """What exempts this request; None when nothing does."""
        return PREFLIGHT if self.allows_preflight and is_preflight(head) else None


def compile_exemptions(oidc: OidcSpec | None) -> Exemptions | None:
    """Returns what a login exempts; None for nothing, so that a request costs no more than that look."""
    exemptions = Exemptions() if oidc is None else Exemptions(allows_preflight=oidc.allow_preflight)
    return exemptions if exemptions != Exemptions() else None


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
