"""Polls the store for authtokens and trust rules that were revoked or changed by a command or another relay, and ends
their links; ends the links of expired tokens too."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from tunnelctl.eventlog import EventLog
from tunnelrelay.store.base import RevisionStore, StoreError, TokenStore

log = EventLog("tunnelrelay.agents")

LOOK_EVERY = 2.0
"""Seconds between two polls of the store: links of a revoked token end within 5 s even when the command that revoked it
could not reach this relay."""
OVERLAP_SECONDS = 60.0
"""Seconds before the last poll from which a poll reads revocations again, so that none is missed that was written late
or by a machine whose clock is behind."""


class AgentLinks(Protocol):
    """The operations on all open links of this relay's agents that `TokenRevocation` needs."""

    async def revoke(self, token_id: str) -> int:
        """End every link that was opened with a token. Returns how many there were."""

    async def reread(self) -> None:
        """Read the tokens and trust rules of open links again, and end links whose token or rule is gone or changed.

        Raises:
            StoreError: The store cannot be read.
        """

    def expire(self) -> None:
        """End every link whose token has expired."""


class TokenFeed(TokenStore, RevisionStore, Protocol):
    """The parts of the store that hold tokens and the revision number of their table."""


class TokenRevocation:
    """Polls the store for revoked and changed tokens and ends their links. The owner runs `run` as a task.

    Args:
        clock: Returns Unix time.
    """

    def __init__(self, store: TokenFeed, links: AgentLinks, clock: Callable[[], float]) -> None:
        self._store = store
        self._links = links
        self._clock = clock
        self._revision: tuple[int, int] | None = None
        self._rereads = 0
        self._looked_at = clock()
        self._known: frozenset[str] = frozenset()
        self._is_failing = False

    async def run(self) -> None:
        """Poll the store every `LOOK_EVERY` seconds until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            await self.look()

    async def look(self) -> None:
        """Poll once: end the links of tokens that expired, or were revoked or changed since the last poll."""
        now = self._clock()
        self._links.expire()
        try:
            found = frozenset(await self._store.revoked_tokens(self._looked_at - OVERLAP_SECONDS))
            await self._note_changes()
        except StoreError as error:
            if not self._is_failing:
                log.warning("polling token revocations failed, retrying", error=error)
            self._is_failing = True
            return
        self._is_failing = False
        for token_id in found - self._known:
            await self._links.revoke(token_id)
        self._known = found
        self._looked_at = now

    async def _note_changes(self) -> None:
        """When tokens or trust rules have changed, apply the changes to open links at this poll and at the next.

        The second time covers a handshake that had read the old token while the first one ran.
        """
        found = await self._store.revisions()
        revision = found["tokens"], found["trust_rules"]
        if revision != self._revision:
            self._revision, self._rereads = revision, 2
        if self._rereads:
            await self._links.reread()
            self._rereads -= 1
