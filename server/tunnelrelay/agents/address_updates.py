"""Tells an agent which edges its tunnels serve, with changes gathered for a moment.

Gathering bounds the memory: a user may change edges without end while an agent does not read its link.
"""

import asyncio
from collections.abc import Callable

from tunnelrelay.registry.tunnel import Tunnel

GATHER_SECONDS = 0.5
"""How long changes are gathered before the agent gets them in one message. No visitor waits for it."""


class AddressUpdates:
    """The updates of one agent's link that have not been sent yet.

    Args:
        send: Sends the agent what a tunnel serves now.
    """

    def __init__(self, send: Callable[[Tunnel], None]) -> None:
        self._send = send
        self._timers: dict[Tunnel, asyncio.TimerHandle] = {}

    def schedule(self, tunnel: Tunnel) -> None:
        """Send a tunnel's new addresses soon."""
        if tunnel not in self._timers:
            loop = asyncio.get_running_loop()
            self._timers[tunnel] = loop.call_later(GATHER_SECONDS, self._send_now, tunnel)

    def forget(self, tunnel: Tunnel) -> None:
        """Drop updates of a tunnel that is gone."""
        timer = self._timers.pop(tunnel, None)
        if timer is not None:
            timer.cancel()

    def _send_now(self, tunnel: Tunnel) -> None:
        del self._timers[tunnel]
        self._send(tunnel)
