"""Tokens that are revoked in the store are heard of, also without anybody telling the relay."""

from tests.oidc.world import START, Clock
from tests.support.memory_store import MemoryStore
from tunnelrelay.agents import authtokens
from tunnelrelay.agents.token_revocation import TokenRevocation
from tunnelrelay.store.base import StoreError


class Scene:
    """A store, and what the relay was made to revoke."""

    def __init__(self) -> None:
        self.store = AwayStore()
        self.clock = Clock()
        self.revoked: list[str] = []
        self.rereads = self.expiries = 0
        self.watch = TokenRevocation(self.store, self, self.clock)

    async def revoke(self, token_id: str) -> int:
        self.revoked.append(token_id)
        return 1

    async def reread(self) -> None:
        self.rereads += 1

    def expire(self) -> None:
        self.expiries += 1

    async def token(self) -> str:
        return (await authtokens.create(self.store, "ann"))[1].id


class AwayStore(MemoryStore):
    """Can be away."""

    is_away = False

    async def revoked_tokens(self, since: float) -> list[str]:
        if self.is_away:
            raise StoreError("away")
        return await super().revoked_tokens(since)


async def test_a_token_that_was_revoked_is_told_once() -> None:
    scene = Scene()
    token, other = await scene.token(), await scene.token()
    await scene.watch.look()
    await scene.store.revoke_token(token, START + 1)
    for _ in range(40):
        scene.clock.now += 2
        await scene.watch.look()
    assert scene.revoked == [token]
    await scene.store.revoke_token(other, scene.clock.now)
    await scene.watch.look()
    assert scene.revoked == [token, other]


async def test_changed_tokens_are_read_again_twice_and_then_left_alone() -> None:
    scene = Scene()
    await scene.token()
    for _ in range(10):
        await scene.watch.look()
    assert scene.rereads == 2
    await scene.token()
    for _ in range(10):
        await scene.watch.look()
    assert scene.rereads == 4


async def test_a_store_that_is_away_keeps_no_expired_token_alive() -> None:
    scene = Scene()
    scene.store.is_away = True
    await scene.watch.look()
    assert scene.expiries == 1


async def test_a_revocation_by_a_clock_that_is_behind_is_told_all_the_same() -> None:
    scene = Scene()
    token = await scene.token()
    scene.clock.now += 1000
    await scene.watch.look()
    await scene.store.revoke_token(token, scene.clock.now - 50)
    await scene.watch.look()
    assert scene.revoked == [token]


async def test_what_was_revoked_while_the_store_was_away_is_told_when_it_is_back() -> None:
    scene = Scene()
    token = await scene.token()
    await scene.store.revoke_token(token, START + 1)
    scene.store.is_away = True
    scene.clock.now += 5000
    await scene.watch.look()
    assert scene.revoked == []
    scene.store.is_away = False
    await scene.watch.look()
    assert scene.revoked == [token]
