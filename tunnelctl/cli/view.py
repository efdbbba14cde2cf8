"""Where the agent's words go: the live screen, a log, or just the address. Decided apart from done."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from tunnelctl.agent.config import AgentConfig
from tunnelctl.agent.watcher import SilentWatcher, Started, Watcher, Watchers
from tunnelctl.agent.words import who_may_visit_all
from tunnelctl.cli.exits import Exit, Failure
from tunnelctl.cli.logs import LibraryHandler, Log, LogWatcher
from tunnelctl.cli.records import Style, formatter
from tunnelctl.cli.sink import Sink


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Where words go.

    Attributes:
        screen: The live screen is shown.
        log: `stdout`, `stderr`, a file's path, or "" for no log.
        prints_url: The public address is printed on stdout, alone on a line, for scripts.
    """

    screen: bool
    log: str
    prints_url: bool


def choose_view(log: str, console_ui: str, *, is_terminal: bool) -> View:
    """What to show.

    Args:
        log: The --log flag: `stdout`, `stderr`, `false`, a path, or "" when it was not given.
        console_ui: `iftty`, `true` or `false`, "" for the first.
        is_terminal: Whether stdout is a terminal that can be drawn on.
    """
    screen = is_terminal and console_ui != "false" and log not in ("stdout", "stderr")
    if not log:
        log = "false" if screen else "stdout" if console_ui == "false" and is_terminal else "stderr"
    return View(screen=screen, log="" if log == "false" else log, prints_url=not screen and log != "stdout")


def can_draw(stream: Any) -> bool:
    """Whether a stream is a terminal that can be drawn on."""
    try:
        return bool(stream.isatty()) and os.environ.get("TERM") != "dumb"
    except (AttributeError, ValueError):
        return False


@contextlib.contextmanager
def opened(view: View, config: AgentConfig, *, style: Style, level: str, notices: tuple[str, ...]) -> Iterator[Watcher]:
    """The watcher that this view is; open while the body runs."""
    let_in = who_may_visit_all(config.tunnels)
    watchers: list[Watcher] = []
    with contextlib.ExitStack() as stack:
        if view.log:
            log = stack.enter_context(_log(view.log, style, level))
            watchers.append(LogWatcher(log, let_in=let_in))
        if view.prints_url:
            watchers.append(UrlPrinter())
        if view.screen:
            watchers.append(stack.enter_context(_screen(config, let_in, notices)))
        yield watchers[0] if len(watchers) == 1 else Watchers(*watchers)


@contextlib.contextmanager
def _screen(config: AgentConfig, let_in: str, notices: tuple[str, ...]) -> Iterator[Watcher]:
    from rich.console import Console

    from tunnelctl.cli.screen import Screen, shown_live

    screen = Screen(relay=config.relay.url, upstream=config.tunnels[0].upstream.url, let_in=let_in, notices=notices)
    with shown_live(screen, Console()):
        yield screen


@contextlib.contextmanager
def _log(where: str, style: Style, level: str) -> Iterator[Log]:
    fd, is_ours = _open(where)
    sink = Sink(fd)
    log = Log(sink.write, formatter(style, is_terminal=os.isatty(fd)), level)
    handler = LibraryHandler(log)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield log
    finally:
        root.removeHandler(handler)
        if sink.dropped:
            log.record("warn", "log lines were left out because nobody read them", obj="app", lines=sink.dropped)
        sink.close()
        if is_ours:
            os.close(fd)


def _open(where: str) -> tuple[int, bool]:
    if where in ("stdout", "stderr"):
        stream = cast(Any, sys.stdout if where == "stdout" else sys.stderr)
        stream.flush()
        return stream.fileno(), False
    try:
        return os.open(os.path.expanduser(where), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), True
    except OSError as error:
        raise Failure(Exit.USAGE, [f"--log: cannot write {where}: {error.strerror}"]) from error


class UrlPrinter(SilentWatcher):
    """Prints the public address alone on a line, once it answers, and again only if it changes."""

    def __init__(self) -> None:
        self._printed: set[str] = set()

    def started(self, tunnel: Started) -> None:
        """See `Watcher`."""
        if tunnel.url and tunnel.url not in self._printed:
            self._printed.add(tunnel.url)
            with contextlib.suppress(BrokenPipeError):
                print(tunnel.url, flush=True)
