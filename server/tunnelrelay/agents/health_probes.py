"""Probes tunnels over the data path: does the local service behind a tunnel accept connections?

A probe is a stream like a visitor's request, with a header field that visitors cannot send (the relay strips
`x-tunnel-*`): the agent tries to connect to its service and answers 200 or 503. A healthy tunnel that serves its
endpoint alone is not probed, as no other tunnel could take its requests. A visitor's request that fails marks its
tunnel unhealthy at once, without a probe (`Forward.on_reset`).
"""

import asyncio
import random
from collections.abc import Callable, Iterator

from tunnelctl.bounds import DeclaredBound
from tunnelctl.wire.errors import Code
from tunnelctl.wire.frames import BODY_NONE, TYPE_EXCHANGE, pack_open
from tunnelctl.wire.stream import Stream
from tunnelrelay.registry.registry import Registry
from tunnelrelay.registry.tunnel import Tunnel

PROBE_EVERY = 3.0
"""Seconds between two rounds of probes, with a quarter of jitter: much longer than a probe takes, and short enough that
visitors are soon sent to a tunnel that works."""
ANSWER_SECONDS = 6.0
"""Seconds an agent may take to answer a probe: its link may be full of downloads, and its service slow to accept."""
MAX_A_ROUND = 512
"""Probes started in one round. When more tunnels are to be probed, the next rounds probe the rest."""
MAX_ANSWER = 1024
"""Bytes of a response to a probe that the relay reads before it resets the stream; an agent's has about 64."""
HEAD = b"GET /_tunnel/ready HTTP/1.1\r\nHost: probe.invalid\r\nX-Tunnel-Probe: upstream\r\n"


BOUNDS = (
    DeclaredBound(
        name="health probes under way",
        limit=MAX_A_ROUND,
        unit="probes a round of 3 seconds",
        per="relay",
        when_full="the next round asks the others",
        worst_bytes=3 * MAX_A_ROUND * 2_000,
        holds=("HealthProbes._open",),
    ),
)


class HealthProbes:
    """Probes tunnels in rounds and marks them healthy or unhealthy. The owner runs `run` as a task.

    Args:
        now: Returns monotonic seconds.
        chance: Returns a random number from 0 to 1, for the jitter between rounds.
    """

    def __init__(
        self, registry: Registry, *, now: Callable[[], float], chance: Callable[[], float] = random.random
    ) -> None:
        self._registry = registry
        self._now = now
        self._chance = chance
        self._waiting: list[Tunnel] = []
        self._open: dict[Tunnel, _Probe] = {}

    async def run(self) -> None:
        """Start a round of probes every `PROBE_EVERY` seconds, with jitter, until cancelled."""
        while True:
            await asyncio.sleep(PROBE_EVERY * (0.75 + self._chance() / 2))
            self.look()

    def look(self) -> None:
        """Do one round: mark tunnels whose agents did not answer in time unhealthy, then start the next probes."""
        now = self._now()
        for probe in [probe for probe in self._open.values() if probe.due <= now]:
            probe.give_up()
        if not self._waiting:
            self._waiting = list(dict.fromkeys(self._wanted()))
        round_, self._waiting = self._waiting[:MAX_A_ROUND], self._waiting[MAX_A_ROUND:]
        for tunnel in round_:
            if tunnel not in self._open and tunnel.link.can_open:
                self._open[tunnel] = _Probe(self._registry, tunnel, now + ANSWER_SECONDS, self._open)

    def _wanted(self) -> Iterator[Tunnel]:
        """Yield the tunnels to probe: every tunnel of an endpoint with several, and every unhealthy tunnel."""
        for endpoint in self._registry:
            if len(endpoint.tunnels) > 1:
                yield from endpoint.tunnels
        yield from (tunnel for tunnel in self._registry.tunnels() if not tunnel.health.is_good)


class _Probe:
    """One probe of a tunnel: a stream to its agent, whose answer marks the tunnel healthy or unhealthy."""

    __slots__ = ("_open", "_registry", "_stream", "_taken", "_tunnel", "due")

    def __init__(self, registry: Registry, tunnel: Tunnel, due: float, among: "dict[Tunnel, _Probe]") -> None:
        self._registry = registry
        self._tunnel = tunnel
        self._open = among
        self._taken = 0
        self.due = due
        payload = pack_open(tunnel.number, TYPE_EXCHANGE, BODY_NONE, HEAD)
        self._stream: Stream = tunnel.link.open(payload, owner=self, fin=True)

    def give_up(self) -> None:
        """Mark the tunnel unhealthy and reset the stream, as the agent did not answer in time."""
        self._over()
        self._registry.mark_unhealthy(self._tunnel, "no_answer")
        self._tunnel.link.reset(self._stream, Code.CANCELLED)

    def on_head(self, payload: bytes, fin: bool) -> None:
        """Mark the tunnel by the agent's status: 200 is healthy, 503 unhealthy.

        An agent of an earlier release ignores the field of the probe and answers 200 whatever its service does.
        """
        self._over()
        match payload[0] << 8 | payload[1]:
            case 200:
                self._registry.mark_healthy(self._tunnel)
            case 503:
                self._registry.mark_unhealthy(self._tunnel, "upstream_unreachable")

    def on_data(self, data: bytes | memoryview, fin: bool) -> None:
        """Discard the response's body, and reset the stream when the body is longer than `MAX_ANSWER`."""
        self._tunnel.link.consumed(self._stream, len(data))
        self._taken += len(data)
        if self._taken > MAX_ANSWER and not fin:
            self._tunnel.link.reset(self._stream, Code.LIMIT)

    def on_end(self, trailers: bytes) -> None:
        """End the probe, as the agent has ended its half of the stream."""
        self._over()

    def on_reset(self, code: Code, reason: str) -> None:
        """End the probe, as the agent reset the stream; unhealthy when it could not reach its service."""
        self._over()
        if code is Code.UPSTREAM_UNREACHABLE:
            self._registry.mark_unhealthy(self._tunnel, "upstream_unreachable")

    def on_writable(self) -> None:
        """Do nothing: a probe sends no body, so it never waits for room in the window."""

    def _over(self) -> None:
        if self._open.get(self._tunnel) is self:
            del self._open[self._tunnel]
