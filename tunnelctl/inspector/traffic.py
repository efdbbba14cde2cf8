"""Counts the requests that the agent's tunnels served, for the charts of the inspector's pages."""

import time
from collections.abc import Callable

from tunnelctl.agent.tcp import TcpExchange
from tunnelctl.agent.watcher import Exchange, Watcher
from tunnelctl.series import FAILED, OTHER, UNTIMED, Series, bucket_of
from tunnelctl.wire.errors import Code

_FAILURES = (Code.UPSTREAM_UNREACHABLE, Code.UPSTREAM_BROKEN, Code.UPSTREAM_TIMEOUT)
"""Error codes of exchanges that the local service failed; the code for a visitor who left is not among them."""


class AgentTraffic(Watcher):
    """Counts every HTTP exchange that has ended, whether its tunnel is inspected or not.

    Attributes:
        series: The counts of the last ten minutes.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self.series = Series()
        self._now = now

    def exchange(self, name: str, exchange: Exchange) -> None:
        """Count an exchange that has ended. Connections of TCP tunnels are not counted."""
        if isinstance(exchange, TcpExchange):
            return
        is_failed = exchange.status >= 500 or exchange.code in _FAILURES
        bucket = UNTIMED if exchange.is_upgrade else bucket_of(exchange.seconds)
        self.series.add(int(self._now()), FAILED if is_failed else OTHER, bucket)
