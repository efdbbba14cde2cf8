"""Polls the store for authtokens that commands or other relays revoked or changed, and for expired ones, and ends their
links."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from tunnelctl.eventlog import EventLog
from tunnelrelay.store.base import RevisionStore, StoreError, TokenStore

log = EventLog("tunnelrelay.agents")

LOOK_EVERY = 2.0
"""Seconds between two looks: links of a revoked token end within 5 s, whether or not the relay is told."""
OVERLAP_SECONDS = 60.0
"""Each look reaches this far back: what was written late, or by a clock that is behind ours, must not slip through."""


class AgentLinks(Protocol):
    """The agents' links of this relay."""

    async def revoke(self, token_id: str) -> int:
        """Ends every link that came with a token."""

    async def reread(self) -> None:
        """Reads the tokens of open links again and applies what changed. Raises StoreError."""

    def expire(self) -> None:
        """End every link whose token has expired."""


class TokenFeed(TokenStore, RevisionStore, Protocol):
    """The part of the store that holds tokens and counts their changes."""


class TokenRevocation:
    """Polls the store for changed tokens. The owner runs `run` as a task.

    Args:
        clock: Unix time.
    """

    def __init__(self, store: TokenFeed, links: AgentLinks, clock: Callable[[], float]) -> None:
        self._store = store
        self._links = links
        self._clock = clock
        self._revision: int | None = None
        self._rereads = 0
        self._looked_at = clock()
        self._known: frozenset[str] = frozenset()
        self._is_failing = False

    async def run(self) -> None:
        """Poll every other second until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            await self.look()

    async def look(self) -> None:
        """End the links of tokens that expired, or were revoked since the last call."""
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
        """Read changed tokens on two rounds, as a handshake under way in the first may have read the old token."""
        revision = (await self._store.revisions())["tokens"]
        if revision != self._revision:
            self._revision, self._rereads = revision, 2
        if self._rereads:
            await self._links.reread()
            self._rereads -= 1
