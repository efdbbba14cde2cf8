"""Providers are asked before visitors come, and an owner who binds without end makes no crowd of it."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from tests.oidc.world import ISSUER, Gate, World, connection
from tunnelrelay.oidc.providers.prefetch import MAX_RUNNING, MAX_WAITING, Prefetch
from tunnelrelay.policy.rules import Connection

HUNG = "/hung/.well-known/openid-configuration"


class Warmed:
    """Warm-ups at a provider that answers nothing at `HUNG` until it is told to."""

    def __init__(self, is_bound: Callable[[Connection], bool] = lambda each: True) -> None:
        self.world = World()
        self.hung = self.world.provider.gates[HUNG] = Gate()
        self.tasks: list[asyncio.Task[None]] = []
        self.warm_ups = Prefetch(self.world.providers, is_bound=is_bound, spawn=self._spawn)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.ensure_future(work))

    def bind(self, count: int, *, owner: str = "eve") -> None:
        for number in range(count):
            self.warm_ups.add(connection(id=f"conn-{number}", owner=owner, issuer=ISSUER + "/hung"))

    async def answer(self) -> int:
        """Lets the provider answer. Returns how often it was asked when all is done."""
        self.hung.open()
        await asyncio.gather(*self.tasks)
        return len(self.world.provider.calls_to(HUNG))


async def test_the_first_login_finds_the_provider_known() -> None:
    warmed = Warmed()
    warmed.warm_ups.add(connection())
    await warmed.answer()
    calls = len(warmed.world.provider.calls)
    assert await warmed.world.providers.metadata(connection())
    assert len(warmed.world.provider.calls) == calls == 2  # metadata and keys


async def test_an_owner_has_a_few_checks_running_whatever_he_binds_and_others_theirs() -> None:
    warmed = Warmed()
    warmed.bind(1_000)
    await warmed.hung.reached.wait()
    assert len(warmed.tasks) == len(warmed.world.provider.calls_to(HUNG)) == MAX_RUNNING
    warmed.warm_ups.add(connection(owner="ann"))
    await warmed.tasks[-1]
    assert await warmed.answer() <= MAX_RUNNING + MAX_WAITING


async def test_what_is_bound_no_more_when_its_turn_comes_is_not_checked() -> None:
    bound: set[str] = {f"conn-{number}" for number in range(50)}
    warmed = Warmed(is_bound=lambda each: each.id in bound)
    warmed.bind(50)
    await warmed.hung.reached.wait()
    bound.clear()
    assert await warmed.answer() == MAX_RUNNING


async def test_a_connection_that_is_bound_again_and_again_waits_once() -> None:
    warmed = Warmed()
    warmed.bind(MAX_RUNNING)
    await warmed.hung.reached.wait()
    for _ in range(2 * MAX_WAITING):
        warmed.warm_ups.add(connection(id="once", owner="eve", issuer=ISSUER + "/hung"))
    warmed.warm_ups.add(connection(id="another", owner="eve", issuer=ISSUER + "/hung"))
    assert await warmed.answer() == MAX_RUNNING + 2


async def test_an_owner_whose_checks_are_done_begins_anew() -> None:
    warmed = Warmed()
    warmed.bind(3)
    await warmed.answer()
    warmed.bind(4)
    assert await warmed.answer() == 4
