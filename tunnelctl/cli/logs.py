"""Writes the agent's log: one record per line, with the messages that programs which control `ngrok` look for."""

import logging
import secrets
import time
from collections.abc import Callable

from tunnelctl.agent.ngrok_codes import NGROK_CODES, with_ngrok_code
from tunnelctl.agent.outcome import NotAllowed, Outcome
from tunnelctl.agent.watcher import Exchange, Started, Waiting, Watcher
from tunnelctl.cli.format_exchange import MAX_PATH, failure_words, path_of, peer_of, status_of
from tunnelctl.cli.log_formats import LEVELS, WEIGHTS, Format, Value
from tunnelctl.eventlog import event_of
from tunnelctl.localapi.server import ApiWatcher
from tunnelctl.secret import redact, redact_field

SECRET_MARKS = ("eyJ", "tt_", "ta_", "tc_", "=")
"""Every secret that `redact` finds contains at least one of these texts; a path without them need not be redacted."""
REPEAT_SECONDS = 30.0
"""Seconds for which an equal reason is not logged again: an agent whose relay is down tries five times a second at
first."""


class Log:
    """Creates log records and writes them as lines.

    Args:
        write: Function that writes one line.
        render: Function that formats a record; see `log_formats`.
        level: Lowest level that is written, as named by the flag.
        now: Function that returns Unix time.
        fd: File descriptor that the lines are written to; -1 for none.
    """

    def __init__(
        self,
        write: Callable[[str], None],
        render: Format,
        level: str,
        now: Callable[[], float] = time.time,
        *,
        fd: int = -1,
    ) -> None:
        self.fd = fd
        self._write = write
        self._render = render
        self._weight = WEIGHTS[LEVELS[level]]
        self._now = now

    def record(self, level: str, message: str, **fields: Value) -> None:
        """Write one record, unless its level is below the log's. Texts that look like secrets are redacted."""
        if WEIGHTS[level] >= self._weight:
            texts = {
                name: redact_field(name, value) if isinstance(value, str) else value for name, value in fields.items()
            }
            self._write(self._render(self._now(), level, redact(message), texts))

    def exchange(self, fields: dict[str, Value]) -> None:
        """Write the record of an exchange. For speed, only lines that may contain secrets are redacted."""
        path = str(fields["path"])
        if "err" in fields or any(mark in path for mark in SECRET_MARKS):
            self.record("info", "exchange", **fields)
        elif WEIGHTS["info"] >= self._weight:
            self._write(self._render(self._now(), "info", "exchange", fields))


