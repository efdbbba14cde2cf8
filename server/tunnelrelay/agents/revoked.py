"""Hears of authtokens that a command, or another relay, has revoked in the store, and ends what they had opened."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from tunnelrelay.store.base import Store, StoreError

log = logging.getLogger("tunnelrelay.agents")

LOOK_EVERY = 2.0
"""Seconds between two looks: links of a revoked token end within 5 s, whether or not the relay is told."""
OVERLAP_SECONDS = 60.0
"""Each look reaches this far back: what was written late, or by a clock that is behind ours, must not slip through."""


class RevokedTokens:
    """See the module. The owner runs `run` as a task.

    Args:
        revoke: Ends every link that came with a token.
        clock: Unix time.
    """

    def __init__(self, store: Store, revoke: Callable[[str], Awaitable[int]], clock: Callable[[], float]) -> None:
        self._store = store
        self._revoke = revoke
        self._clock = clock
        self._looked_at = clock()
        self._known: frozenset[str] = frozenset()
        self._is_deaf = False

    async def run(self) -> None:
        """Looks every other second, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            await self.look()

    async def look(self) -> None:
        """Ends the links of tokens that were revoked since the last look."""
        now = self._clock()
        try:
            found = frozenset(await self._store.revoked_tokens(self._looked_at - OVERLAP_SECONDS))
        except StoreError as error:
            if not self._is_deaf:
                log.warning("it is not known which tokens were revoked, will ask again: %s", error)
            self._is_deaf = True
            return
        self._is_deaf = False
        for token_id in found - self._known:
            await self._revoke(token_id)
        self._known = found
        self._looked_at = now
