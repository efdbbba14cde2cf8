"""The live screen of `tunnel http` on a terminal: who, where, how much, and the last requests.

`Screen` is the state and how it looks; `shown_live` puts it on the terminal and takes it off again. Drawing happens in
rich's own thread: a terminal that was stopped with Ctrl-S must not stop the tunnel.
"""

import contextlib
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from tunnelctl import __version__
from tunnelctl.agent.config import TunnelConfig
from tunnelctl.agent.metrics import Meter, read_meters
from tunnelctl.agent.watcher import Exchange, Started, Waiting, Watcher
from tunnelctl.cli.format_exchange import path_of, printable, status_of, status_words

LABEL_WIDTH = 30
CELL_WIDTH = 8
MAX_ENDED = 300
"""Tunnels that wait for an edge or have ended, whose reason is shown; more than an agent has at once."""
MAX_SEEN = 100
"""Addresses that the summary lists, the last ones."""
COLUMNS = ("ttl", "opn", "rt1", "rt5", "p50", "p90")
MAX_REQUESTS = 100
"""Requests remembered; a terminal shows as many of them as it has lines left."""
REFRESHES_PER_SECOND = 4


class Screen(Watcher):
    """What the screen shows of what the agent does.

    Args:
        relay: The relay's address.
        tunnels: Those that the agent is started with.
        notices: Warnings, shown on top.
    """

    def __init__(self, *, relay: str, tunnels: Sequence[TunnelConfig], notices: tuple[str, ...] = ()) -> None:
        self._relay = relay
        self._upstream = tunnels[0].upstream.url if tunnels else ""
        self._let_in = {tunnel.name: tunnel.who_may_visit for tunnel in tunnels}
        self._notices = notices
        self._status = Text("connecting", "yellow")
        self._owner = ""
        self._latency = ""
        self._tunnels: dict[tuple[str, str], Started] = {}
        self._waiting: dict[str, str] = {}
        self._silent: dict[str, str] = {}
        self._seen: dict[str, str] = {}
        self._began = time.monotonic()
        self._traffic = Meter()
        self._requests: deque[tuple[float, Exchange]] = deque(maxlen=MAX_REQUESTS)

    # Watcher

    def connected(self, relay: str, owner: str) -> None:
        """The relay knows us; whether visitors come through is not proven yet."""
        self._owner = printable(owner.encode())
        self._status = Text("checking the public address", "yellow") if self._let_in else Text("online", "green")

    def latency(self, seconds: float) -> None:
        """Show the link's round trip."""
        self._latency = f"{seconds * 1000:.0f}ms" if seconds >= 0.001 else "<1ms"

    def started(self, tunnel: Started) -> None:
        """Show the tunnel as online: its public address has answered."""
        self._tunnels[tunnel.name, tunnel.url] = tunnel
        self._let_in[tunnel.name] = tunnel.let_in
        self._seen.setdefault(tunnel.url, tunnel.upstream)
        if len(self._seen) > MAX_SEEN:
            del self._seen[next(iter(self._seen))]
        self._waiting.pop(tunnel.name, None)
        self._status = Text("online", "green")

    def waiting(self, tunnel: Waiting) -> None:
        """Show the reason in place of an address."""
        self._waiting[tunnel.name] = printable(tunnel.reason.encode())
        if not self._tunnels:
            self._status = Text("waiting for an edge", "yellow")

    def app(self, upstream: str, reason: str) -> None:
        """Show the local service's problem until it answers."""
        if reason:
            self._silent[upstream] = printable(reason.encode())
        else:
            self._silent.pop(upstream, None)

    def ended(self, name: str, message: str) -> None:
        """Show, from now on, why the tunnel ended in place of its address."""
        self.removed(name)
        self._waiting[name] = printable(f"{name} ended: {message}".encode())
        if len(self._waiting) > MAX_ENDED:
            del self._waiting[next(iter(self._waiting))]

    def removed(self, name: str) -> None:
        """Remove a tunnel with all of its addresses."""
        self._waiting.pop(name, None)
        self._let_in.pop(name, None)
        for key in [key for key in self._tunnels if key[0] == name]:
            del self._tunnels[key]

    def left(self, name: str, url: str) -> None:
        """Remove an address."""
        self._tunnels.pop((name, url), None)

    def unready(self, url: str, reason: str) -> None:
        """Show that visitors do not come through although the link stands."""
        self._status = Text(f"public address does not answer ({printable(reason.encode())})", "red")

    def began(self, name: str) -> None:
        """Count an open exchange."""
        self._traffic.began(time.monotonic())

    def exchange(self, name: str, exchange: Exchange) -> None:
        """Add the exchange to the list of requests."""
        self._traffic.ended(exchange.seconds)
        self._requests.appendleft((time.time(), exchange))

    def lost(self, reason: str, retry_in: float, error: str) -> None:
        """Show that the agent reconnects, and why."""
        self._latency = ""
        self._status = Text(f"reconnecting ({printable(reason.encode())})", "red")

    def moving(self, reason: str) -> None:
        """Show that the relay restarts; the old link still serves."""
        self._status = Text("reconnecting (the relay restarts)", "yellow")

    def draining(self, exchanges: int) -> None:
        """Show that the agent stops, and how many requests are in flight."""
        first = f", {count_of(exchanges, 'request')} in flight (Ctrl+C again: stop now)" if exchanges else ""
        self._status = Text(f"stopping{first}", "yellow")

    # After the screen is gone

    def summary(self) -> list[str]:
        """Lines that stay on the terminal: each address that was served, how many requests, for how long."""
        lasted = f"{count_of(self._traffic.count, 'request')} in {_lasted(time.monotonic() - self._began)}"
        addresses = [f"{url} -> {upstream}" for url, upstream in self._seen.items()]
        return [*addresses[:-1], f"{addresses[-1] if addresses else 'no address was served'}: {lasted}"]

    # How it looks

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The whole screen: the top as it needs, the requests in the lines that are left."""
        top = console.render_lines(self._top(options.max_width), options.update(height=None))
        height = options.height or console.size.height
        for line in top[:height]:
            yield from line
            yield Segment.line()
        yield from self._request_rows(height - len(top) - 1)

    def _top(self, width: int) -> RenderableType:
        parts: list[RenderableType] = [self._title(width), Text()]
        for notice in self._notices:
            parts += [Text(notice, "yellow"), Text()]
        return Group(*parts, self._facts(), Text(), self._connections(), Text())

    def _title(self, width: int) -> RenderableType:
        title, keys = Text("tunnel", "bold cyan"), "(Ctrl+C to quit)"
        return title.append(keys.rjust(max(width - len(title), len(keys) + 1)), "default not bold")

    def _facts(self) -> RenderableType:
        table = Table.grid(padding=0)
        table.add_column(width=LABEL_WIDTH, no_wrap=True)
        table.add_column(overflow="fold")
        table.add_row("Session Status", self._status)
        if self._owner:
            table.add_row("Account", Text(self._owner))
        table.add_row("Version", Text(__version__))
        table.add_row("Relay", Text(self._relay))
        table.add_row("Latency", Text(self._latency or "-"))
        for tunnel in self._tunnels.values():
            table.add_row("Forwarding", Text(f"{tunnel.url} -> {tunnel.upstream}", "bold"))
        for reason in self._waiting.values():
            table.add_row("Forwarding", Text(reason, "yellow"))
        for upstream, reason in self._silent.items():
            table.add_row("Local service", Text(f"{upstream} does not answer ({reason})", "red"))
        if not self._tunnels and not self._waiting:
            table.add_row("Forwarding", Text(f"... -> {self._upstream}" if self._upstream else "no tunnel yet"))
        if self._let_in:
            table.add_row("Who is let in", Text(joined_by_name(self._let_in)))
        for uri in sorted({tunnel.redirect_uri for tunnel in self._tunnels.values() if tunnel.redirect_uri}):
            table.add_row("Redirect URI to register", Text(uri))
        return table

    def _connections(self) -> RenderableType:
        now = read_meters(time.monotonic(), self._traffic)
        head = "Connections".ljust(LABEL_WIDTH) + "".join(name.ljust(CELL_WIDTH) for name in COLUMNS)
        counts = [str(now.count), str(now.gauge), f"{now.rate1:.2f}", f"{now.rate5:.2f}"]
        cells = [*counts, _duration(now.p50), _duration(now.p90)]
        return Text(f"{head.rstrip()}\n{' ' * LABEL_WIDTH}{''.join(cell.ljust(CELL_WIDTH) for cell in cells)}".rstrip())

    def _request_rows(self, room: int) -> list[RenderableType]:
        if room < 3:
            return []
        rows: list[RenderableType] = [Text("HTTP Requests"), Text("-------------"), Text()]
        shown = list(self._requests)[: room - len(rows)]
        return rows[:3] + [Padding(_request_line(at, exchange), (0, 0)) for at, exchange in shown]


def _request_line(at: float, exchange: Exchange) -> Text:
    """`23:33:18.042 POST /path     200 OK`, in one line whatever its length."""
    when = datetime.fromtimestamp(at).strftime("%H:%M:%S.%f")[:-3]
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append(f"{when} ", "dim")
    line.append(f"{printable(exchange.method)[:7]:<7} ")
    line.append(f"{_cut(path_of(exchange), 34):<35}")
    return line.append(status_words(exchange), _colour(status_of(exchange)))


def _duration(seconds: float) -> str:
    """Three digits at most, in the unit that shows something."""
    if seconds >= 1:
        return f"{seconds:.1f}s"
    return f"{seconds * 1000:.0f}ms" if seconds >= 0.01 else f"{seconds * 1000:.1f}ms"


def joined_by_name(let_in: Mapping[str, str]) -> str:
    """Who is let in, in words; of several tunnels each with its name."""
    if len(let_in) == 1:
        return next(iter(let_in.values()))
    return ". ".join(f"{name}: {words}" for name, words in let_in.items())


def count_of(count: int, noun: str) -> str:
    """`1 request`, `2 requests`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _lasted(seconds: float) -> str:
    """`42s`, `3m 4s`, `2h 5m`: the two largest units."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    minutes, hours = whole // 60, whole // 3600
    return f"{hours}h {minutes % 60}m" if hours else f"{minutes}m {whole % 60}s"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _colour(status: int) -> str:
    if status >= 500:
        return "red"
    return "yellow" if status >= 400 else "green" if status else "dim"


@contextlib.contextmanager
def shown_live(screen: Screen, console: Console) -> Iterator[None]:
    """Show the screen while the body runs; afterwards the terminal is as it was."""
    with (
        _without_echo(),
        Live(screen, console=console, screen=True, refresh_per_second=REFRESHES_PER_SECOND, redirect_stderr=False),
    ):
        yield


@contextlib.contextmanager
def _without_echo() -> Iterator[None]:
    """Keys typed at the screen must not be written into it."""
    try:
        import termios

        before = termios.tcgetattr(sys.stdin.fileno())
    except (ImportError, OSError, ValueError, AttributeError):  # Windows, or stdin is no terminal
        yield
        return
    except termios.error:
        yield
        return
    quiet = list(before)
    quiet[3] &= ~termios.ECHO
    termios.tcsetattr(sys.stdin.fileno(), termios.TCSANOW, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin.fileno(), termios.TCSANOW, before)
