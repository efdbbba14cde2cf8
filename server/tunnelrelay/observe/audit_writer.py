"""Writes audit events to the store in the background, and notices when the store goes away and comes back.

Events are defined in `observe/audit.py`; `cli/audit.py` reads them.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

import msgspec

from tunnelctl.eventlog import EventLog
from tunnelrelay.observe.audit import Audit, AuditEvent
from tunnelrelay.observe.feed import Publish
from tunnelrelay.store.base import PURGED_AT_ONCE, AuditRow, AuditStore, HealthStore, StoreError

log = EventLog("tunnelrelay.audit")

WRITE_EVERY = 1.0
"""Seconds an event waits here at most: what a relay that is killed loses."""
PING_EVERY = 5.0
"""Seconds between two looks whether the store answers."""
PURGE_EVERY = 3600.0
"""Seconds between two clean-ups."""
MAX_BATCH = 500
"""Events in one transaction: some 100 kB, a few milliseconds of the file's one writer."""
DAY = 86_400.0
MAX_DIGITS = 64
"""Characters of a peer, request id or node as the table has them."""
MAX_ID = 40
"""Of an actor."""


class PingedAuditStore(AuditStore, HealthStore, Protocol):
    """Audit events, and whether the store answers."""


class AuditWriter:
    """Moves events from the relay's `Audit` to the store. The owner runs `run` as a task.

    Args:
        keep_days: Older events are deleted.
        clock: Unix time.
        publish: Called with `audit:<owner>` once an event is in the store; see `observe.feed`.
    """

    def __init__(
        self,
        audit: Audit,
        store: PingedAuditStore,
        *,
        keep_days: float,
        clock: Callable[[], float],
        publish: Publish = lambda topic: None,
    ) -> None:
        self._audit = audit
        self._store = store
        self._keep_seconds = keep_days * DAY
        self._clock = clock
        self._publish = publish
        self._is_away = False
        self._next_ping = self._next_purge = 0.0

    async def run(self) -> None:
        """Write as events come, until cancelled."""
        while True:
            await self.step()
            await asyncio.sleep(WRITE_EVERY)

    async def step(self) -> None:
        """One round: ping the store, write waiting events, delete old ones."""
        now = self._clock()
        if now >= self._next_ping:
            self._next_ping = now + PING_EVERY
            await self._look()
        if self._is_away:
            return
        await self.flush()
        if now >= self._next_purge:
            self._next_purge = now + PURGE_EVERY
            await self._purge(now)

    async def flush(self) -> None:
        """Write all waiting events. Those that the store does not take keep waiting."""
        while events := self._audit.take(MAX_BATCH):
            try:
                await self._store.add_audit([row_of(event) for event in events])
            except StoreError as error:
                self._audit.give_back(events)
                log.warning("audit events not written, retrying", error=error)
                return
            for owner in {event.owner for event in events}:
                self._publish(f"audit:{owner}")

    async def _look(self) -> None:
        try:
            await self._store.ping()
        except StoreError as error:
            if not self._is_away:
                self._is_away = True
                log.warning("store does not answer", error=error)
                self._audit.record("store.away")
            return
        if self._is_away:
            self._is_away = False
            self._audit.record("store.back")

    async def _purge(self, now: float) -> None:
        try:
            gone = PURGED_AT_ONCE
            while gone >= PURGED_AT_ONCE:
                gone = await self._store.delete_audit(now - self._keep_seconds)
        except StoreError as error:
            log.warning("old audit events not deleted, retrying", error=error)


def row_of(event: AuditEvent) -> AuditRow:
    """The store's row of an event."""
    details = event.details | ({"issuer": event.issuer} if event.issuer else {})
    return AuditRow(
        at=event.at,
        kind=event.kind,
        host=event.host,
        owner=event.owner,
        connection=event.connection,
        subject=event.person,
        peer=event.peer[:MAX_DIGITS],
        request_id=event.request_id[:MAX_DIGITS],
        node=event.node[:MAX_DIGITS],
        reason=event.reason,
        details=msgspec.json.encode(details).decode(),
        actor=event.actor[:MAX_ID],
    )
