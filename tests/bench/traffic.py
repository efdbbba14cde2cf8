"""Scenarios that load a running tunnel. Each returns the figures of one measured window."""

import dataclasses
import subprocess
import time
from collections.abc import Callable, Mapping

from tests.bench import loads
from tests.bench.lab import Session, Spent
from tests.bench.loads import LoadFailed, LoadResult, WrkResult
from tests.bench.plan import Door

BULK_LEAD = 0.5
"""Seconds for which downloads run before and after the probe, so that the tunnel is loaded during the whole probe."""
STALL_LEAD = 0.7
"""Seconds before the probe starts, in which the buffers of visitors who read nothing fill up."""


@dataclasses.dataclass(frozen=True, slots=True)
class Window:
    """The figures of one measured window.

    Attributes:
        figures: The figures by name, without the scenario's name.
        errors: Failed requests, as the load tool counts them.
        noise: Cores that other processes or the hypervisor took meanwhile; None when it was not measured.
    """

    figures: Mapping[str, float]
    errors: int = 0
    noise: float | None = None


def small(connections: int, *wrk_words: str) -> Callable[[Session, float], Window]:
    """Return a scenario: requests for 128 bytes, on keep-alive connections unless `wrk_words` say otherwise."""

    def measure(session: Session, seconds: float) -> Window:
        def action() -> WrkResult:
            return loads.run_wrk(session.door, loads.SMALL, connections, seconds, *wrk_words)

        result, spent = session.measure(action)
        return Window(request_figures(result, spent), result.errors, spent.noise)

    return measure


def request_figures(result: WrkResult, spent: Spent) -> dict[str, float]:
    """Return the figures of a run of wrk: rate, latencies, and CPU per ten thousand requests."""
    return {
        "rate": result.requests / result.seconds,
        "p50": result.p50_ms,
        "p99": result.p99_ms,
        "cpu": _per(spent.cpu, result.requests, 1e4),
    }


def downloads(streams: int) -> Callable[[Session, float], Window]:
    """Return a scenario: downloads of files of 100 MiB, on several connections at once."""

    def measure(session: Session, seconds: float) -> Window:
        result, spent = session.measure(lambda: loads.run_wrk(session.door, loads.BULK, streams, seconds))
        rate = result.bytes_read / result.seconds / 1e6
        return Window({"mb": rate, "cpu": _per(spent.cpu, result.bytes_read, 1e9)}, result.errors, spent.noise)

    return measure


def uploads(streams: int) -> Callable[[Session, float], Window]:
    """Return a scenario: uploads of large bodies, on several connections at once.

    Bytes are counted at the upstream, with those of unfinished bodies.
    """

    def measure(session: Session, seconds: float) -> Window:
        script = str(session.lab.folder / "upload.lua")

        def action() -> tuple[WrkResult, int]:
            before = _bytes_at_sink(session)
            result = loads.run_wrk(session.door, loads.SINK, streams, seconds, "-s", script)
            return result, _bytes_at_sink(session) - before

        (result, received), spent = session.measure(action)
        rate = received / result.seconds / 1e6
        return Window({"mb": rate, "cpu": _per(spent.cpu, received, 1e9)}, result.errors, spent.noise)

    return measure


def beside_bulk(session: Session, seconds: float) -> Window:
    """Measure the latency of a small request every 20 ms while four downloads load the tunnel."""
    bulk_seconds = round(seconds + 2 * BULK_LEAD)
    bulk_command = loads.wrk_command(session.door, loads.BULK, 4, bulk_seconds)

    def action() -> tuple[WrkResult, LoadResult]:
        with subprocess.Popen(bulk_command, stdout=subprocess.PIPE, text=True) as bulk:
            try:
                time.sleep(BULK_LEAD)
                probed = _probe(session.door, bulk_seconds - 2 * BULK_LEAD)
                text, _ = bulk.communicate(timeout=bulk_seconds + loads.MAX_OVERRUN)
            finally:
                bulk.kill()
        return loads.parse_wrk(text), probed

    (bulk, probed), spent = session.measure(action)
    figures = {"mb": bulk.bytes_read / bulk.seconds / 1e6, "sent_p99": probed.sent_p99_ms}
    figures |= {"p50": probed.p50_ms, "p99": probed.p99_ms}
    return Window(figures, bulk.errors + probed.errors, spent.noise)


def beside_stalled(session: Session, seconds: float) -> Window:
    """Measure the latency of a small request every 20 ms while eight visitors that requested 100 MiB read nothing."""
    command = loads.load_command("stall", session.door, loads.BULK, 8)

    def action() -> LoadResult:
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as stalled:
            try:
                if stalled.stdout is None or stalled.stdout.readline().strip() != "stalled 8":
                    raise LoadFailed("not all stopped readers could ask")
                time.sleep(STALL_LEAD)
                return _probe(session.door, seconds)
            finally:
                stalled.kill()

    probed, spent = session.measure(action)
    return Window({"p50": probed.p50_ms, "p99": probed.p99_ms}, probed.errors, spent.noise)


def websocket_echo(connections: int) -> Callable[[Session, float], Window]:
    """Return a scenario: websocket messages of 64 bytes that the upstream echoes, one at a time on each connection."""

    def measure(session: Session, seconds: float) -> Window:
        command = loads.load_command("echo", session.door, loads.WEBSOCKET, connections, seconds)
        result, spent = session.measure(lambda: loads.parse_load(loads.run(command, seconds)))
        figures = {"rate": result.rate, "p50": result.p50_ms, "p99": result.p99_ms}
        figures["cpu"] = _per(spent.cpu, result.count, 1e4)
        return Window(figures, result.errors, spent.noise)

    return measure


def _probe(door: Door, seconds: float) -> LoadResult:
    command = loads.load_command("probe", door, loads.SMALL, loads.PROBE_INTERVAL, seconds)
    return loads.parse_load(loads.run(command, seconds))


def _bytes_at_sink(session: Session) -> int:
    """Return how many bytes of bodies have arrived at the sink, which is asked directly, not through the tunnel."""
    direct = Door(session.lab.sink_port, "127.0.0.1")
    return int(loads.http_get(direct, loads.SINK))


def _per(cpu: float, count: float, unit: float) -> float:
    """Return CPU seconds per `unit` of the counted requests or bytes. Raises LoadFailed when none were counted."""
    if not count:
        raise LoadFailed("nothing came through the tunnel in the window")
    return cpu / count * unit