class LogWatcher(Watcher):
    """Logs the events of an agent.

    Args:
        clock: Function that returns seconds, to limit repetitions.
        speaks_ngrok: Log the end of an agent that its relay refuses in ngrok's form.
    """

    def __init__(self, log: Log, *, clock: Callable[[], float] = time.monotonic, speaks_ngrok: bool = False) -> None:
        self._log = log
        self._clock = clock
        self._speaks_ngrok = speaks_ngrok
        self._is_connected = False
        self._last_trouble = ("", 0.0)

    def connecting(self, relay: str) -> None:
        """Log that the agent connects to the relay."""
        self._log.record("dbug", "dialing relay", obj="tunnels.session", relay=relay)

    def connected(self, relay: str, owner: str) -> None:
        """Log the two lines that programs which control `ngrok` look for."""
        self._is_connected = True
        self._last_trouble = ("", 0.0)
        self._log.record("info", "client session established", obj="tunnels.session")
        self._log.record("info", "tunnel session started", obj="tunnels.session", relay=relay, owner=owner)

    def latency(self, seconds: float) -> None:
        """Log the round trip of the link."""
        self._log.record("dbug", "heartbeat received", obj="tunnels.session", latency_ms=round(seconds * 1000, 3))

    def started(self, tunnel: Started) -> None:
        """Log the public address. Scripts wait for this line."""
        fields: dict[str, Value] = {"obj": "tunnels", "name": tunnel.name, "addr": tunnel.upstream, "url": tunnel.url}
        if tunnel.labels:
            fields["labels"] = _labels(tunnel.labels)
        if tunnel.let_in:
            fields["let_in"] = tunnel.let_in
        if tunnel.redirect_uri:
            fields["redirect_uri"] = tunnel.redirect_uri
        self._log.record("info", "started tunnel", **fields)

    def waiting(self, tunnel: Waiting) -> None:
        """Log why the tunnel has no address yet."""
        fields: dict[str, Value] = {"obj": "tunnels", "name": tunnel.name, "addr": tunnel.upstream}
        fields |= {"owner": tunnel.owner}
        if tunnel.labels:
            fields["labels"] = _labels(tunnel.labels)
        if tunnel.edge:
            fields["edge"] = tunnel.edge
        self._log.record("warn", "waiting for an edge", **fields, err=tunnel.reason)

    def app(self, upstream: str, reason: str) -> None:
        """Log that the local service stopped or began to respond."""
        if reason:
            self._log.record("warn", "local service does not answer", obj="tunnels", addr=upstream, err=reason)
        else:
            self._log.record("info", "local service answers", obj="tunnels", addr=upstream)

    def ended(self, name: str, message: str) -> None:
        """Log that one of several tunnels ended."""
        self._log.record("eror", "tunnel ended", obj="tunnels", name=name, err=message)

    def removed(self, name: str) -> None:
        """Log that a tunnel was removed while the agent continues."""
        self._log.record("info", "stopped tunnel", obj="tunnels", name=name)

    def left(self, name: str, url: str) -> None:
        """Log that an address no longer belongs to the tunnel."""
        self._log.record("info", "stopped serving an edge", obj="tunnels", name=name, url=url)

    def unready(self, url: str, reason: str) -> None:
        """Log why the public address does not respond yet."""
        self._log.record("warn", "public address does not answer", obj="tunnels", url=url, err=reason)

    def joined(self, name: str, upstream: str, exchange: Exchange) -> None:
        """Log that a visitor was connected to the local service."""
        id_ = secrets.token_hex(6)
        self._log.record("info", "join connections", obj="join", id=id_, l=upstream, r=peer_of(exchange))

    def exchange(self, name: str, exchange: Exchange) -> None:
        """Log an exchange, without its query, which may contain secrets."""
        fields: dict[str, Value] = {
            "obj": "http",
            "peer": peer_of(exchange),
            "method": exchange.method.decode("latin-1"),
            "path": path_of(exchange),
            "status": status_of(exchange),
            "seconds": round(exchange.seconds, 6),
        }
        if exchange.code is not None:
            fields["err"] = failure_words(exchange)
        self._log.exchange(fields)

    def lost(self, reason: str, retry_in: float, error: str) -> None:
        """Log that the link is lost, or could not be reopened; equal reasons are repeated only rarely."""
        was_connected, self._is_connected = self._is_connected, False
        now = self._clock()
        if not was_connected and self._last_trouble[0] == reason and now - self._last_trouble[1] < REPEAT_SECONDS:
            return
        self._last_trouble = (reason, now)
        level = "warn"
        if self._speaks_ngrok and error in NGROK_CODES:  # ngrok would end with this error
            level, reason = "eror", with_ngrok_code(reason, error)
        fields: dict[str, Value] = {"err": reason, "retry_in": round(retry_in, 3)}
        if was_connected:
            self._log.record(level, "session closed, starting reconnect loop", obj="csess", **fields)
        else:
            self._log.record(level, "failed to reconnect session", obj="tunnels.session", **fields)

    def moving(self, reason: str) -> None:
        """Log that the relay drains."""
        self._log.record("info", "relay goes away, opening a new session", obj="csess", reason=reason)

    def draining(self, exchanges: int) -> None:
        """Log that the agent was asked to stop."""
        self._log.record("info", "received stop request", obj="app", in_flight=exchanges)

    def agent_ended(self, outcome: Outcome) -> None:
        """Log in ngrok's three records that the relay refuses this agent."""
        if self._speaks_ngrok and isinstance(outcome, NotAllowed) and outcome.error != "not_allowed":
            reason = with_ngrok_code(f"authentication failed: {outcome.message}", outcome.error)
            self._log.record("eror", "failed to reconnect session", obj="tunnels.session", err=reason)
            self._log.record("eror", "session closing", obj="tunnels.session", err=reason)
            self._log.record("eror", "terminating with error", obj="app", err=reason)


class ApiLog(ApiWatcher):
    """Logs the events of the local API.

    Args:
        names_taken: Log which address is taken. False for npm's `ngrok`, which takes the first JSON record with an
            `addr` for the API's.
    """

    def __init__(self, log: Log, *, names_taken: bool) -> None:
        self._log = log
        self._names_taken = names_taken

    def serving(self, address: str) -> None:
        """Log the line in which programs that control `ngrok` find the API's address."""
        self._log.record("info", "starting web service", obj="web", addr=address, allow_hosts="[]")

    def taken(self, address: str) -> None:
        """Log that another port is tried."""
        named = {"addr": address} if self._names_taken else {}
        self._log.record("warn", "can't bind default web address, trying alternatives", obj="web", **named)

    def began(self, id_: str, path: str) -> None:
        """Log the begin of a request."""
        self._log.record("info", "start", pg=path[:MAX_PATH], id=id_)

    def ended(self, id_: str, path: str, status: int, seconds: float) -> None:
        """Log the end of a request."""
        duration = f"{seconds * 1000:.3f}ms"
        self._log.record("info", "end", pg=path[:MAX_PATH], id=id_, status=status, dur=duration)


def _labels(labels: tuple[tuple[str, str], ...]) -> str:
    return ",".join(f"{name}={value}" for name, value in labels)


class LibraryHandler(logging.Handler):
    """Writes records of Python's logging (from our lower layers and from libraries) to the agent's log."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Format and write a record. Never raises, as logging must not end the program."""
        level = "eror" if record.levelno >= logging.ERROR else "warn" if record.levelno >= logging.WARNING else "dbug"
        try:
            event = event_of(record)
            fields = {name: _value(value) for name, value in event.fields.items()}
            if record.exc_info and record.exc_info[1] is not None:
                fields["err"] = f"{type(record.exc_info[1]).__name__}: {record.exc_info[1]}"
            self._log.record(level, event.name, obj=record.name, **fields)
        except Exception as error:  # `logging` would print the record without redaction
            self._log.record("warn", "log record not formatted", obj=record.name, err=type(error).__name__)


def _value(value: object) -> Value:
    return value if isinstance(value, str | int | float) or value is None else str(value)
