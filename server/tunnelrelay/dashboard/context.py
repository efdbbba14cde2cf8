"""The services and settings that every page of the dashboard may use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunnelrelay.address import PublicAddress

if TYPE_CHECKING:
    from tunnelrelay.services.services import Services


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Passed to every page.

    Attributes:
        key: Keys the CSRF tokens; the same on every relay of one store.
        clock: Unix time.
        provider: How the operator's OpenID provider is called on the button of the sign-in page; "" without one.
        issuer: Its issuer, as the operator wrote it.
        needs_tokens: Whether agents must show an authtoken.
    """

    address: PublicAddress
    services: Services
    key: bytes
    clock: Callable[[], float]
    provider: str = ""
    issuer: str = ""
    needs_tokens: bool = True

    @property
    def origin(self) -> str:
        """The origin of the dashboard, as browsers send it."""
        return self.address.url(self.address.dashboard_host)
