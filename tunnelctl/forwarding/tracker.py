"""Follows one tunnel of an agent: counts the requests that reach the app, and notes when the link is away."""

import asyncio
import time
from collections.abc import Callable

from tunnelctl.agent.exchange import UpstreamExchange
from tunnelctl.agent.outcome import Outcome
from tunnelctl.agent.watcher import Exchange, Started, Watcher
from tunnelctl.forwarding.errors import TunnelError, error_of


class Tracker(Watcher):
    """Watches an agent with one tunnel.

    Args:
        relay: URL of the relay, for messages.
        probe: Text in the head of the run's own probes, which are not hits.
        clock: Returns monotonic seconds.

    Attributes:
        hits: Requests that the app has answered; probes are not counted.
        probes: Probes that the app has answered.
        closed: Done when the agent has ended, with the error that ended it; None when it was asked to stop.
        was_online: The relay has accepted the agent at least once.
        reason: Why the tunnel does not serve visitors now; "" when it does.
    """

    def __init__(self, relay: str, probe: bytes, clock: Callable[[], float] = time.monotonic) -> None:
        self.hits = 0
        self.probes = 0
        self.closed: asyncio.Future[TunnelError | None] = asyncio.get_running_loop().create_future()
        self.was_online = False
        self.reason = ""
        self._relay = relay
        self._probe = probe
        self._clock = clock
        self._away_since: float | None = None
        self._longest_away = 0.0
        self._changed = asyncio.Event()

    @property
    def longest_away(self) -> float:
        """The longest time, in seconds, for which the link was lost and visitors could not reach the tunnel."""
        now = 0.0 if self._away_since is None else self._clock() - self._away_since
        return max(self._longest_away, now)

    @property
    def is_away(self) -> bool:
        """Whether the link is lost, and not back yet."""
        return self._away_since is not None

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until `holds()` is true, which is checked after every event."""
        while not holds():
            self._changed.clear()
            await self._changed.wait()

    # Events of the agent

    def connected(self, relay: str, owner: str) -> None:
        """Note that the relay accepted the agent."""
        self.was_online = True
        self.reason = ""
        self._changed.set()

    def started(self, tunnel: Started) -> None:
        """Note that visitors reach the tunnel, for the first time or again."""
        self._longest_away = self.longest_away
        self._away_since = None
        self.reason = ""
        self._changed.set()

    def unready(self, url: str, reason: str) -> None:
        """Note why the public address does not answer."""
        self.reason = f"{url} does not answer: {reason}"
        self._changed.set()

    def lost(self, reason: str, retry_in: float, error: str) -> None:
        """Note that the link was lost."""
        self.reason = reason
        if self._away_since is None and self.was_online:
            self._away_since = self._clock()
        self._changed.set()

    def exchange(self, name: str, exchange: Exchange) -> None:
        """Count a request that the app has answered. One that the app did not answer has no status."""
        if not isinstance(exchange, UpstreamExchange) or not exchange.status:
            return
        if self._probe in exchange.head:
            self.probes += 1
        else:
            self.hits += 1
        self._changed.set()

    def agent_ended(self, outcome: Outcome) -> None:
        """Complete `closed`."""
        if not self.closed.done():
            self.closed.set_result(error_of(outcome, self._relay))
        self._changed.set()
