"""Runs the load tools and parses their output: wrk for HTTP, our own `load` (load.c) for the rest.

Both load a `Door`: they connect to its port on 127.0.0.1 and name the tunnel in the Host field.
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
"""Bytes of one upload: enough that flow-control windows grow, and that several uploads end in a measured window."""
PROBE_INTERVAL = 0.02
"""Seconds between two requests of a probe: fifty a second are hardly a load, and give p99 enough samples."""
MAX_OVERRUN = 30.0
"""Seconds that a load tool may run longer than its window, for responses in flight; after that it counts as hung."""

UPLOAD_SCRIPT = f'wrk.method = "POST"\nwrk.body = string.rep("x", {UPLOAD_BYTES})\n'

_SIZES = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_MILLISECONDS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4, "h": 3.6e6}
_SUMMARY = re.compile(r"(\d+) requests in ([\d.]+)(us|ms|s|m|h), ([\d.]+)([KMGT]?)B read")
_QUANTILE = re.compile(r"^\s+(50|99)%\s+([\d.]+)(us|ms|s|m|h)$", re.MULTILINE)
_BAD_STATUS = re.compile(r"Non-2xx or 3xx responses: (\d+)")
_SOCKET_ERRORS = re.compile(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)")


class LoadFailed(Exception):
    """Raised when a load tool has failed or has printed something else than figures."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class WrkResult:
    """The result of wrk: counts, seconds, bytes read (heads included), and latencies in milliseconds."""

    requests: int
    seconds: float
    bytes_read: float
    p50_ms: float
    p99_ms: float
    errors: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LoadResult:
    """The result of `load probe` or `load echo`; only the probe has the `sent_` figures."""

    count: int
    rate: float
    p50_ms: float
    p99_ms: float
    sent_p99_ms: float
    errors: int


def parse_wrk(text: str) -> WrkResult:
    """Parse the report of `wrk --latency`.

    Raises:
        LoadFailed: The report has no summary line.
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
    """Parse the line of JSON with which `load probe` and `load echo` end.

    Raises:
        LoadFailed: The text is something else, or no request was answered.
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
    """Return the command of a run of wrk. wrk accepts only whole seconds, so a shorter window becomes one second."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--latency", "--timeout", "20s"]
    return [*command, "-H", f"Host: {door.host}", *more, f"http://127.0.0.1:{door.port}{path}"]


def load_command(verb: str, door: Door, path: str, *words: object) -> list[str]:
    """Return the command of a run of our own load tool."""
    return [str(load_program()), verb, str(door.port), door.host, path, *map(str, words)]


def run(command: Sequence[str], seconds: float) -> str:
    """Run a load tool to its end, and return what it has printed.

    Raises:
        LoadFailed: The tool ended with an error, or not within `seconds` and `MAX_OVERRUN`.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + MAX_OVERRUN, check=True)
    except subprocess.TimeoutExpired as error:
        raise LoadFailed(f"{Path(command[0]).name} did not end in time") from error
    except subprocess.CalledProcessError as error:
        raise LoadFailed(f"{Path(command[0]).name} failed: {error.stderr.strip()[-200:]}") from error
    return done.stdout


def run_wrk(door: Door, path: str, connections: int, seconds: float, *more: str) -> WrkResult:
    """Run wrk against the public side of a tunnel, and return its result."""
    return parse_wrk(run(wrk_command(door, path, connections, seconds, *more), seconds))


def http_get(door: Door, path: str) -> bytes:
    """Return the body of one GET request, outside of measurements."""
    connection = http.client.HTTPConnection("127.0.0.1", door.port, timeout=5)
    try:
        connection.request("GET", path, headers={"Host": door.host})
        return connection.getresponse().read()
    finally:
        connection.close()


def load_program() -> Path:
    """Return the path of the compiled load.c. It contains a hash of the source, so that no outdated program is run."""
    return HERE / "bin" / f"load-{hashlib.sha256((HERE / 'load.c').read_bytes()).hexdigest()[:12]}"


def build_load() -> bool:
    """Compile load.c, if that was not done before. False where there is no C compiler."""
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
