"""The live screen of `tunnel http` on a terminal: session, addresses, counts, and the last requests.

`Screen` holds the content, `screen_layout` fits it to the terminal, and `shown_live` shows and removes it. rich draws
in a thread of its own, as a terminal that was stopped with Ctrl-S must not stop the tunnel. Therefore all data is
copied before it is drawn, in one step of the interpreter.
"""

import contextlib
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.live import Live
from rich.text import Text

from tunnelctl.agent.config import TunnelConfig
from tunnelctl.agent.metrics import Meter, read_meters
from tunnelctl.agent.watcher import Exchange, Started, Waiting, Watcher
from tunnelctl.cli.exits import plain
from tunnelctl.cli.format_exchange import path_of, printable, status_of, status_words
from tunnelctl.cli.persona import TUNNEL, Persona
from tunnelctl.cli.screen_layout import LABEL_WIDTH, WIDE, ScreenRow, fit_blocks, fold_row
from tunnelctl.localapi.server import ApiWatcher

CELL_WIDTH = 8
MAX_ENDED = 300
"""Maximum waiting or ended tunnels whose reason is shown; more than an agent has at once."""
MAX_SEEN = 100
"""Maximum addresses in the summary, the latest ones."""
MAX_NAMES = 3
"""Maximum names of tunnels that are shown beside an access rule which these tunnels share."""
MAX_PATH_WIDTH, MAX_ZONE = 35, 5
COLUMNS = ("ttl", "opn", "rt1", "rt5", "p50", "p90")
MAX_REQUESTS = 100
"""Maximum requests in memory; a terminal shows as many as it has lines left."""
REQUESTS_HEADING = ("HTTP Requests", "-------------", "")
LINES_FOR_REQUESTS = len(REQUESTS_HEADING) + 3
"""Number of lines that are left for the list of requests, however long the lists of tunnels are."""
REFRESHES_PER_SECOND = 4


