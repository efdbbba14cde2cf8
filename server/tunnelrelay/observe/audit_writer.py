"""Writes audit events to the store in the background, and notices when the store fails and recovers.

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
"""Maximum seconds that an event waits for the store; a relay that is killed loses the events of this time."""
PING_EVERY = 5.0
"""Seconds between two checks whether the store responds."""
PURGE_EVERY = 3600.0
"""Seconds between two deletions of old events."""
MAX_BATCH = 500
"""Maximum events in one transaction: about 100 kB, which blocks the database's single writer for a few milliseconds."""
DAY = 86_400.0
MAX_DIGITS = 64
"""Maximum characters of a peer, request id or node in the table of audit events."""
MAX_ID = 40
"""Maximum characters of an actor's id in the table of audit events."""


class PingedAuditStore(AuditStore, HealthStore, Protocol):
    """Interface of a store that keeps audit events and can be checked for health."""


class AuditWriter:
    """Moves audit events from the relay's `Audit` to the store. The owner runs `run` as a task.

    Args:
        keep_days: Days after which events are deleted.
        clock: Function that returns Unix time.
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
        """Write events to the store, until cancelled."""
        while True:
            await self.step()
            await asyncio.sleep(WRITE_EVERY)

    async def step(self) -> None:
        """Do one round: check the store, write waiting events, delete old ones."""
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
        """Write all waiting events. If the store fails, they remain waiting."""
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
    """Return the row of the store's table for an event."""
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
