"""A tenant has the relay look at an address of his choice: through the guard, and without learning of its network."""

from dataclasses import replace

import httpx
import pytest

from tests.oidc.world import CLIENT_ID, CLIENT_SECRET, ISSUER, START, LyingProvider
from tests.support.managed import ADDRESS
from tunnelrelay.oidc.providers.check import REFUSED, ProviderCheck
from tunnelrelay.oidc.providers.ssrf_guard import GuardedTransport, GuardRules

STRANGERS = replace(ADDRESS, is_multi_tenant=True)
HOSTS = {
    "private.example": ["10.0.0.8"],
    "metadata.example": ["169.254.169.254"],
    "mixed.example": ["93.184.216.34", "127.0.0.1"],
    "unknown.example": [],
}
"""What names resolve to."""


class NoNetwork:
    """Whoever gets here was let through by the guard."""

    def __init__(self) -> None:
        self.dialled: list[str] = []

    async def connect_tcp(self, host: str, *_: object, **__: object) -> object:
        self.dialled.append(host)
        raise OSError("no network here")

    async def sleep(self, seconds: float) -> None:
        """Nothing waits."""


async def resolve(host: str, _owner: str) -> list[str]:
    return HOSTS.get(host, ["93.184.216.34"])


@pytest.mark.parametrize(
    "issuer",
    [
        "https://private.example",
        "https://metadata.example/latest",
        "https://mixed.example",
        "https://unknown.example",
        "https://10.0.0.8",
        "https://[::1]",
        "https://idp.tun.example",
        "https://public.example:6379",
        "http://localhost:9200",
        "http://127.0.0.1:6379",
    ],
)
async def test_what_the_guard_refuses_is_told_in_one_text_and_dials_nowhere(issuer):
    """Rows 131, 132, 135. Neither the network's map nor the reason is told, whatever address is tried."""
    network = NoNetwork()
    transport = GuardedTransport(GuardRules.of_relay(STRANGERS, ()), connect=network, resolve=resolve)

    (finding, *more) = await ProviderCheck(transport, lambda: START)(
        issuer, client_id="c", client_secret="s", redirect_uri="https://idp.tun.example/oauth2/callback", owner="ann"
    )

    assert (finding.level, finding.topic, more) == ("error", "unreachable", [])
    assert finding.found.endswith(REFUSED)
    assert network.dialled == []


async def test_a_good_provider_is_found_good_with_the_owner_told_to_the_resolver():
    provider, owners = LyingProvider(clock=lambda: START), []

    class Noting(httpx.AsyncBaseTransport):
        is_closed = False

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            owners.append(request.extensions["owner"])
            answer = await provider.handle_async_request(request)
            kept = {"content-type": answer.headers["content-type"]}
            return httpx.Response(answer.status_code, headers=kept, stream=httpx.ByteStream(await answer.aread()))

        async def aclose(self) -> None:
            self.is_closed = True

    transport = Noting()
    check = ProviderCheck(transport, lambda: START)
    findings = await check(ISSUER, client_id=CLIENT_ID, client_secret="", redirect_uri="", owner="ann")

    assert {finding.level for finding in findings} <= {"ok", "warning"}
    assert set(owners) == {"ann"}
    assert not transport.is_closed
    await check.aclose()
    assert transport.is_closed
    assert CLIENT_SECRET not in repr(findings)
