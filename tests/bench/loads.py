"""The load tools: wrk for HTTP, our own `load` (load.c) for the rest; how they are run and what they print.

Both aim at a door: they connect to its port on 127.0.0.1 and name the tunnel in the Host field.
"""

import dataclasses
import hashlib
import http.client
import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.bench.plan import Door

HERE = Path(__file__).parent
SMALL, BULK, SINK, WEBSOCKET = "/128", "/100m", "/upload", "/ws"
FILE_SIZES = {"128": 128, "1m": 2**20, "100m": 100 * 2**20}
UPLOAD_BYTES = 16 * 2**20
"""Body of one upload: long enough that windows grow, short enough that several end in a measured window."""
PROBE_INTERVAL = 0.02
"""Seconds between two probes: fifty a second load nothing, and leave p99 some samples."""
MAX_OVERRUN = 30.0
"""How much longer than its window, in seconds, a load tool may take to end: answers in flight, then a hang."""

UPLOAD_SCRIPT = f'wrk.method = "POST"\nwrk.body = string.rep("x", {UPLOAD_BYTES})\n'

_SIZES = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_MILLISECONDS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4, "h": 3.6e6}
_SUMMARY = re.compile(r"(\d+) requests in ([\d.]+)(us|ms|s|m|h), ([\d.]+)([KMGT]?)B read")
_QUANTILE = re.compile(r"^\s+(50|99)%\s+([\d.]+)(us|ms|s|m|h)$", re.MULTILINE)
_BAD_STATUS = re.compile(r"Non-2xx or 3xx responses: (\d+)")
_SOCKET_ERRORS = re.compile(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)")


class LoadFailed(Exception):
    """A load tool ended badly or printed something else than figures."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class WrkResult:
    """What wrk saw: counts, seconds, bytes read (heads included), latencies in milliseconds."""

    requests: int
    seconds: float
    bytes_read: float
    p50_ms: float
    p99_ms: float
    errors: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LoadResult:
    """What `load probe` and `load echo` saw; the `sent_` figures are the probe's only."""

    count: int
    rate: float
    p50_ms: float
    p99_ms: float
    sent_p99_ms: float
    errors: int


def parse_wrk(text: str) -> WrkResult:
    """Reads the report of `wrk --latency`.

    Raises:
        LoadFailed: there is no summary line in it.
    """
    summary = _SUMMARY.search(text)
    if summary is None:
        raise LoadFailed(f"wrk printed no summary: {text.strip()[-200:]!r}")
    quantiles = {found[1]: float(found[2]) * _MILLISECONDS[found[3]] for found in _QUANTILE.finditer(text)}
    bad = _BAD_STATUS.search(text)
    sockets = _SOCKET_ERRORS.search(text)
    return WrkResult(
        requests=int(summary[1]),
        seconds=float(summary[2]) * _MILLISECONDS[summary[3]] / 1e3,
        bytes_read=float(summary[4]) * _SIZES[summary[5]],
        p50_ms=quantiles.get("50", 0.0),
        p99_ms=quantiles.get("99", 0.0),
        errors=(int(bad[1]) if bad else 0) + (sum(map(int, sockets.groups())) if sockets else 0),
    )


def parse_load(text: str) -> LoadResult:
    """Reads the line of JSON that `load probe` and `load echo` end with.

    Raises:
        LoadFailed: it is something else, or nothing was answered at all.
    """
    try:
        figures = json.loads(text)
    except ValueError as error:
        raise LoadFailed(f"load printed no figures: {text.strip()[-200:]!r}") from error
    if not figures["count"]:
        raise LoadFailed(f"nothing was answered, {figures['errors']} errors")
    return LoadResult(
        count=figures["count"],
        rate=figures["rate"],
        p50_ms=figures["p50_ms"],
        p99_ms=figures["p99_ms"],
        sent_p99_ms=figures.get("sent_p99_ms", figures["p99_ms"]),
        errors=figures["errors"],
    )


def wrk_command(door: Door, path: str, connections: int, seconds: float, *more: str) -> list[str]:
    """A wrk run; it knows whole seconds only, so a shorter window becomes one second."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--latency", "--timeout", "20s"]
    return [*command, "-H", f"Host: {door.host}", *more, f"http://127.0.0.1:{door.port}{path}"]


def load_command(verb: str, door: Door, path: str, *words: object) -> list[str]:
    """A run of our own load tool."""
    return [str(load_program()), verb, str(door.port), door.host, path, *map(str, words)]


def run(command: Sequence[str], seconds: float) -> str:
    """Runs a load tool to its end and returns what it printed.

    Raises:
        LoadFailed: it ended with an error or not within `seconds` and MAX_OVERRUN.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + MAX_OVERRUN, check=True)
    except subprocess.TimeoutExpired as error:
        raise LoadFailed(f"{Path(command[0]).name} did not end in time") from error
    except subprocess.CalledProcessError as error:
        raise LoadFailed(f"{Path(command[0]).name} failed: {error.stderr.strip()[-200:]}") from error
    return done.stdout


def run_wrk(door: Door, path: str, connections: int, seconds: float, *more: str) -> WrkResult:
    """Runs wrk against a door."""
    return parse_wrk(run(wrk_command(door, path, connections, seconds, *more), seconds))


def http_get(door: Door, path: str) -> bytes:
    """The body of one GET, for questions that are no part of a measurement."""
    connection = http.client.HTTPConnection("127.0.0.1", door.port, timeout=5)
    try:
        connection.request("GET", path, headers={"Host": door.host})
        return connection.getresponse().read()
    finally:
        connection.close()


def load_program() -> Path:
    """Where this version of load.c is compiled to: an edit makes a new name, so nothing stale is ever run."""
    return HERE / "bin" / f"load-{hashlib.sha256((HERE / 'load.c').read_bytes()).hexdigest()[:12]}"


def build_load() -> bool:
    """Compiles load.c unless that was done before; False where there is no C compiler."""
    built = load_program()
    if built.exists():
        return True
    if shutil.which("cc") is None:
        return False
    built.parent.mkdir(exist_ok=True)
    for stale in built.parent.glob("load-*"):
        stale.unlink()
    subprocess.run(["cc", "-O2", "-pthread", "-o", str(built), str(HERE / "load.c")], check=True)
    return True