class Screen(Watcher):
    """The content of the screen, updated by the agent's events.

    Args:
        relay: Address of the relay.
        tunnels: Tunnels with which the agent starts.
        notices: Warnings, shown at the top.
        persona: The program whose name and version are shown.

    Attributes:
        web_interface: Address of the local API as `host:port`; "" without one.
    """

    def __init__(
        self,
        *,
        relay: str,
        tunnels: Sequence[TunnelConfig],
        notices: tuple[str, ...] = (),
        persona: Persona = TUNNEL,
    ) -> None:
        self._persona = persona
        self._relay = relay
        self._upstream = tunnels[0].upstream.url if tunnels else ""
        self._let_in = {tunnel.name: tunnel.who_may_visit for tunnel in tunnels}
        self._notices = notices
        self._status = Text("connecting", "yellow")
        self._owner = ""
        self._latency = ""
        self.web_interface = ""
        self._tunnels: dict[tuple[str, str], Started] = {}
        self._waiting: dict[str, str] = {}
        self._silent: dict[str, str] = {}
        self._seen: dict[str, str] = {}
        self._began = time.monotonic()
        self._traffic = Meter()
        self._requests: deque[tuple[float, Exchange]] = deque(maxlen=MAX_REQUESTS)

    # Events of the agent

    def connected(self, relay: str, owner: str) -> None:
        """Show the session as online; the public addresses are not proven yet."""
        self._owner = owner
        self._status = Text("checking the public address", "yellow") if self._let_in else Text("online", "green")

    def latency(self, seconds: float) -> None:
        """Show the link's round trip."""
        self._latency = f"{seconds * 1000:.0f}ms" if seconds >= 0.001 else "<1ms"

    def started(self, tunnel: Started) -> None:
        """Show the tunnel as online, as its public address has responded."""
        self._tunnels[tunnel.name, tunnel.url] = tunnel
        self._let_in[tunnel.name] = tunnel.let_in
        self._seen.setdefault(tunnel.url, tunnel.upstream)
        if len(self._seen) > MAX_SEEN:
            del self._seen[next(iter(self._seen))]
        self._waiting.pop(tunnel.name, None)
        self._status = Text("online", "green")

    def waiting(self, tunnel: Waiting) -> None:
        """Show why the tunnel has no address, in place of one."""
        self._waiting[tunnel.name] = tunnel.reason
        if not self._tunnels:
            self._status = Text("waiting for an edge", "yellow")

    def app(self, upstream: str, reason: str) -> None:
        """Show the local service's problem until it responds."""
        if reason:
            self._silent[upstream] = reason
        else:
            self._silent.pop(upstream, None)

    def ended(self, name: str, message: str) -> None:
        """Show why the tunnel ended, in place of its address."""
        self.removed(name)
        self._waiting[name] = f"{name} ended: {message}"
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
        """Show that visitors do not get through although the link is up."""
        self._status = _text(f"public address does not answer ({reason})", "red")

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
        self._status = _text(f"reconnecting ({reason})", "red")

    def moving(self, reason: str) -> None:
        """Show that the relay restarts; the old link still serves."""
        self._status = Text("reconnecting (the relay restarts)", "yellow")

    def draining(self, exchanges: int) -> None:
        """Show that the agent stops, and how many requests are in progress."""
        first = f", {count_of(exchanges, 'request')} in flight (Ctrl+C again: stop now)" if exchanges else ""
        self._status = Text(f"stopping{first}", "yellow")

    # After the screen was removed

    def summary(self) -> list[str]:
        """Return the lines that stay on the terminal: each address that was served, the number of requests, and the
        duration.
        """
        lasted = f"{count_of(self._traffic.count, 'request')} in {_lasted(time.monotonic() - self._began)}"
        addresses = [plain(f"{url} -> {upstream}") for url, upstream in self._seen.items()]
        return [*addresses[:-1], f"{addresses[-1] if addresses else 'no address was served'}: {lasted}"]

    # Rendering

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the whole screen: the fixed part, as many tunnels as fit, and the requests below."""
        width, height = options.max_width, options.height or console.size.height
        above = [self._title(width), Text(), *self._notice_lines(console, width)]
        above += [line for row in self._facts() for line in fold_row(row, console, width)]
        figures = [Text(), *self._connections(console, width), Text()]
        room = height - len(above) - len(figures) - LINES_FOR_REQUESTS
        lists = fit_blocks(self._lists(), console, width=width, room=room)
        yield from (top := [*above, *lists, *figures])
        yield from self._request_rows(width, height - len(top))

    def _title(self, width: int) -> Text:
        title, keys = Text(self._persona.program, "bold cyan"), "(Ctrl+C to quit)"
        title.append(keys.rjust(max(width - len(title), len(keys) + 1)), "default not bold")
        title.truncate(width, overflow="crop")
        return title

    def _notice_lines(self, console: Console, width: int) -> list[Text]:
        lines = [[*_text(notice, "yellow").wrap(console, width), Text()] for notice in self._notices]
        return [line for notice in lines for line in notice]

    def _facts(self) -> list[ScreenRow]:
        """Return the rows about the session. Rows that ngrok has too have its names and order."""
        facts = [ScreenRow("Session Status", self._status)]
        if self._owner:
            facts.append(ScreenRow("Account", _text(self._owner)))
        facts += [
            ScreenRow("Version", Text(self._persona.version)),
            ScreenRow("Relay", _text(self._relay)),
            ScreenRow("Latency", Text(self._latency or "-")),
        ]
        if self.web_interface:
            facts.append(ScreenRow("Web Interface", Text(f"http://{self.web_interface}")))
        return facts

    def _lists(self) -> list[list[ScreenRow]]:
        """Return the lists that may be long, one for each kind."""
        tunnels = [*self._tunnels.values()]
        waiting = [*self._waiting.values()]
        silent = [*self._silent.items()]
        forwarding = [_text(f"{tunnel.url} -> {tunnel.upstream}", "bold") for tunnel in tunnels]
        if not tunnels and not waiting:
            forwarding.append(Text(f"... -> {self._upstream}" if self._upstream else "no tunnel yet"))
        problems = [_text(f"{upstream} does not answer ({reason})", "red") for upstream, reason in silent]
        register = sorted({tunnel.redirect_uri for tunnel in tunnels if tunnel.redirect_uri})
        return [
            [ScreenRow("Forwarding", text) for text in forwarding],
            [ScreenRow("Forwarding", _text(reason, "yellow")) for reason in waiting],
            [ScreenRow("Local service", text) for text in problems],
            [ScreenRow("Who is let in", _text(words)) for words in by_rule({**self._let_in})],
            [ScreenRow("Redirect URI to register", _text(uri)) for uri in register],
        ]

    def _connections(self, console: Console, width: int) -> list[Text]:
        now = read_meters(time.monotonic(), self._traffic)
        counts = [str(now.count), str(now.gauge), f"{now.rate1:.2f}", f"{now.rate5:.2f}"]
        cells = [*counts, _duration(now.p50), _duration(now.p90)]
        if width >= WIDE:
            return [
                Text("Connections".ljust(LABEL_WIDTH) + _aligned(COLUMNS)),
                Text(" " * LABEL_WIDTH + _aligned(cells)),
            ]
        pairs = [f"{name} {cell}" for name, cell in zip(COLUMNS, cells, strict=True)]
        lines = ["  ".join(pairs[at : at + 2]) for at in range(0, len(pairs), 2)]
        return fold_row(ScreenRow("Connections", Text("\n".join(lines))), console, width)

    def _request_rows(self, width: int, room: int) -> list[RenderableType]:
        if room < len(REQUESTS_HEADING):
            return []
        shown = [*self._requests][: room - len(REQUESTS_HEADING)]
        heading = [Text(line) for line in REQUESTS_HEADING]
        return [*heading, *(_request_line(at, exchange, width) for at, exchange in shown)]


class WebInterface(ApiWatcher):
    """Shows the address of the local API on the screen."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen

    def serving(self, address: str) -> None:
        """Show the address of the local API."""
        self._screen.web_interface = address


