"""Names of one owner's providers that resolve slowly, or never, hold up no others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from threading import Event

import pytest

from tests.oidc.world import Clock
from tunnelrelay.oidc.providers.dns import (
    KEPT_SECONDS,
    MAX_KEPT,
    MAX_LOOKUPS,
    MAX_OWNERS_LOOKUPS,
    Resolver,
    system_addresses,
)

PUBLIC = "93.184.216.34"


class Names:
    """A resolver's far end: names with `slow` in them are answered when the test says so, and then not."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.clock = Clock()
        self.resolver = Resolver(self._look_up, monotonic=self.clock)
        self._slow_end = Event()
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()

    def answer(self) -> None:
        self._slow_end.set()

    async def until_asked(self, count: int) -> None:
        while len(self.asked) < count:
            self._changed.clear()
            await self._changed.wait()

    def start(self, host: str, owner: str) -> "asyncio.Task[list[str]]":
        return asyncio.create_task(self.resolver.resolve(host, owner))

    def _look_up(self, host: str) -> list[str]:
        self._loop.call_soon_threadsafe(self._note, host)
        if "slow" in host:
            self._slow_end.wait()
            return []
        return [PUBLIC]

    def _note(self, host: str) -> None:
        self.asked.append(host)
        self._changed.set()


@asynccontextmanager
async def names() -> AsyncIterator[Names]:
    far_end = Names()
    try:
        yield far_end
    finally:
        far_end.answer()


async def test_an_owners_slow_names_hold_up_only_his_own() -> None:
    async with names() as far_end:
        calls = [far_end.start(f"slow-{number}.example", "eve") for number in range(100)]
        await far_end.until_asked(MAX_OWNERS_LOOKUPS)
        assert await far_end.resolver.resolve("op.example", "ann") == [PUBLIC]
        assert len(far_end.asked) == MAX_OWNERS_LOOKUPS + 1
        far_end.answer()
        assert await asyncio.gather(*calls) == [[]] * 100


async def test_a_caller_who_gives_up_makes_no_room_for_the_next_slow_name() -> None:
    async with names() as far_end:
        calls = [far_end.start(f"slow-{number}.example", "eve") for number in range(MAX_OWNERS_LOOKUPS)]
        await far_end.until_asked(MAX_OWNERS_LOOKUPS)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        given_up = far_end.start("slow.example", "eve")
        following = far_end.start("op.example", "eve")
        assert await far_end.resolver.resolve("op2.example", "ann") == [PUBLIC]
        assert far_end.asked[-1] == "op2.example"
        assert not following.done()
        given_up.cancel()
        far_end.answer()
        assert await following == [PUBLIC]
        assert "slow.example" not in far_end.asked


async def test_all_owners_together_have_so_many_threads_and_no_more() -> None:
    async with names() as far_end:
        calls = [far_end.start(f"slow-{number}.example", f"owner-{number}") for number in range(2 * MAX_LOOKUPS)]
        await far_end.until_asked(MAX_LOOKUPS)
        assert not any(call.done() for call in calls)
        assert len(far_end.asked) == MAX_LOOKUPS
        far_end.answer()
        await asyncio.gather(*calls)
        assert len(far_end.asked) == 2 * MAX_LOOKUPS


async def test_addresses_are_kept_for_half_a_minute_and_failures_are_not() -> None:
    async with names() as far_end:
        far_end.answer()
        for _ in range(2):
            await far_end.resolver.resolve("op.example", "ann")
            await far_end.resolver.resolve("slow.example", "ann")
        assert far_end.asked == ["op.example", "slow.example", "slow.example"]
        far_end.clock.now += KEPT_SECONDS
        await far_end.resolver.resolve("op.example", "ann")
        assert far_end.asked[-1] == "op.example"


async def test_calls_that_waited_for_the_same_name_take_the_answer_of_the_first() -> None:
    async with names() as far_end:
        calls = [far_end.start("op.example", "ann") for _ in range(20)]
        assert await asyncio.gather(*calls) == [[PUBLIC]] * 20
        assert len(far_end.asked) <= MAX_OWNERS_LOOKUPS


async def test_so_many_names_are_kept_and_no_more() -> None:
    async with names() as far_end:
        for number in range(MAX_KEPT + 1):
            await far_end.resolver.resolve(f"op{number}.example", "eve")
        for number in (MAX_KEPT, 1, 0):
            await far_end.resolver.resolve(f"op{number}.example", "eve")
        assert far_end.asked[MAX_KEPT + 1 :] == ["op0.example"]


async def test_a_look_up_that_breaks_or_gets_no_thread_gives_its_turn_back(monkeypatch: pytest.MonkeyPatch) -> None:
    class NoThread:
        def __init__(self, **_: object) -> None: ...

        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    async with names() as far_end:
        with monkeypatch.context() as patch:
            patch.setattr("tunnelrelay.oidc.providers.dns.Thread", NoThread)
            for _ in range(2 * MAX_LOOKUPS):
                assert await far_end.resolver.resolve("op.example", "ann") == []
        assert await far_end.resolver.resolve("op.example", "ann") == [PUBLIC]


@pytest.mark.parametrize("host", ["localhost", "op.localhost"])
async def test_names_under_localhost_are_asked_of_nobody(host: str) -> None:
    async with names() as far_end:
        assert await far_end.resolver.resolve(host, "ann") == ["127.0.0.1", "::1"]
        assert far_end.asked == []


def test_the_systems_resolver_gives_addresses_each_once_and_nothing_for_no_name() -> None:
    assert system_addresses("127.0.0.1") == ["127.0.0.1"]
    assert system_addresses("a" * 64 + ".invalid") == []
