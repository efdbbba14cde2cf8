"""Who may open a link: rows 118 and 163, at the relay's own socket."""

import re
import time

import pytest

from tests.agents.conftest import flags
from tests.support.raw_http import Response, connect
from tests.support.scripted_agent import ScriptedAgent
from tunnelctl.agent.outcome import Trouble, judge_dial
from tunnelctl.http1.head import parse_request
from tunnelctl.link.dial import DialFailed
from tunnelctl.wire.errors import Code
from tunnelctl.wire.messages import Bound
from tunnelrelay.address import PublicAddress
from tunnelrelay.agents.accept import BURST_TOKENS
from tunnelrelay.agents.authtokens import LENGTH, PREFIX, create, mint
from tunnelrelay.app.relay import Relay
from tunnelrelay.config.config import load_config
from tunnelrelay.ingress.route import Accept, Router, Unwanted
from tunnelrelay.registry.registry import Registry

pytestmark = pytest.mark.asyncio(loop_scope="module")

HANDSHAKE = (
    "GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Protocol: tunnel.v1\r\n"
)
CONNECT = "/_tunnel/connect"


def port_of(relay: Relay) -> int:
    assert relay.http is not None
    return relay.http[1]


async def knock(relay: Relay, *lines: str, target: str = CONNECT, host: str = "localhost") -> Response:
    head = HANDSHAKE.format(target=target, host=host) + "".join(f"{line}\r\n" for line in lines) + "\r\n"
    async with connect(port_of(relay)) as visitor:
        await visitor.send(head.encode())
        return await visitor.response()


def code(response: Response) -> tuple[int, str]:
    return response.status, response.get("tunnel-error") or ""


@pytest.mark.parametrize("host", ["localhost", "localhost:{port}", "127.0.0.1", "127.0.0.1:1", "127.1.2.3", "[::1]"])
async def test_on_this_machine_anybody_may_open_a_link(local, host):
    assert (await knock(local, host=host.format(port=port_of(local)))).status == 101


@pytest.mark.parametrize(
    "host",
    ["evil.example", "demo.localhost", "127.0.0.1.evil.example", "localhost.evil.example", "127.evil.example",
     "10.0.0.1", "127.0.0.1.1", "1270.0.0.1", "2130706433", "0x7f.0.0.1", "[::ffff:7f00:1]", "0.0.0.0", "127.1"],
)  # fmt: skip
async def test_row163_a_rebound_name_may_not(local, host):
    assert code(await knock(local, host=host)) == (403, "connect_refused")


@pytest.mark.parametrize("origin", ["http://evil.example", "http://localhost", "null", "", "http://127.0.0.1:8080"])
async def test_row163_no_web_page_may_whatever_it_says(local, public, origin):
    assert code(await knock(local, f"Origin: {origin}")) == (403, "connect_refused")
    assert code(await knock(public, f"Origin: {origin}")) == (403, "connect_refused")


@pytest.mark.parametrize(
    "lines",
    [["Upgrade-Not: x"], ["Sec-WebSocket-Protocol: tunnel.v2"], ["Sec-WebSocket-Key: other"]],
)
async def test_a_handshake_is_exact(local, lines):
    head = HANDSHAKE.format(target=CONNECT, host="localhost")
    broken = head.replace("Upgrade: websocket\r\n", "").replace("Connection: Upgrade\r\n", "")
    async with connect(port_of(local)) as visitor:
        await visitor.send((broken + "".join(f"{line}\r\n" for line in lines) + "\r\n").encode())
        assert (await visitor.response()).status == 400


async def test_row118_a_public_relay_asks_for_a_token(public):
    assert code(await knock(public, host="anything.example")) == (401, "token_required")


@pytest.mark.parametrize(
    "value",
    ["Bearer", "Bearer ", "Bearer x", f"Bearer {PREFIX}{'a' * (LENGTH - len(PREFIX))}", "Basic dHQ6dHQ=", "tt_x",
     f"Bearer {PREFIX}{'a' * 100_0}", f"Bearer {PREFIX}{'%00' * 14}a", "Bearer \xff\xfe"],
)  # fmt: skip
async def test_row118_a_token_that_was_never_given_is_refused(public, value):
    head = HANDSHAKE.format(target=CONNECT, host="relay.tun.example") + f"Authorization: {value}\r\n\r\n"
    async with connect(port_of(public)) as visitor:
        await visitor.send(head.encode("latin-1"))
        assert code(await visitor.response()) == (401, "token_refused")


