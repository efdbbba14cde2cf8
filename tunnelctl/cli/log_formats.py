"""Formats log records: logfmt, JSON, and a form for terminals. Other tools read the keys `t`, `lvl` and `msg`."""

import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Literal

Style = Literal["logfmt", "json", "term"]
STYLES: tuple[Style, ...] = ("term", "logfmt", "json")
LEVELS = {"debug": "dbug", "info": "info", "warn": "warn", "error": "eror", "crit": "crit"}
"""Names of levels in records, by their name in the flag, in ascending order."""
WEIGHTS = {short: weight for weight, short in enumerate(LEVELS.values())}
_COLOURS = {"dbug": "36", "info": "32", "warn": "33", "eror": "31", "crit": "35"}

Value = str | int | float | None
Format = Callable[[float, str, str, Mapping[str, Value]], str]


def formatter(style: Style, *, is_terminal: bool, has_colours: bool) -> Format:
    """Return the function that formats records in this style; `term` is logfmt unless the output is a terminal."""
    if style == "json":
        return as_json
    if style == "logfmt" or not is_terminal:
        return as_logfmt
    return as_coloured if has_colours else as_term


def as_logfmt(at: float, level: str, message: str, fields: Mapping[str, Value]) -> str:
    """Return a record as one logfmt line, which Python's `shlex.split` can parse."""
    pairs = "".join([f" {key}={quoted(value)}" for key, value in fields.items()])
    return f"t={_local(int(at))} lvl={level} msg={quoted(message)}{pairs}\n"


def as_json(at: float, level: str, message: str, fields: Mapping[str, Value]) -> str:
    """Return a record as one line of JSON: sorted keys, time in UTC with nanoseconds."""
    return (
        json.dumps({**fields, "t": _utc(at), "lvl": level, "msg": message}, sort_keys=True, separators=(",", ":"))
        + "\n"
    )


def as_coloured(at: float, level: str, message: str, fields: Mapping[str, Value]) -> str:
    """Return a record in the form of `as_term`, with the level in its colour."""
    line = as_term(at, level, message, fields)
    return f"\x1b[{_COLOURS[level]}m{level.upper()}\x1b[0m{line[len(level) :]}"


def as_term(at: float, level: str, message: str, fields: Mapping[str, Value]) -> str:
    """Return a record as one line for a terminal, without colours."""
    when = datetime.fromtimestamp(at).strftime("%m-%d|%H:%M:%S")
    pairs = "".join(f" {key}={quoted(value)}" for key, value in fields.items())
    return f"{level.upper()}[{when}] {_escaped(message):<40}{pairs}\n"


def quoted(value: Value) -> str:
    """Return a logfmt value: unchanged if harmless, else in double quotes with backslash escapes."""
    text = "nil" if value is None else str(value)
    if text.isascii() and text.translate(_HARMLESS) == "" and text:
        return text
    return '"' + _escaped(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'


_HARMLESS = dict.fromkeys(map(ord, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~:/?@!%+,()[]&;*"))


def _escaped(text: str) -> str:
    """Return the text with control characters as `\\n` or `\\x1b`, so that a visitor can neither control our terminal
    nor forge a line.
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


_second = (0, "")


def _local(second: int) -> str:
    """Format a time as `2006-01-02T15:04:05-0700`.

    The last result is cached, as formatting costs more than the rest of a line.
    """
    global _second
    if _second[0] != second:
        _second = (second, time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(second)))
    return _second[1]


def _utc(at: float) -> str:
    whole = datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole}.{int(at % 1 * 1e9):09d}Z"