def _text(words: str, style: str = "") -> Text:
    """Return text from the relay or the configuration with its control characters escaped."""
    return Text(plain(words), style)


def _aligned(cells: Sequence[str]) -> str:
    """Return cells aligned in columns; a cell that is too long moves the following ones and never touches the next."""
    return " ".join(cell.ljust(CELL_WIDTH - 1) for cell in cells).rstrip()


def _request_line(at: float, exchange: Exchange, width: int) -> Text:
    """Return `23:33:18.042 UTC POST    /path     200 OK`, cut to one line; on a narrow terminal the time is shorter."""
    begin = f"{_time_of_day(at)} " if width >= WIDE else f"{datetime.fromtimestamp(at):%H:%M:%S} "
    method = f"{printable(exchange.method)[:7]:<7} "
    path_width = max(min(width - len(begin) - len(method) - width * 3 // 10, MAX_PATH_WIDTH), 2)
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append(begin, "dim")
    line.append(f"{method}{_cut(path_of(exchange), path_width - 1):<{path_width}}")
    return line.append(status_words(exchange), _colour(status_of(exchange)))


def _time_of_day(at: float) -> str:
    """Return the local time to the millisecond with its zone, by name if it has a short one."""
    when = datetime.fromtimestamp(at).astimezone()
    zone = when.tzname() or ""
    return f"{when:%H:%M:%S}.{when.microsecond // 1000:03d} {zone if len(zone) <= MAX_ZONE else f'{when:%z}'}"


def _duration(seconds: float) -> str:
    """Return a duration with at most three digits, in a suitable unit."""
    if seconds >= 1:
        return f"{seconds:.1f}s"
    return f"{seconds * 1000:.0f}ms" if seconds >= 0.01 else f"{seconds * 1000:.1f}ms"


def by_rule(let_in: Mapping[str, str]) -> list[str]:
    """Return who may enter, in words: one text for each rule, with the names of its tunnels if there are several
    rules.
    """
    names: dict[str, list[str]] = {}
    for name, words in let_in.items():
        names.setdefault(words, []).append(name)
    if len(names) <= 1:
        return [*names]
    return [f"{_listed(tunnels)}: {words}" for words, tunnels in names.items()]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return f"{', '.join(names[:MAX_NAMES])}{more}"


def count_of(count: int, noun: str) -> str:
    """Return a count with its noun: `1 request`, `2 requests`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _lasted(seconds: float) -> str:
    """Return a duration in its two largest units: `42s`, `3m 4s`, `2h 5m`."""
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
    """Show the screen while the body runs, and restore the terminal afterwards."""
    with (
        _without_echo(),
        Live(screen, console=console, screen=True, refresh_per_second=REFRESHES_PER_SECOND, redirect_stderr=False),
    ):
        yield


@contextlib.contextmanager
def _without_echo() -> Iterator[None]:
    """Turn off the terminal's echo, so that typed keys do not disturb the screen."""
    try:
        import termios

        before = termios.tcgetattr(sys.stdin.fileno())
    except (ImportError, OSError, ValueError, AttributeError):  # Windows, or stdin is not a terminal
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
