"""Chooses and opens the agent's output: the live screen, a log, or only the address."""

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from tunnelctl.agent.config import AgentConfig
from tunnelctl.agent.ngrok_codes import with_ngrok_code
from tunnelctl.agent.watcher import Started, Watcher, Watchers
from tunnelctl.cli.exits import Exit, Failure, has_colour, is_dumb, plain, say
from tunnelctl.cli.log_formats import Style, formatter
from tunnelctl.cli.logs import ApiLog, LibraryHandler, Log, LogWatcher
from tunnelctl.cli.persona import Persona
from tunnelctl.line_writer import LineWriter, write_all
from tunnelctl.localapi.server import ApiWatcher
from tunnelctl.stdio import when_reader_leaves


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputMode:
    """The outputs that an agent has.

    Attributes:
        screen: The live screen is shown.
        log: `stdout`, `stderr`, a file's path, or "" for no log.
        prints_url: The public address is printed on stdout, alone on a line, for scripts.
    """

    screen: bool
    log: str
    prints_url: bool


def choose_output_mode(log: str, console_ui: str, *, is_terminal: bool) -> OutputMode:
    """Choose the outputs from the flags.

    Args:
        log: Value of the --log flag: `stdout`, `stderr`, `false`, a path, or "" without the flag.
        console_ui: `iftty`, `true` or `false`; "" means `iftty`.
        is_terminal: Whether stdout is a terminal that can be drawn on.
    """
    screen = is_terminal and console_ui != "false" and log not in ("stdout", "stderr")
    if not log:
        log = "false" if screen else "stdout" if console_ui == "false" and is_terminal else "stderr"
    return OutputMode(screen=screen, log="" if log == "false" else log, prints_url=not screen and log != "stdout")


def can_draw(stream: Any) -> bool:
    """Return whether a stream is a terminal that can be drawn on. (https://no-color.org is about colours only.)"""
    try:
        return bool(stream.isatty()) and not is_dumb()
    except (AttributeError, ValueError):
        return False


class Output:
    """The open outputs of a running agent.

    Attributes:
        watcher: Receives the agent's events.
        api_watcher: Receives the events of the local API.
        has_lost_reader: The reader of the log or of the printed address has gone, so the program stops.
    """

    def __init__(self, mode: OutputMode, style: Style, *, speaks_ngrok: bool) -> None:
        self._mode = mode
        self._style = style
        self._speaks_ngrok = speaks_ngrok
        self._stop: Callable[[], object] = lambda: None
        self.log: Log | None = None
        self.watcher: Watcher = Watcher()
        self.api_watcher: ApiWatcher = ApiWatcher()
        self.has_lost_reader = False

    def stop_by(self, stop: Callable[[], object]) -> None:
        """Set the function that stops the agent when the reader leaves. It may be called from any thread, once."""
        self._stop = stop
        if self.has_lost_reader:
            stop()

    def lose_reader(self) -> None:
        """Stop the agent, as its output has no reader. May be called from any thread."""
        if not self.has_lost_reader:
            self.has_lost_reader = True
            self._stop()

    def warn(self, notices: tuple[str, ...]) -> None:
        """Write warnings to the log, and to stderr if there is neither a screen nor a log."""
        for notice in notices:
            if self.log is not None:
                self.log.record("warn", notice, obj="app")
            if not self._mode.screen and self._mode.log not in ("stdout", "stderr"):
                say("warning", notice)

    def fail(self, failure: Failure) -> bool:
        """Log why the program ends. Return True if stderr contains a JSON log, and so must get no lines of text."""
        if self.log is not None:
            text = with_ngrok_code(str(failure), failure.error) if self._speaks_ngrok else str(failure)
            self.log.record("crit", "command failed", obj="app", err=text)
        return self._mode.log == "stderr" and self._style == "json"


