"""`Deps`: the services and settings that every page of the dashboard may use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunnelrelay.address import PublicAddress

if TYPE_CHECKING:
    from tunnelrelay.services.services import Services


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """The services and settings of the relay that every page of the dashboard may use.

    Attributes:
        key: HMAC key of the CSRF tokens, equal on all relays of one store.
        clock: Returns Unix time.
        provider: Name of the operator's OpenID provider on the sign-in page's button; "" without a provider.
        issuer: Issuer of the operator's OpenID provider; "" without a provider.
        needs_tokens: Whether agents must send an authtoken.
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
        """The dashboard's origin, as browsers send it in `Origin`."""
        return self.address.url(self.address.dashboard_host)
