"""The whole login against oidc-provider-mock over loopback: no PKCE, no `iss`, no `kid`, plain http."""

import re
import time
import warnings
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from tests.oidc.world import Browser, World, connection, location, sent_to
from tunnelrelay.address import PublicAddress
from tunnelrelay.oidc.providers.fetch import Fetcher
from tunnelrelay.oidc.providers.ssrf_guard import LOOPBACK, GuardedTransport, GuardRules
from tunnelrelay.policy.rules import Rules

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import oidc_provider_mock

HOST = "app.localhost"
API = "https://api.example.com"
ALICE = {"email": "alice@example.com", "email_verified": True, "name": "Alice Adams", "groups": ["staff"]}


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    users = [oidc_provider_mock.User(sub="alice", claims=ALICE)]
    with oidc_provider_mock.run_server_in_thread(user_claims=users) as server:
        yield f"http://localhost:{server.server_port}"


@pytest.fixture
async def world(issuer: str) -> Any:
    fetcher = Fetcher(GuardedTransport(GuardRules(allow_http=True, ports=None, networks=LOOPBACK)))
    world = World(address=PublicAddress(scheme="http", domain="localhost", port=8080), fetcher=fetcher)
    world.endpoints[HOST] = connection(
        issuer=issuer, rules=Rules(groups=frozenset({"staff"})), request_params=(("audience", API),)
    )
    world.clock.now = time.time()
    yield world
    await fetcher.aclose()


async def sign_in_at(url: str, sub: str) -> list[tuple[str, str]]:
    """Presses the provider's button. Returns the parameters the visitor comes back with."""
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(url, data={"sub": sub})
    return parse_qsl(urlsplit(answer.headers["location"]).query)


@pytest.mark.filterwarnings("ignore")
async def test_alice_signs_in(world: World, issuer: str) -> None:
    assert await world.providers.check(world.endpoints[HOST]) == []
    browser = Browser(world)
    started = await browser.start(host=HOST)
    assert sent_to(started)["audience"] == API
    handed = await browser.callback(await sign_in_at(location(started), "alice"))
    done = await browser.open_handoff(parse_qsl(urlsplit(location(handed)).query), HOST)
    assert location(done) == f"http://{HOST}:8080/x?y=1"
    session = await world.signed_in(browser, HOST)
    assert (session.identity.subject, session.identity.email) == ("alice", "alice@example.com")
    assert session.identity.groups == ("staff",)
    assert re.fullmatch(re.escape(issuer), session.identity.issuer)


@pytest.mark.filterwarnings("ignore")
async def test_somebody_without_the_group_does_not(world: World) -> None:
    browser = Browser(world)
    handed = await browser.callback(await sign_in_at(location(await browser.start(host=HOST)), "mallory"))
    page = await browser.open_handoff(parse_qsl(urlsplit(location(handed)).query), HOST)
    assert page.status == 403
    assert b"mallory" in page.body
