"""The relay's log: Python's `logging` with our formatters, written by a thread (`tunnelctl.line_writer`).

Read next: `text.py` makes untrusted text safe for logs, `access.py` writes one line per exchange. Warnings, uncaught
exceptions of any thread and unraisable exceptions are logged too, so that everything on stderr passes the redactor.
"""

import json
import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import Protocol

from tunnelctl.eventlog import EventLog, event_of
from tunnelctl.line_writer import LineWriter
from tunnelctl.secret import redact, redact_field
from tunnelrelay.observe.access import AccessLog
from tunnelrelay.observe.text import clean_json, printable, quoted, timestamp

log = EventLog(__name__)

LIBRARIES_LEVEL = logging.WARNING
"""Minimum level for libraries' loggers: below it, httpx logs URLs with their queries, and httpcore whole headers."""

_OURS = ("tunnelrelay", "tunnelctl")


class Sink(Protocol):
    """Destination of log bytes: a binary stream."""

    def write(self, data: bytes, /) -> object:
        """Write bytes; may block."""

    def flush(self) -> object:
        """Flush written bytes; may block."""


class LogHandler(logging.Handler):
    """A log handler that passes formatted records to a `LineWriter`.

    A record that cannot be formatted counts as dropped.

    By default `logging` would print such a record to stderr, without the redactor.
    """

    def __init__(self, writer: LineWriter) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        """Format and queue a record. Called by `logging`; never raises."""
        try:
            self._writer.write(self.format(record).encode() + b"\n")
        except Exception:
            self._writer.dropped += 1


class TextFormatter(logging.Formatter):
    """Formats a record as the line `time level message key=value …`, with tracebacks indented below it.

    Args:
        has_time: False leaves the time out, for readers that add it themselves.
    """

    def __init__(self, *, has_time: bool = True) -> None:
        super().__init__()
        self._has_time = has_time

    def format(self, record: logging.LogRecord) -> str:
        words = [timestamp(record.created)] if self._has_time else []
        event = event_of(record)
        words += [record.levelname.lower(), printable(redact(event.name))]
        words += [f"{name}={quoted(redact_field(name, str(value)))}" for name, value in event.fields.items()]
        lines = [" ".join(words), *self._traceback(record)]
        return "\n".join(lines)

    def _traceback(self, record: logging.LogRecord) -> list[str]:
        if not record.exc_info:
            return []
        return ["    " + printable(line) for line in redact(self.formatException(record.exc_info)).splitlines()]


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object: time, level, logger, msg, then the fields."""

    def format(self, record: logging.LogRecord) -> str:
        event = event_of(record)
        entry: dict[str, object] = {
            "time": timestamp(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": redact(event.name),
        }
        entry |= {name: _json_value(name, value) for name, value in event.fields.items() if name not in entry}
        if record.exc_info:
            entry["traceback"] = redact(self.formatException(record.exc_info))
        return clean_json(json.dumps(entry, separators=(",", ":")).encode()).decode()


class Logs:
    """Sets up the relay's log: `logging` and the access log share one writer, which keeps their lines in order.

    Args:
        form: `text`, `json`, or `journal`: text without the time.
    """

    def __init__(self, form: str = "text", level: str = "info", *, sink: Sink | None = None) -> None:
        self.writer = LineWriter(partial(_write, sys.stderr.buffer if sink is None else sink))
        self._handler = LogHandler(self.writer)
        self._handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter(has_time=form != "journal"))
        severity = logging.getLevelNamesMapping()[level.upper()]
        levels = dict.fromkeys(_OURS, severity) | {"": max(severity, LIBRARIES_LEVEL)}
        self._before = {name: logging.getLogger(name).level for name in levels}
        _set_levels(levels)
        logging.getLogger().addHandler(self._handler)
        self._hooks = sys.excepthook, sys.unraisablehook, threading.excepthook
        sys.excepthook, sys.unraisablehook, threading.excepthook = _uncaught, _unraisable, _uncaught_in_thread
        logging.captureWarnings(capture=True)
        self.access = AccessLog(self.writer.write, form, is_on=severity <= logging.INFO)

    @contextmanager
    def hushed(self) -> Iterator[None]:
        """Log only warnings and errors while the body runs."""
        before = {name: logging.getLogger(name).level for name in _OURS}
        _set_levels({name: max(level, logging.WARNING) for name, level in before.items()})
        try:
            yield
        finally:
            _set_levels(before)

    def close(self) -> None:
        """Write all queued lines and restore Python's `logging`."""
        self.access.flush()
        logging.captureWarnings(capture=False)
        sys.excepthook, sys.unraisablehook, threading.excepthook = self._hooks
        logging.getLogger().removeHandler(self._handler)
        _set_levels(self._before)
        self.writer.close()


def _write(sink: Sink, data: bytes) -> None:
    sink.write(data)
    sink.flush()


def _uncaught(_kind: type[BaseException], error: BaseException, _traceback: TracebackType | None) -> None:
    log.critical("uncaught exception", exc_info=error)


def _uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None and args.exc_type is not SystemExit:
        _uncaught(args.exc_type, args.exc_value, args.exc_traceback)


def _unraisable(found: "sys.UnraisableHookArgs") -> None:
    error = found.exc_value or found.exc_type()
    log.error("unraisable exception", exc_info=error)


def _set_levels(levels: dict[str, int]) -> None:
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def _json_value(name: str, value: object) -> object:
    """Return numbers rounded to six decimals, and all other values as redacted text."""
    if isinstance(value, float):
        return round(value, 6)
    return value if isinstance(value, bool | int) or value is None else redact_field(name, str(value))
