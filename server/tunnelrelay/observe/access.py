"""The access log: one line per exchange. The hot path only appends to a list; lines are formatted and written in
batches.

All other log lines are in `logs.py`. Queries, headers, bodies and credentials are never recorded.
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
"""How old a record may get. A person who watches the log does not notice; a busy relay writes hundreds at once."""
MAX_RECORDS = 250
"""A batch: formatting it takes well under 1 ms, which no visitor beside it feels."""
MAX_PATH = 2048
"""Longer paths are cut: a visitor must not fill the disk faster than the network lets him."""


class ExchangeRecord(msgspec.Struct, kw_only=True, gc=False, omit_defaults=True):
    """The record of one exchange.

    Attributes:
        at: Unix time of the request's last head byte.
        peer: The visitor's address, after trusted proxies.
        path: Without the query, which may hold codes and tokens.
        error: Code of the error the relay answered with, "" when the upstream's answer went out.
        source: Whose error: `ingress`, `agent` or `upstream`; "" without one.
        bytes_in: Request body bytes.
        bytes_out: Response body bytes; both directions of an upgrade.
        seconds: From the last head byte to the last byte written.
        user: Subject of the session, "" without one.
        agent: Who served it, as `owner/tunnel name`.
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
    upgrade: str = ""


class CallLater(Protocol):
    """The event loop's method that the log uses."""

    def __call__(self, delay: float, callback: Callable[[], object], /) -> object:
        """Calls back once after `delay` seconds."""


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
        write: Takes whole lines; must not block (`logs.LineWriter.write`).
        form: `text` for people, `json` for programs, `journal` for text without the time.
        is_on: False throws every record away (`log_level` above `info`).
        call_later: The event loop's by default; tests turn their own clock.
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
        """Take one record. Hot path: costs a list append."""
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
        """Write all pending records. Called by the timer, by a full batch, and when the relay stops."""
        if records := self._records:
            self._records = []
            self._write(b"".join(map(self._line, records)))


def text_line(exchange: ExchangeRecord) -> bytes:
    """The record for people: time, request, status, duration, then the rest as key=value."""
    return f"{timestamp(exchange.at)} ".encode() + journal_line(exchange)


def journal_line(exchange: ExchangeRecord) -> bytes:
    """The same without the time, which systemd's journal writes itself."""
    who = visitor_part(exchange.peer, exchange.error, exchange.source, exchange.user, exchange.email, exchange.agent)
    upgrade = f" upgrade={quoted(exchange.upgrade)}" if exchange.upgrade else ""
    return (
        f"info {quoted(exchange.method)} {quoted(exchange.host + clean_path(exchange.path))} "
        f"{exchange.status} {exchange.seconds * 1000:.1f}ms in={exchange.bytes_in} out={exchange.bytes_out} "
        f"{who}{upgrade} id={quoted(exchange.request_id)}\n"
    ).encode()


def json_line(exchange: ExchangeRecord) -> bytes:
    """The record for programs. Empty fields are left out."""
    exchange.path = clean_path(exchange.path)
    exchange.seconds = round(exchange.seconds, 6)
    try:
        encoded = _encode(exchange)
    except UnicodeEncodeError:  # a lone surrogate in what a visitor sent; one record must not cost the batch
        encoded = _encode(_without_surrogates(exchange))
    rest = encoded[encoded.index(b",") :]  # `at` is the first field; programs get it as RFC 3339 like every record
    head = f'{{"time":"{timestamp(exchange.at)}","level":"info","msg":"exchange"'
    return clean_json(head.encode() + rest) + b"\n"


LINES = {"text": text_line, "json": json_line, "journal": journal_line}
"""Writes one record, by the form of the log."""


def clean_path(path: str) -> str:
    """The path for the log: without its query, cut, and with texts that look like secrets removed."""
    path = path.partition("?")[0][:MAX_PATH]
    if "ta_" in path or "tt_" in path or "tc_" in path or "eyJ" in path or "v1." in path or "=" in path:
        return redact(path)  # every secret that a path can hold has one of these; to look for them costs far less
    return path


def _without_surrogates(exchange: ExchangeRecord) -> ExchangeRecord:
    for name in exchange.__struct_fields__:
        if isinstance(value := getattr(exchange, name), str):
            setattr(exchange, name, printable(value))
    return exchange


@lru_cache(maxsize=4096)
def visitor_part(peer: str, error: str, source: str, user: str, email: str, agent: str) -> str:
    """The part of a line that is the same for every request of one visitor."""
    named = (("error", error), ("source", source), ("user", user), ("email", email), ("agent", agent))
    return " ".join([f"peer={quoted(peer)}", *(f"{name}={quoted(value)}" for name, value in named if value)])


_encode = msgspec.json.Encoder().encode
