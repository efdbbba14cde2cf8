"""Fair shares at the public side: one address cannot take an endpoint's streams, nor the relay's connections."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from tests.ingress.scene import HOST, Scene, error_of, reset
from tests.support.raw_http import RawConnection, request_bytes
from tests.support.scripted_agent import Asked
from tunnelctl.wire.errors import Code
from tunnelrelay.ingress import ingress as ingress_module
from tunnelrelay.ingress.exchange import BODY_BYTES, BODY_SECONDS

pytestmark = pytest.mark.asyncio(loop_scope="module")

SHARE = 3


@pytest.fixture(scope="module")
def relay_flags() -> dict[str, object]:
    return {"trusted_proxy": ("127.0.0.0/8",), "visitor_requests": str(SHARE)}


def get(address: str, *fields: tuple[str, str]) -> bytes:
    return request_bytes("GET", "/", host=HOST, fields=[("X-Forwarded-For", address), *fields])


def limited(s: Scene, limit: str) -> int:
    return s.relay.metrics.counts["limited"].get(limit, 0)


async def visitor_of(s: Scene, stack: AsyncExitStack) -> RawConnection:
    """A visitor who leaves nothing behind for the next test: one who only closes might still be reading."""
    visitor = await stack.enter_async_context(s.visitor())
    stack.callback(reset, visitor)
    return visitor


async def take(s: Scene, stack: AsyncExitStack, address: str, count: int) -> list[tuple[RawConnection, Asked]]:
    """Requests that stay open."""
    visitors = [await visitor_of(s, stack) for _ in range(count)]
    return [(visitor, await s.exchange(visitor, get(address))) for visitor in visitors]


async def test_row126_an_address_with_its_share_of_an_endpoint_waits_and_others_do_not(s: Scene):
    before = limited(s, "visitor_requests")
    async with AsyncExitStack() as stack:
        (visitor, asked), *_ = await take(s, stack, "203.0.113.7", SHARE)
        refused = await s.fetch(get("203.0.113.7"))
        async with s.visitor() as other:
            answered = await s.exchange(other, get("203.0.113.8"))
            answered.answer()
            assert (await other.response()).status == 200
        asked.answer()
        assert (await visitor.response()).status == 200
        async with s.visitor() as again:
            (await s.exchange(again, get("203.0.113.7"))).answer()
            assert (await again.response()).status == 200

    assert (refused.status, error_of(refused)) == (429, "too_many_requests")
    assert int(refused.get("retry-after") or 0) > 0
    assert limited(s, "visitor_requests") == before + 1


async def test_row126_an_ipv6_network_has_one_share(s: Scene):
    async with AsyncExitStack() as stack:
        for number in range(SHARE):
            await take(s, stack, f"2001:db8::{number:x}", 1)

        assert (await s.fetch(get("2001:db8::ffff"))).status == 429
        s.agent.answers = lambda asked: asked.answer()
        assert (await s.fetch(get("2001:db8:0:1::1"))).status == 200


async def test_row126_a_proxy_that_stands_for_many_and_this_machine_have_no_share(s: Scene):
    async with AsyncExitStack() as stack:
        await take(s, stack, "127.0.0.1", SHARE + 2)


@pytest.mark.parametrize("end", ["answered", "left", "reset by the agent", "refused"])
async def test_row126_however_a_request_ends_its_place_is_free_again(s: Scene, end: str):
    endpoint = s.relay.registry.find(HOST)
    assert endpoint is not None
    async with s.visitor() as visitor:
        if end == "refused":
            await visitor.send(get("203.0.113.9", ("Transfer-Encoding", "gzip")))
            await visitor.response()
        else:
            asked = await s.exchange(visitor, get("203.0.113.9"))
            assert endpoint.open_by == {"203.0.113.9": 1}
            if end == "answered":
                asked.answer()
                await visitor.response()
            elif end == "reset by the agent":
                asked.link.reset(asked.stream, Code.UPSTREAM_BROKEN)
                await visitor.response()
            else:
                reset(visitor)
    await s.turns(lambda: not endpoint.open_by)


async def test_row121_an_address_that_comes_and_goes_without_end_holds_no_more_than_its_share(s: Scene):
    endpoint = s.relay.registry.find(HOST)
    assert endpoint is not None
    for _ in range(50):
        async with s.visitor() as visitor:
            await visitor.send(get("203.0.113.10") * 3)
            await s.visit(visitor)
            reset(visitor)
    await s.turns(lambda: not endpoint.open_by)

    assert s.relay_link.stream_count == 0


async def test_row126_upgraded_connections_count(s: Scene):
    upgrade = (("Connection", "Upgrade"), ("Upgrade", "websocket"))
    async with AsyncExitStack() as stack:
        for _ in range(SHARE):
            visitor = await visitor_of(s, stack)
            asked = await s.exchange(visitor, get("203.0.113.11", *upgrade))
            asked.head(101, b"Connection: Upgrade\r\nUpgrade: websocket\r\n")
            assert (await visitor.response()).status == 101

        assert (await s.fetch(get("203.0.113.11", *upgrade))).status == 429


# Connections


async def test_row126_one_address_cannot_take_the_relays_connections(s: Scene, monkeypatch: pytest.MonkeyPatch):
    ingress = s.relay.ingress
    monkeypatch.setattr(ingress_module, "MAX_VISITORS", 100)
    monkeypatch.setattr(ingress.known, "address_of", lambda peer: "203.0.113.7")
    before = limited(s, "visitor_connections")
    async with AsyncExitStack() as stack:
        for _ in range(60):
            await stack.enter_async_context(s.visitor())
        await s.turns(lambda: limited(s, "visitor_connections") + ingress.visitor_count >= before + 60)
        mine = ingress.visitor_count
        monkeypatch.setattr(ingress.known, "address_of", lambda peer: "203.0.113.8")
        assert (await s.fetch_answered()).status == 200
    await s.turns(lambda: not any(map(ingress.quotas.connections, ("203.0.113.7", "203.0.113.8"))))

    assert 30 <= mine <= 40


# Bodies


def post(*, size: int) -> bytes:
    fields = [("X-Forwarded-For", "203.0.113.7"), ("Content-Length", str(size))]
    return request_bytes("POST", "/", host=HOST, fields=fields)


async def trickle(s: Scene, visitor: RawConnection, asked: Asked, *, size: int, seconds: float, times: int) -> None:
    """Sends pieces, each so much later than the one before, until the relay has had enough."""
    visit = await s.visit(visitor)
    passed = 0.0
    for _ in range(times):
        passed += seconds
        came = len(asked.body)
        with s.later(passed):
            s.relay.ingress.sweep()
            if asked.reset is not None or visit.is_lingering or visit.transport.is_closing():
                return
            await visitor.send(b"x" * size)
            await s.turns(lambda came=came: len(asked.body) >= came + size)


async def test_row126_a_body_that_trickles_is_cut_though_it_never_stops(s: Scene):
    before = limited(s, "slow_body")
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor, post(size=10_000))
        await trickle(s, visitor, asked, size=1, seconds=10.0, times=10)
        response = await visitor.response()

    assert (response.status, error_of(response)) == (408, "request_timeout")
    assert len(asked.body) <= BODY_SECONDS / 10 + 1
    assert limited(s, "slow_body") == before + 1


async def test_row126_a_slow_body_that_keeps_the_rate_is_let_through(s: Scene):
    times, size = 10, BODY_BYTES // 5
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor, post(size=times * size))
        await trickle(s, visitor, asked, size=size, seconds=11.0, times=times)
        await asked.until(lambda: asked.is_complete)
        asked.answer()

        assert (await visitor.response()).status == 200


async def test_a_stream_of_unknown_length_may_be_slow(s: Scene):
    fields = [("X-Forwarded-For", "203.0.113.7"), ("Transfer-Encoding", "chunked")]
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor, request_bytes("POST", "/", host=HOST, fields=fields))
        visit = await s.visit(visitor)
        for number in range(1, 11):
            with s.later(number * 50.0):
                s.relay.ingress.sweep()
                await visitor.send(b"1\r\nx\r\n")
                await s.turns(lambda number=number: len(asked.body) >= number)
        assert not visit.transport.is_closing()
        asked.answer()

        assert (await visitor.response()).status == 200


async def test_a_body_whose_answer_has_begun_may_be_as_slow_as_it_likes(s: Scene):
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor, post(size=10_000))
        asked.head(200)
        asked.data(b"a")
        await asyncio.sleep(0)
        visit = await s.visit(visitor)
        await s.turns(lambda: visit.exchange.status == 200)
        await trickle(s, visitor, asked, size=1, seconds=50.0, times=10)

        assert len(asked.body) == 10


async def test_row126_a_body_of_which_nothing_comes_is_given_up(s: Scene):
    async with s.visitor() as visitor:
        await s.exchange(visitor, post(size=10))
        s.pass_time(BODY_SECONDS + 1)

        assert (await visitor.response()).status == 408
