"""Writes the access log: one line per exchange.

For each request only a list append is done; lines are formatted and written in batches. All other log lines are written
by `logs.py`. Queries, headers, bodies and credentials are never recorded.
"""

import asyncio
from collections.abc import Callable
from functools import lru_cache
from typing import Literal, Protocol

import msgspec

from tunnelctl.bounds import DeclaredBound
from tunnelctl.secret import redact
from tunnelrelay.observe.text import clean_json, printable, quoted, timestamp

FLUSH_SECONDS = 0.25
"""Maximum age of a record in seconds before it is written. A person who watches the log does not notice the delay, and
a busy relay writes hundreds of records at once."""
MAX_RECORDS = 250
"""Maximum records in a batch. Formatting one batch takes well under 1 ms, short enough not to delay visitors."""
MAX_PATH = 2048
"""Maximum characters of a path; longer ones are cut, so that visitors cannot fill the disk quickly."""


class ExchangeRecord(msgspec.Struct, kw_only=True, gc=False, omit_defaults=True):
    """One exchange (a request and its response), for the access log.

    Attributes:
        at: Unix time of the request's last head byte.
        peer: The visitor's address, after trusted proxies.
        path: Path without the query, which may contain codes and tokens.
        error: Code of the error that the relay sent; "" when the upstream's response was sent.
        source: Origin of the error: `ingress`, `agent` or `upstream`; "" without an error.
        bytes_in: Bytes of the request body.
        bytes_out: Bytes of the response body; for an upgrade, of both directions.
        seconds: Time from the last byte of the request's head to the last byte written.
        user: Subject of the session; "" without one.
        agent: The agent that served the request, as `owner/tunnel name`.
        job: The CI job that the agent runs in, as `acme/app run 1234`; "" when it sent an authtoken.
    """

    at: float
    request_id: str
    peer: str
    method: str
    host: str
    path: str
    status: int
    seconds: float
    bytes_in: int = 0
    bytes_out: int = 0
    error: str = ""
    source: str = ""
    user: str = ""
    email: str = ""
    agent: str = ""
    job: str = ""
    upgrade: str = ""


class CallLater(Protocol):
    """Type of the event loop's `call_later`."""

    def __call__(self, delay: float, callback: Callable[[], object], /) -> object:
        """Call `callback` once after `delay` seconds."""


BOUNDS = (
    DeclaredBound(
        name="requests not written to the log yet",
        limit=MAX_RECORDS,
        unit="requests",
        per="relay",
        when_full="they are written at once",
        worst_bytes=MAX_RECORDS * 20_000,
        holds=("AccessLog._records",),
    ),
    DeclaredBound(
        name="visitors whose part of a log line is remembered",
        limit=4096,
        unit="visitors",
        per="relay",
        when_full="the least recently used is forgotten",
        worst_bytes=4096 * 4_000,
        holds=("visitor_part()",),
    ),
)


class AccessLog:
    """Collects exchanges and writes them in batches: every 0.25 s, or every 250 records if that is sooner.

    Args:
        write: Function that takes complete lines and does not block (`LineWriter.write`).
        form: `text` for people, `json` for programs, `journal` for text without the time.
        is_on: False discards every record (`log_level` above `info`).
        call_later: Timer function; the event loop's by default. Tests pass their own.
    """

    __slots__ = ("_call_later", "_line", "_records", "_write", "is_on")

    def __init__(
        self,
        write: Callable[[bytes], object],
        form: Literal["text", "json", "journal"] | str = "text",
        *,
        is_on: bool = True,
        call_later: CallLater | None = None,
    ) -> None:
        self._write = write
        self._line = LINES[form]
        self.is_on = is_on
        self._call_later = call_later
        self._records: list[ExchangeRecord] = []

    def add(self, exchange: ExchangeRecord) -> None:
        """Add a record. Part of the hot path; costs a list append."""
        if not self.is_on:
            return
        records = self._records
        records.append(exchange)
        count = len(records)
        if count == 1:
            (self._call_later or asyncio.get_running_loop().call_later)(FLUSH_SECONDS, self.flush)
        elif count >= MAX_RECORDS:
            self.flush()

    def flush(self) -> None:
        """Write all pending records. Called by the timer, for a full batch, and when the relay stops."""
        if records := self._records:
            self._records = []
            self._write(b"".join(map(self._line, records)))


def text_line(exchange: ExchangeRecord) -> bytes:
    """Format a record for people: time, request, status, duration, then the rest as key=value."""
    return f"{timestamp(exchange.at)} ".encode() + journal_line(exchange)


def journal_line(exchange: ExchangeRecord) -> bytes:
    """Format a record as text without the time, which systemd's journal adds itself."""
    who = visitor_part(
        exchange.peer, exchange.error, exchange.source, exchange.user, exchange.email, exchange.agent, exchange.job
    )
    upgrade = f" upgrade={quoted(exchange.upgrade)}" if exchange.upgrade else ""
    return (
        f"info {quoted(exchange.method)} {quoted(exchange.host + clean_path(exchange.path))} "
        f"{exchange.status} {exchange.seconds * 1000:.1f}ms in={exchange.bytes_in} out={exchange.bytes_out} "
        f"{who}{upgrade} id={quoted(exchange.request_id)}\n"
    ).encode()


def json_line(exchange: ExchangeRecord) -> bytes:
    """Format a record as JSON, without empty fields."""
    exchange.path = clean_path(exchange.path)
    exchange.seconds = round(exchange.seconds, 6)
    try:
        encoded = _encode(exchange)
    except UnicodeEncodeError:  # a lone surrogate from a visitor; one record must not cost the batch
        encoded = _encode(_without_surrogates(exchange))
    rest = encoded[encoded.index(b",") :]  # `at` is the first field; replace it by an RFC 3339 time
    head = f'{{"time":"{timestamp(exchange.at)}","level":"info","msg":"exchange"'
    return clean_json(head.encode() + rest) + b"\n"


LINES = {"text": text_line, "json": json_line, "journal": journal_line}
"""Functions that format a record, by the form of the log."""


def clean_path(path: str) -> str:
    """Return the path for the log: without query, cut, and with texts that look like secrets removed."""
    path = path.partition("?")[0][:MAX_PATH]
    if "ta_" in path or "tt_" in path or "tc_" in path or "eyJ" in path or "v1." in path or "=" in path:
        return redact(path)  # every secret in a path contains one of these; this test is far cheaper than `redact`
    return path


def _without_surrogates(exchange: ExchangeRecord) -> ExchangeRecord:
    for name in exchange.__struct_fields__:
        if isinstance(value := getattr(exchange, name), str):
            setattr(exchange, name, printable(value))
    return exchange


@lru_cache(maxsize=4096)
def visitor_part(peer: str, error: str, source: str, user: str, email: str, agent: str, job: str) -> str:
    """Return the part of a text line that is equal for all requests of one visitor."""
    named = (("error", error), ("source", source), ("user", user), ("email", email), ("agent", agent), ("job", job))
    return " ".join([f"peer={quoted(peer)}", *(f"{name}={quoted(value)}" for name, value in named if value)])


_encode = msgspec.json.Encoder().encode
