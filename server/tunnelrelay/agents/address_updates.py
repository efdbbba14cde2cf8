"""Tells an agent which edges its tunnels serve. Changes within half a second go out in one message.

Batching bounds the memory: a user may change edges without end while an agent does not read its link.
"""

import asyncio
from collections.abc import Callable

from tunnelrelay.registry.tunnel import Tunnel

GATHER_SECONDS = 0.5
"""How long changes of a tunnel's addresses are collected before the agent gets them in one message. Visitors do not
wait for this message."""


class AddressUpdates:
    """Delays the messages that tell one agent a tunnel's addresses, so that many changes make one message.

    Args:
        send: Sends the agent the addresses that a tunnel serves now.
    """

    def __init__(self, send: Callable[[Tunnel], None]) -> None:
        self._send = send
        self._timers: dict[Tunnel, asyncio.TimerHandle] = {}

    def schedule(self, tunnel: Tunnel) -> None:
        """Send the agent this tunnel's addresses after `GATHER_SECONDS`, unless a message is scheduled already."""
        if tunnel not in self._timers:
            loop = asyncio.get_running_loop()
            self._timers[tunnel] = loop.call_later(GATHER_SECONDS, self._send_now, tunnel)

    def forget(self, tunnel: Tunnel) -> None:
        """Cancel the scheduled message of a tunnel that has ended."""
        timer = self._timers.pop(tunnel, None)
        if timer is not None:
            timer.cancel()

    def _send_now(self, tunnel: Tunnel) -> None:
        del self._timers[tunnel]
        self._send(tunnel)