async def test_only_the_holder_of_a_token_is_told_that_it_expired(public):
    expired, _ = await create(public.store, "ann", expires_at=time.time() - 60)
    answer = await knock(public, f"Authorization: Bearer {expired}", host="a.example")
    assert code(answer) == (401, "token_expired")
    assert re.search(rb"\(on 20\d\d-\d\d-\d\d at \d\d:\d\d UTC\)", answer.body)
    other = expired[:-1] + ("a" if expired[-1] != "a" else "b")
    assert code(await knock(public, f"Authorization: Bearer {other}", host="a.example")) == (401, "token_refused")


async def test_row118_a_token_is_taken_from_one_header_only(public):
    text, _ = await create(public.store, "ann")

    assert code(await knock(public, target=f"{CONNECT}?token={text}")) == (401, "token_required")
    assert (await knock(public, f"Cookie: token={text}")).status == 401
    assert (await knock(public, f"Authorization: Bearer {text}", "Authorization: Bearer x")).status == 401
    assert (await knock(public, f"authorization: bEARER  {text}")).status == 101


async def test_row118_a_revoked_token_opens_nothing_and_ends_what_it_had_opened(public):
    text, token = await create(public.store, "bob")
    agent = ScriptedAgent()
    await agent.connect(port_of(public), token=text)
    assert isinstance(await agent.bind("bobs"), Bound)
    await public.store.revoke_token(token.id, 1.0)
    assert await public.parts.acceptor.revoke(token.id) == 1
    await agent.until(lambda: agent.closed)

    assert agent.closed is not None
    assert agent.closed[0] is Code.UNAUTHORIZED
    assert public.registry.find("bobs.tun.example") is None
    with pytest.raises(DialFailed) as caught:
        await ScriptedAgent().connect(port_of(public), token=text)
    assert (caught.value.kind, caught.value.status) == ("refused", 401)


async def test_the_store_being_away_is_no_refusal(public, monkeypatch):
    """Row 130."""
    from tunnelrelay.store.base import StoreError

    async def away(digest: bytes) -> None:
        raise StoreError("the disk is full")

    text, _ = await create(public.store, "ann")
    monkeypatch.setattr(public.store, "token_by_digest", away)

    assert code(await knock(public, f"Authorization: Bearer {text}")) == (503, "relay_busy")


async def test_row118_wrong_tokens_without_end_are_not_even_looked_up_and_other_addresses_are(tmp_path):
    """Row 118. A token that is looked up has been used. Behind a proxy: from loopback itself nothing is limited."""
    settings = flags(tmp_path, domain="tun.example", public_url="https://*.tun.example", trusted_proxy=("127.0.0.0/8",))
    async with Relay(load_config(flags=settings, env={})) as relay:
        text, _ = await create(relay.store, "ann")
        wrong, _ = mint("eve", 1.0)
        knocks = [f"X-Forwarded-For: 203.0.113.{number}" for number in (7, 8)]
        seen = [code(await knock(relay, f"Authorization: Bearer {wrong}", knocks[0])) for _ in range(BURST_TOKENS)]
        slowed = await knock(relay, f"Authorization: Bearer {text}", knocks[0])
        (unused,) = await relay.store.tokens("ann")
        other = await knock(relay, f"Authorization: Bearer {text}", knocks[1])

    assert seen == [(401, "token_refused")] * BURST_TOKENS
    assert code(slowed) == (429, "too_many_requests")
    assert int(slowed.get("retry-after") or 0) > 0
    assert unused.last_used_at is None
    assert other.status == 101
    assert relay.metrics.counts["limited"] == {"agent_tokens": 1}


async def test_an_agent_that_is_told_to_wait_tries_again():
    failure = DialFailed("unreachable", "too many", status=429)

    assert isinstance(judge_dial(failure, was_connected=False), Trouble)


def router(*, redirects: bool) -> Router:
    address = PublicAddress(scheme="https", domain="tun.example", port=443)
    registry = Registry(clock=lambda: 0.0, monotonic=lambda: 0.0)
    return Router(address, registry, is_token_free=False, redirects=redirects)


@pytest.mark.parametrize(
    ("host", "redirects", "is_secure", "is_let_in"),
    [
        ("tun.example", True, False, False),
        ("tun.example", True, True, True),
        ("tun.example", False, False, True),  # a proxy in front ends TLS
        ("127.0.0.1:8080", True, False, True),
    ],
)
async def test_row118_beside_tls_no_token_is_taken_in_the_clear(host, redirects, is_secure, is_let_in):
    head = parse_request((HANDSHAKE.format(target=CONNECT, host=host) + "\r\n").encode())
    routed = router(redirects=redirects).route(head, sni=None, is_secure=is_secure)

    assert routed == (Accept() if is_let_in else Unwanted("connect_refused", closes=True))
