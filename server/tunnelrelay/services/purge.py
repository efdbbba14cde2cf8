"""Deletes rows that are no longer used: revoked and expired tokens, expired keys and sign-ins. Their audit events stay.

`store/growth.py` lists what limits each table of the store.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from tunnelctl.eventlog import EventLog
from tunnelrelay.store.base import PURGED_AT_ONCE, ResourceStore, StoreError

log = EventLog("tunnelrelay.services")

PURGE_EVERY = 600.0
"""Seconds between two clean-ups; each deletes all such rows, `PURGED_AT_ONCE` of a kind in one transaction."""


@dataclass(frozen=True, slots=True)
class Purge:
    """Deletes rows that have expired or were revoked. The owner runs `run` as a task.

    Attributes:
        clock: Function that returns Unix time.
    """

    store: ResourceStore
    clock: Callable[[], float]

    async def run(self) -> None:
        """Delete old rows periodically, until cancelled."""
        while True:
            await self.step()
            await asyncio.sleep(PURGE_EVERY)

    async def step(self) -> None:
        """Delete all old rows once."""
        try:
            dropped = PURGED_AT_ONCE
            while dropped >= PURGED_AT_ONCE:
                dropped = await self.store.delete_spent(self.clock())
        except StoreError as error:
            log.warning("expired rows not deleted, retrying", error=error)