@contextlib.contextmanager
def opened(
    mode: OutputMode, config: AgentConfig, persona: Persona, *, style: Style, level: str, notices: tuple[str, ...]
) -> Iterator[Output]:
    """Open the outputs for this mode while the body runs.

    Args:
        persona: With the name `ngrok`, errors are logged as ngrok does, for programs that look for its numbers.
    """
    output = Output(mode, style, speaks_ngrok=persona.is_ngrok)
    watchers: list[Watcher] = []
    api_watchers: list[ApiWatcher] = []
    with contextlib.ExitStack() as stack:
        if mode.log:
            output.log = stack.enter_context(_log(mode.log, style, level, output.lose_reader))
            watchers.append(LogWatcher(output.log, speaks_ngrok=persona.is_ngrok))
            api_watchers.append(ApiLog(output.log, names_taken=style != "json"))
        output.warn(notices)
        if mode.prints_url:
            watchers.append(UrlPrinter(output.lose_reader))
            _note_lost_reader(output.log)
        if mode.screen:
            watcher, api_watcher = stack.enter_context(_screen(config, persona, notices))
            watchers.append(watcher)
            api_watchers.append(api_watcher)
        output.watcher = watchers[0] if len(watchers) == 1 else Watchers(*watchers)
        output.api_watcher = ApiWatchers(*api_watchers)
        yield output


def _note_lost_reader(log: Log | None) -> None:
    """Log when stdout loses its reader. The address has been read, as by `head -1`, so the tunnel continues."""
    if log is None:
        return
    with contextlib.suppress(OSError):
        fd = sys.stdout.fileno()
        if not os.path.sameopenfile(fd, log.fd):
            said = "standard output has no reader any more, the tunnel goes on"
            when_reader_leaves(fd, lambda: log.record("warn", said, obj="app"))


@contextlib.contextmanager
def _screen(config: AgentConfig, persona: Persona, notices: tuple[str, ...]) -> Iterator[tuple[Watcher, ApiWatcher]]:
    from rich.console import Console

    from tunnelctl.cli.screen import Screen, WebInterface, shown_live

    where = f"{config.relay.url} ({f'from {config.relay_from}' if config.relay_from else 'the default'})"
    screen = Screen(relay=where, tunnels=config.tunnels, notices=notices, persona=persona)
    try:
        with shown_live(screen, Console()):
            yield screen, WebInterface(screen)
    finally:
        with contextlib.suppress(OSError):  # the terminal is gone
            print("\n".join(screen.summary()), flush=True)


@contextlib.contextmanager
def _log(where: str, style: Style, level: str, lose_reader: Callable[[], object]) -> Iterator[Log]:
    fd, is_ours = _open(where)
    writer = LineWriter(partial(write_all, fd))
    when_reader_leaves(fd, lose_reader)

    def write(line: str) -> None:
        writer.write(line.encode("utf-8", "backslashreplace"))

    log = Log(write, formatter(style, is_terminal=os.isatty(fd), has_colours=has_colour()), level, fd=fd)
    handler = LibraryHandler(log)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield log
    finally:
        root.removeHandler(handler)
        if writer.dropped:
            log.record("warn", "log lines were left out because they were not read", obj="app", lines=writer.dropped)
        writer.close()
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
        raise Failure(
            Exit.USAGE, [f"--log: cannot write {where}: {error.strerror}"], "name another file, stdout, stderr or false"
        ) from error


class UrlPrinter(Watcher):
    """Prints the public address alone on a line, when it first responds, and again only if it changes.

    Args:
        lose_reader: Called when the output has no reader.
    """

    def __init__(self, lose_reader: Callable[[], object]) -> None:
        self._printed: set[str] = set()
        self._lose_reader = lose_reader

    def started(self, tunnel: Started) -> None:
        if tunnel.url in self._printed:
            return
        self._printed.add(tunnel.url)
        try:
            sys.stdout.write(f"{plain(tunnel.url)}\n")  # in one piece, as the log may share the terminal
            sys.stdout.flush()
        except BrokenPipeError:
            self._lose_reader()
        except OSError:  # a full disk or a closed terminal does not stop the tunnel
            pass


class ApiWatchers(ApiWatcher):
    """Combines several watchers of the local API into one, called in order."""

    def __init__(self, *watchers: ApiWatcher) -> None:
        self._watchers = watchers

    def serving(self, address: str) -> None:
        for watcher in self._watchers:
            watcher.serving(address)

    def taken(self, address: str) -> None:
        for watcher in self._watchers:
            watcher.taken(address)

    def began(self, id_: str, path: str) -> None:
        for watcher in self._watchers:
            watcher.began(id_, path)

    def ended(self, id_: str, path: str, status: int, seconds: float) -> None:
        for watcher in self._watchers:
            watcher.ended(id_, path, status, seconds)
