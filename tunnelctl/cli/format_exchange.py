"""Formats an exchange for display. Visitors control its content, so the result is printable ASCII only."""

from http import HTTPStatus

from tunnelctl.agent.proxy_header import PEER
from tunnelctl.agent.watcher import Exchange
from tunnelctl.wire.errors import Code

MAX_PATH = 512
"""Maximum characters of a path that are shown or logged."""
_FORWARDED_FOR = b"\r\nx-forwarded-for:"
_WORDS = {
    Code.UPSTREAM_UNREACHABLE: "Bad Gateway",
    Code.UPSTREAM_BROKEN: "Bad Gateway",
    Code.UPSTREAM_TIMEOUT: "Gateway Timeout",
    Code.CANCELLED: "visitor left",
    Code.NO_ERROR: "visitor left",
    Code.HEARTBEAT: "link lost",
}
_STATUS_OF = {Code.UPSTREAM_UNREACHABLE: 502, Code.UPSTREAM_BROKEN: 502, Code.UPSTREAM_TIMEOUT: 504}


def path_of(exchange: Exchange) -> str:
    """Return the path without its query, cut at MAX_PATH."""
    return printable(exchange.target.partition(b"?")[0])[:MAX_PATH]


def peer_of(exchange: Exchange) -> str:
    """Return the visitor's address, which the relay sets and a visitor cannot forge."""
    head = exchange.head
    if head.startswith(PEER):  # a TCP connection
        return printable(head[len(PEER) :].partition(b"\r\n")[0].rpartition(b":")[0].strip(b"[]"))
    start = head.lower().rfind(_FORWARDED_FOR)
    if start < 0:
        return ""
    start += len(_FORWARDED_FOR)
    end = head.find(b"\r\n", start)
    return printable(head[start : end if end >= 0 else len(head)].rpartition(b",")[2].strip())[:64]


def status_of(exchange: Exchange) -> int:
    """Return the status that the visitor received; 0 when there was none."""
    return exchange.status or (_STATUS_OF.get(exchange.code, 0) if exchange.code is not None else 0)


def status_words(exchange: Exchange) -> str:
    """Return the status as text: `200 OK`, `502 connection refused`, or `visitor left`."""
    status = status_of(exchange)
    if exchange.code is None or exchange.status:
        words = f"{status} {_phrase(status)}".rstrip()
        return words if exchange.code is None else f"{words} ({failure_words(exchange)})"
    return f"{status} {failure_words(exchange)}" if status else _WORDS.get(exchange.code, "broken off")


def failure_words(exchange: Exchange) -> str:
    """Return why the exchange failed."""
    code = exchange.code if exchange.code is not None else Code.NO_ERROR
    return printable(exchange.reason.encode()) or _WORDS.get(code, code.name.lower())


def printable(data: bytes) -> str:
    """Return printable ASCII unchanged and every other byte as `\\xNN`."""
    text = data.decode("ascii", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else f"\\x{ord(character):02x}" for character in text)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
