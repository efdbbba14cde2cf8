"""Fetches providers' documents when a tunnel is bound, so that no visitor waits for discovery and bad settings show
early.

Limited by owner: an owner who binds many tunnels whose providers never answer has two checks running and a short queue.
What is dropped here is fetched by the first login.
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
"""Checks of one owner at once: a quarter of the calls that owner may have under way, the rest is for visitors."""
MAX_WAITING = 64
"""Of one owner. Eight providers for each of eight tunnels of an agent that has just connected."""


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
    """Checks the providers of connections that were bound, a few of an owner at a time.

    Args:
        is_bound: Whether a tunnel still has the connection when its turn comes.
        spawn: Runs a check, until the relay stops.
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
        """Queue a check of a connection's provider; drop it when too many of the owner's are waiting."""
        owner = connection.owner
        waiting = self._waiting.setdefault(owner, {})
        if len(waiting) >= MAX_WAITING:
            return
        waiting[connection.id] = connection
        if self._running[owner] < MAX_RUNNING:
            self._running[owner] += 1
            self._spawn(self._run(owner))

    async def _run(self, owner: str) -> None:
        """Checks an owner's connections, the one that waits longest first, until none is left."""
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
