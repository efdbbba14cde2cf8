"""Tells an agent which edges its tunnels serve, with changes gathered for a moment.

A user who changes edges without end must not fill the memory with what an agent that does not read is to be told.
"""

import asyncio
from collections.abc import Callable

from tunnelrelay.registry.tunnel import Tunnel

NEWS_SECONDS = 0.5
"""How long news are gathered: nobody waits for them, and an agent cannot do much with more."""


class News:
    """The updates of one agent's link that have not been sent yet.

    Args:
        tell: Tells the agent what a tunnel serves now.
    """

    def __init__(self, tell: Callable[[Tunnel], None]) -> None:
        self._tell = tell
        self._timers: dict[Tunnel, asyncio.TimerHandle] = {}

    def soon(self, tunnel: Tunnel) -> None:
        """Send a tunnel's new addresses soon."""
        if tunnel not in self._timers:
            loop = asyncio.get_running_loop()
            self._timers[tunnel] = loop.call_later(NEWS_SECONDS, self._now, tunnel)

    def forget(self, tunnel: Tunnel) -> None:
        """Drop updates of a tunnel that is gone."""
        timer = self._timers.pop(tunnel, None)
        if timer is not None:
            timer.cancel()

    def _now(self, tunnel: Tunnel) -> None:
        del self._timers[tunnel]
        self._tell(tunnel)
