"""Fetches providers' documents when a tunnel is bound, so that no visitor waits for them and wrong settings are noticed
early.

Limited per owner: an owner who binds many tunnels whose providers never respond has two running checks and a short
queue. Checks that do not fit are dropped; the first login then fetches the documents.
"""

from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from tunnelctl.bounds import DeclaredBound
from tunnelctl.eventlog import EventLog
from tunnelrelay.oidc.providers.provider import ProviderClient
from tunnelrelay.policy.rules import Connection

log = EventLog(__name__)

MAX_RUNNING = 2
"""Maximum concurrent checks of one owner: a quarter of the owner's concurrent calls, so that the rest is left for
visitors."""
MAX_WAITING = 64
"""Maximum queued checks of one owner: eight providers for each of eight tunnels of an agent that has just connected."""


BOUNDS = (
    DeclaredBound(
        name="checks of providers that wait",
        limit=MAX_WAITING,
        unit="checks",
        per="owner",
        when_full="dropped: the first login asks",
        worst_bytes=MAX_WAITING * 300,
        holds=(
            "Prefetch._waiting",
            "Prefetch._running",
        ),
    ),
)


class Prefetch:
    """Checks the providers of new connections, a few of each owner at a time.

    Args:
        is_bound: Function that returns whether a tunnel still has the connection when its check begins.
        spawn: Function that runs a check as a task, until the relay stops.
    """

    def __init__(
        self,
        providers: ProviderClient,
        *,
        is_bound: Callable[[Connection], bool],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._providers = providers
        self._is_bound = is_bound
        self._spawn = spawn
        self._running: Counter[str] = Counter()
        self._waiting: dict[str, dict[str, Connection]] = {}

    def add(self, connection: Connection) -> None:
        """Queue a check of a connection's provider; drop it when too many checks of the owner are waiting."""
        owner = connection.owner
        waiting = self._waiting.setdefault(owner, {})
        if len(waiting) >= MAX_WAITING:
            return
        waiting[connection.id] = connection
        if self._running[owner] < MAX_RUNNING:
            self._running[owner] += 1
            self._spawn(self._run(owner))

    async def _run(self, owner: str) -> None:
        """Check an owner's queued connections, the oldest first, until none is left."""
        waiting = self._waiting[owner]
        try:
            while waiting:
                connection = waiting.pop(next(iter(waiting)))
                if self._is_bound(connection):
                    await self._check(connection)
        finally:
            self._running[owner] -= 1
            if not self._running[owner]:
                del self._running[owner], self._waiting[owner]

    async def _check(self, connection: Connection) -> None:
        for problem in await self._providers.check(connection):
            log.warning("provider check", issuer=connection.issuer, problem=problem)
