"""docs/concepts/login.md says what the code does, and its example works."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from joserfc.errors import JoseError

from tests.oidc.world import APP, Browser, World
from tunnelctl.oidc.metadata import ALGORITHMS
from tunnelrelay.keys.assertion import AssertionSigner
from tunnelrelay.model import Identity
from tunnelrelay.oidc.login.cookies import MAX_TRANSACTIONS
from tunnelrelay.oidc.login.sealed_state import HANDOFF_SECONDS, LOGIN_SECONDS
from tunnelrelay.oidc.providers.dns import MAX_OWNERS_LOOKUPS
from tunnelrelay.oidc.providers.fetch import MAX_BODY, TOTAL_SECONDS
from tunnelrelay.oidc.providers.known_providers import MAX_OWNERS_CALLS
from tunnelrelay.oidc.providers.provider import QUEUE_SECONDS
from tunnelrelay.oidc.providers.response_limits import MAX_ANSWER, MAX_HEAD
from tunnelrelay.oidc.sessions import sessions
from tunnelrelay.oidc.tokens.id_token import LEEWAY, MAX_AGE

TEXT = (Path(__file__).parents[2] / "docs" / "concepts" / "login.md").read_text(encoding="utf-8")
FLAT = " ".join(TEXT.split())
RELAY, ENDPOINT = "https://tun.example", f"https://{APP}"


@pytest.fixture
def user_of() -> Callable[..., dict[str, Any]]:
    """The example, as it stands in the page."""
    (source,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    names: dict[str, Any] = {}
    exec(source, names)
    function: Callable[..., dict[str, Any]] = names["user_of"]
    return function


async def assertion(world: World) -> tuple[str, dict[str, Any], float]:
    """What an app gets with a request, the published keys, and the time by which it was signed."""
    browser = Browser(world)
    await browser.sign_in()
    block = (await world.signed_in(browser)).header_block(world.clock())
    (token,) = re.findall(rb"X-Tunnel-Assertion: (\S+)\r\n", block)
    return token.decode(), world.signer.jwks(), world.clock()


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> float:
    """joserfc looks at the clock by itself; here it sees the world's."""
    world_now = World().clock()
    monkeypatch.setattr("time.time", lambda: world_now)
    return world_now


async def test_the_example_accepts_what_an_app_receives(user_of: Callable[..., dict[str, Any]], now: float) -> None:
    token, jwks, _ = await assertion(World())
    claims = user_of(token, jwks, relay=RELAY, endpoint=ENDPOINT)
    assert (claims["sub"], claims["email"]) == ("alice", "alice@acme.example")


async def test_the_example_refuses_everything_else(user_of: Callable[..., dict[str, Any]], now: float) -> None:
    token, jwks, _ = await assertion(World())
    alice = Identity(issuer="x", subject="alice")
    forged = AssertionSigner.generate(issuer=RELAY).sign(alice, audience=ENDPOINT, now=now)
    signer = AssertionSigner.generate(issuer=RELAY)
    old = signer.sign(alice, audience=ENDPOINT, now=now - 300)
    for text, keys, relay, endpoint in (
        (forged, jwks, RELAY, ENDPOINT),
        (token, jwks, RELAY, "https://other.tun.example"),
        (token, jwks, "https://other.example", ENDPOINT),
        (old, signer.jwks(), RELAY, ENDPOINT),
        (token[:-4] + "AAAA", jwks, RELAY, ENDPOINT),
    ):
        with pytest.raises((JoseError, ValueError)):
            user_of(text, keys, relay=relay, endpoint=endpoint)


async def test_the_page_names_every_header_an_app_receives() -> None:
    world = World()
    world.provider.claims["groups"] = ["ops"]
    browser = Browser(world)
    await browser.sign_in()
    block = (await world.signed_in(browser)).header_block(world.clock()).decode()
    sent = {line.partition(":")[0] for line in block.splitlines()}
    assert sent == set(re.findall(r"`((?:X-Tunnel|Ngrok-Auth)-[A-Za-z-]+)`", TEXT))


def test_the_numbers_on_the_page_are_the_codes() -> None:
    assert f"for {HANDOFF_SECONDS} seconds" in FLAT
    assert f"| {LOGIN_SECONDS // 60} minutes |" in FLAT
    assert MAX_TRANSACTIONS == 20
    assert "at most twenty" in FLAT
    assert f"{LEEWAY} seconds of leeway; `iat` is not older than {MAX_AGE // 60} minutes" in FLAT
    assert f"Every call has {TOTAL_SECONDS:.0f} seconds and {MAX_BODY // 1024} KiB" in FLAT
    assert f"a head may have {MAX_HEAD // 1024} KiB, an answer with its framing {MAX_ANSWER // 1024} KiB" in FLAT
    assert f"{MAX_OWNERS_CALLS} are under way at once and {MAX_OWNERS_LOOKUPS} names are being looked up" in FLAT
    assert f"wait, up to {QUEUE_SECONDS:.0f} seconds" in FLAT
    assert sessions.COOKIE_LENGTH == 43


def test_every_accepted_algorithm_is_named() -> None:
    (sentence,) = re.findall(r"is one of ([^.]*)\. No `none`", FLAT)
    assert set(re.findall(r"\w+\d\w*", sentence)) == set(ALGORITHMS) - {"EdDSA"}
