"""Passwords of endpoints that are guessed: who must wait, who need not, and what the owner reads of it."""

import base64
import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.bounds.driving import bound_of, table
from tests.ingress.scene import HOST, Scene, error_of
from tests.support.raw_http import Response, request_bytes
from tunnelctl.wire.messages import Bound, PolicySpec
from tunnelrelay.ingress.guesses import BURST_GUESSES, GUESSES_PER_SECOND, Guesses
from tunnelrelay.policy.limits import MAX_KEYS

pytestmark = pytest.mark.asyncio(loop_scope="module")

GOOD = "ann:correct-horse"


@pytest.fixture(scope="module")
def relay_flags() -> dict[str, object]:
    """Visitors' addresses are what a test says."""
    return {"trusted_proxy": ("127.0.0.0/8",)}


class Hands:
    """Visitors of an endpoint with a password."""

    def __init__(self, s: Scene) -> None:
        self.s = s
        s.agent.answers = lambda asked: asked.answer()
        s.monotonic.ahead += 3600  # since the guesses of other tests

    async def show(
        self, pair: str | None, *, of: str = "203.0.113.9", host: str = HOST, method: str = "GET"
    ) -> Response:
        fields = [("X-Forwarded-For", of)]
        if pair is not None:
            fields.append(("Authorization", "Basic " + base64.b64encode(pair.encode()).decode()))
        return await self.s.fetch(request_bytes(method, "/", host=host, fields=fields), method=method)

    async def guess(self, count: int, **more: str) -> list[int]:
        return [(await self.show(f"ann:guess-{number}", **more)).status for number in range(count)]


@pytest_asyncio.fixture(loop_scope="module")
async def hands(s: Scene) -> AsyncIterator[Hands]:
    assert isinstance(await s.agent.bind("demo", policy=PolicySpec(basic_auth=(GOOD,))), Bound)
    with s.monotonic.stopped():
        yield Hands(s)


async def test_after_many_wrong_passwords_an_address_must_wait(hands: Hands):
    assert await hands.guess(BURST_GUESSES) == [401] * BURST_GUESSES
    limited, right = await hands.show("ann:one-more"), await hands.show(GOOD)

    assert [(answer.status, error_of(answer)) for answer in (limited, right)] == [(429, "too_many_requests")] * 2
    assert int(limited.get("retry-after") or 0) == 1 / GUESSES_PER_SECOND
    assert limited.get("www-authenticate") is None
    assert hands.s.relay.metrics.counts["limited"]["passwords"] == 2


async def test_then_it_may_try_again(hands: Hands):
    await hands.guess(BURST_GUESSES + 3)
    hands.s.monotonic.ahead += 1 / GUESSES_PER_SECOND

    assert (await hands.show(GOOD)).status == 200
    assert await hands.guess(2) == [401, 429]


@pytest.mark.parametrize("guesser", ["203.0.113.9", "2001:db8::1"])
async def test_nobody_at_another_address_is_kept_out(hands: Hands, guesser: str):
    await hands.guess(BURST_GUESSES + 1, of=guesser)

    assert (await hands.show(GOOD, of="203.0.113.10")).status == 200
    assert (await hands.show(GOOD, of="2001:db8:0:1::1")).status == 200
    assert (await hands.show(GOOD, of=guesser)).status == 429


async def test_addresses_of_one_network_of_64_bits_are_one(hands: Hands):
    for number in range(BURST_GUESSES):
        await hands.guess(1, of=f"2001:db8::{number + 1:x}")

    assert (await hands.show(GOOD, of="2001:db8::ffff")).status == 429


async def test_another_endpoint_is_not_concerned(hands: Hands):
    await hands.s.agent.bind("other", policy=PolicySpec(basic_auth=(GOOD,)))
    await hands.guess(BURST_GUESSES + 1)

    assert (await hands.show(GOOD, host="other.localhost")).status == 200


async def test_who_is_only_asked_for_a_password_has_not_guessed(hands: Hands):
    answers = [(await hands.show(None)).status for _ in range(BURST_GUESSES + 2)]
    await hands.guess(BURST_GUESSES + 1)

    assert answers == [401] * len(answers)
    assert (await hands.show(None)).status == 401  # a browser's first request, before it shows what it knows
    assert (await hands.show(None, of="203.0.113.77")).status == 401


async def test_the_right_password_costs_nothing(hands: Hands):
    for _ in range(BURST_GUESSES + 5):
        assert (await hands.show(GOOD)).status == 200


@pytest.mark.parametrize("method", ["HEAD", "POST", "OPTIONS", "PROPFIND"])
async def test_every_method_is_a_guess(hands: Hands, method: str):
    for _ in range(BURST_GUESSES):
        await hands.show("ann:wrong-one", method=method)

    assert (await hands.show(GOOD)).status == 429


async def test_networks_come_before_passwords(hands: Hands):
    closed = PolicySpec(basic_auth=(GOOD,), cidr_allow=("203.0.113.9/32",))
    await hands.guess(BURST_GUESSES + 1)
    await hands.guess(BURST_GUESSES + 1, of="198.51.100.1")
    await hands.s.agent.bind("demo", policy=closed)

    assert (await hands.show(GOOD)).status == 429
    assert (await hands.show(GOOD, of="198.51.100.1")).status == 403


async def test_the_audit_log_tells_of_guesses_and_is_not_filled_by_them(hands: Hands):
    await hands.s.agent.bind("other", policy=PolicySpec(basic_auth=(GOOD,)))
    await hands.guess(BURST_GUESSES + 20, host="other.localhost")
    await hands.s.relay.parts.audit_keeper.flush()
    events = await hands.s.relay.store.audit(host="other.localhost")

    refused = [event for event in events if event.kind == "password.refused"]
    assert refused
    assert len(refused) <= 10
    assert {event.peer for event in refused} == {"203.0.113.9"}
    assert not any("guess-" in str(event) for event in events)


async def test_of_very_many_addresses_the_oldest_are_forgotten():
    guesses = Guesses(lambda: 1.0)
    for number in range(MAX_KEYS + 50):
        guesses.wrong(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", HOST)

    assert len(table(guesses, bound_of("wrong passwords at one endpoint"))) == MAX_KEYS
    assert not guesses.must_wait("127.0.0.1", HOST)


@pytest.mark.parametrize("password", ["1234567", "x", "ab:cdef"])
async def test_a_short_password_is_refused_with_what_is_wrong(s: Scene, password: str):
    answer = await s.agent.bind("other", policy=PolicySpec(basic_auth=("bob:long-enough", f"ann:{password}")))

    assert re.search(f"the password of ann has {len(password)} characters?, it takes at least 8", str(answer))
    assert password not in str(answer).replace("pair 2", "") or len(password) == 1
