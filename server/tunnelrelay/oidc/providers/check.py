"""Runs the agent's check of a provider (`tunnelctl.agent.preflight`) on the relay, behind the SSRF guard.

A tenant chooses the URL and sees the result, so all refusals of the guard have the same text: details would reveal the
relay's own network.
"""

from collections.abc import Callable

import httpx

from tunnelctl.agent.preflight import Client, check_provider
from tunnelctl.oidc.findings import Finding
from tunnelctl.oidc.ports import PortRule
from tunnelrelay.oidc.providers.ssrf_guard import CallRefused

REFUSED = (
    "the relay calls public https:// addresses only (its operator can allow private networks with --issuer-network)"
)


class ProviderCheck:
    """Checks providers. Implements `services.provider_tests.ChecksProvider`.

    Args:
        transport: Makes the calls; it is guarded except in tests.
        clock: Function that returns Unix time, to compare with the provider's clock.
        ports: Rule for the ports at which the relay calls providers.
    """

    def __init__(
        self, transport: httpx.AsyncBaseTransport, clock: Callable[[], float], ports: PortRule | None = None
    ) -> None:
        self._transport = transport
        self._clock = clock
        self._ports = ports

    async def __call__(
        self, issuer: str, *, client_id: str, client_secret: str, redirect_uri: str, owner: str
    ) -> list[Finding]:
        """Check a provider and return the findings, in the order of the steps of a login."""
        client = Client(id=client_id, secret=client_secret, redirect_uri=redirect_uri)
        return await check_provider(
            issuer, client, ports=self._ports, transport=_Lent(self._transport, owner, issuer), clock=self._clock
        )

    async def aclose(self) -> None:
        """Close all connections to providers."""
        await self._transport.aclose()


class _Lent(httpx.AsyncBaseTransport):
    """Wraps the shared transport for one owner's check of a provider.

    Closing the wrapper leaves the shared transport open.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport, owner: str, issuer: str) -> None:
        self._transport = transport
        self._extensions = {"owner": owner, "issuer": issuer}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.extensions = {**request.extensions, **self._extensions}
        try:
            return await self._transport.handle_async_request(request)
        except CallRefused:
            raise httpx.ConnectError(REFUSED, request=request) from None
