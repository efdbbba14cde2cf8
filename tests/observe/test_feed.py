"""Whoever follows hears of a change, soon, and never of more than a few a second."""

import asyncio

import pytest

from tests.support.waiting import PATIENCE
from tunnelrelay.observe.feed import GAP_SECONDS, MAX_FOLLOWERS, MAX_OF_ONE, Feed, Following, TooManyFollowers


class Gaps:
    """The pauses a follower makes, each until the test ends it."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.are_open = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.asked.append(seconds)
        await self.are_open.wait()


async def no_gap(seconds: float) -> None:
    """Time passes at once."""


async def started(following: Following) -> Following:
    """Past its first set."""
    assert await anext(following) == following.topics
    return following


async def next_of(following: Following) -> frozenset[str]:
    async with asyncio.timeout(PATIENCE):
        return await anext(following)


async def test_the_first_set_comes_at_once_and_has_every_topic() -> None:
    assert await next_of(Feed(no_gap).follow(["tunnels", "edge:e1"])) == {"tunnels", "edge:e1"}


async def test_whoever_waits_is_woken_by_his_topic_and_by_no_other() -> None:
    feed = Feed(no_gap)
    following = await started(feed.follow(["edge:e1"]))
    waiting = asyncio.create_task(next_of(following))
    await asyncio.sleep(0)
    feed.publish("edge:e2")
    feed.publish("edges:ann")
    await asyncio.sleep(0)
    assert not waiting.done()
    feed.publish("edge:e1")
    assert await waiting == {"edge:e1"}


async def test_a_family_hears_of_all_its_members_and_a_member_of_his_own_and_of_the_family() -> None:
    feed = Feed(no_gap)
    everybody, ann = await started(feed.follow(["tunnels"])), await started(feed.follow(["tunnels:ann"]))
    feed.publish("tunnels:bob")
    assert await next_of(everybody) == {"tunnels"}
    waiting = asyncio.create_task(next_of(ann))
    await asyncio.sleep(0)
    assert not waiting.done()
    feed.publish("tunnels")
    assert await waiting == {"tunnels:ann"}


async def test_a_storm_of_changes_is_one_wake_up_for_each_gap() -> None:
    gaps = Gaps()
    feed = Feed(gaps.sleep)
    following = await started(feed.follow(["traffic", "tunnels"]))
    waiting = asyncio.create_task(next_of(following))
    for number in range(1000):
        feed.publish(f"traffic:owner{number}")
        feed.publish("tunnels:ann")
        await asyncio.sleep(0)
    assert not waiting.done()
    gaps.are_open.set()
    assert await waiting == {"traffic", "tunnels"}
    assert gaps.asked == [GAP_SECONDS]


async def test_closing_ends_it_also_while_it_waits() -> None:
    following = await started(Feed(no_gap).follow(["traffic"]))
    waiting = asyncio.create_task(next_of(following))
    await asyncio.sleep(0)
    following.close()
    with pytest.raises(StopAsyncIteration):
        await waiting


async def test_a_wait_that_is_cancelled_loses_nothing() -> None:
    feed = Feed(no_gap)
    following = await started(feed.follow(["traffic"]))
    waiting = asyncio.create_task(next_of(following))
    await asyncio.sleep(0)
    feed.publish("traffic:ann")
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert await next_of(following) == {"traffic"}


async def test_whoever_has_closed_and_whoever_is_held_by_nobody_makes_room() -> None:
    feed = Feed(no_gap)
    closed, held = feed.follow(["traffic"]), feed.follow(["traffic"])
    assert feed.follower_count == 2
    closed.close()
    assert feed.follower_count == 1
    del held
    assert feed.follower_count == 0


def test_one_user_follows_so_much_and_leaves_room_for_others() -> None:
    feed = Feed()
    held = [feed.follow(["traffic"], of="ann") for _ in range(MAX_OF_ONE)]
    with pytest.raises(TooManyFollowers):
        feed.follow(["traffic"], of="ann")
    held.append(feed.follow(["traffic"], of="bob"))
    del held[0]
    assert feed.follow(["traffic"], of="ann")


def test_all_together_follow_so_much() -> None:
    feed = Feed()
    held = [feed.follow(["traffic"], of=str(number)) for number in range(MAX_FOLLOWERS)]
    with pytest.raises(TooManyFollowers):
        feed.follow(["traffic"], of="one more")
    assert len(held) == feed.follower_count
