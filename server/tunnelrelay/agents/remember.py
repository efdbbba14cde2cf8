"""Keeps the names that are served in the store, behind the relay's back: binding never waits for the database."""

import asyncio
import logging
from collections.abc import Callable

from tunnelrelay.store.base import Store, StoreError

log = logging.getLogger("tunnelrelay.agents")

RETRY_SECONDS = 5.0


class NameKeeper:
    """Writes what changed, the latest word on each name only. The owner runs `run` as a task."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._changes: dict[str, tuple[str, bool]] = {}
        self._changed = asyncio.Event()

    def remember(self, host: str, owner: str) -> None:
        """A name was taken."""
        self._change(host, owner, is_held=True)

    def forget(self, host: str, owner: str) -> None:
        """A name was given up."""
        self._change(host, owner, is_held=False)

    async def run(self) -> None:
        """Write changes as they come, until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            if not await self.flush():
                await asyncio.sleep(RETRY_SECONDS)
                self._changed.set()

    async def flush(self) -> bool:
        """Write what is due. False when the store did not take it; then it stays due."""
        while self._changes:
            host, change = next(iter(self._changes.items()))
            owner, is_held = change
            now = self._clock()
            try:
                if is_held:
                    await self._store.claim_name(host, owner, now, lost_seconds=0, cool_seconds=0)
                else:
                    await self._store.release_name(host, owner, now)
            except StoreError as error:
                log.warning("name not written, will try again: %s", error)
                return False
            if self._changes.get(host) == change:
                self._changes.pop(host, None)
        return True

    def _change(self, host: str, owner: str, *, is_held: bool) -> None:
        self._changes.pop(host, None)
        self._changes[host] = owner, is_held
        self._changed.set()
