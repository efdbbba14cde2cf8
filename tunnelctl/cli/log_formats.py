"""Formats log records: logfmt, JSON, and a form for terminals. Tools look for the keys `t`, `lvl` and `msg`."""

import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Literal

Style = Literal["logfmt", "json", "term"]
STYLES: tuple[Style, ...] = ("term", "logfmt", "json")
LEVELS = {"debug": "dbug", "info": "info", "warn": "warn", "error": "eror", "crit": "crit"}
"""Level as the flag takes it, and as the record spells it; in order of weight."""
WEIGHTS = {short: weight for weight, short in enumerate(LEVELS.values())}
_COLOURS = {"dbug": "36", "info": "32", "warn": "33", "eror": "31", "crit": "35"}

Value = str | int | float | None
Format = Callable[[float, str, str, Mapping[str, Value]], str]


def formatter(style: Style, *, is_terminal: bool, has_colours: bool) -> Format:
    """The function that formats records in this style; `term` is logfmt unless the output is a terminal."""
    if style == "json":
        return as_json
    if style == "logfmt" or not is_terminal:
        return as_logfmt
    return as_coloured if has_colours else as_term


def as_logfmt(at: float, level: str, message: str, fields: Mapping[str, Value]) -> str:
    """One line that Python's `shlex.split` takes apart again."""
    pairs = "".join([f" {key}={quoted(value)}" for key, value in fields.items()])
    return f"t={_local(int(at))} lvl={level} msg={quoted(message)}{pairs}\n"


def as_json(at: float, level: str, message: str, fields: Mapping[str, Value]) -> str:
    """One line, keys sorted, time in UTC with nanoseconds."""
    return (
        json.dumps({**fields, "t": _utc(at), "lvl": level, "msg": message}, sort_keys=True, separators=(",", ":"))
        + "\n"
    )


def as_coloured(at: float, level: str, message: str, fields: Mapping[str, Value]) -> str:
    """As `as_term`, with the level in its colour."""
    line = as_term(at, level, message, fields)
    return f"\x1b[{_COLOURS[level]}m{level.upper()}\x1b[0m{line[len(level) :]}"


def as_term(at: float, level: str, message: str, fields: Mapping[str, Value]) -> str:
    """One line for a terminal, without colours."""
    when = datetime.fromtimestamp(at).strftime("%m-%d|%H:%M:%S")
    pairs = "".join(f" {key}={quoted(value)}" for key, value in fields.items())
    return f"{level.upper()}[{when}] {_escaped(message):<40}{pairs}\n"


def quoted(value: Value) -> str:
    """A logfmt value: bare when it is harmless, else in double quotes with backslash sequences."""
    text = "nil" if value is None else str(value)
    if text.isascii() and text.translate(_HARMLESS) == "" and text:
        return text
    return '"' + _escaped(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'


_HARMLESS = dict.fromkeys(map(ord, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~:/?@!%+,()[]&;*"))


def _escaped(text: str) -> str:
    """Control characters as `\\n` or `\\x1b`: a visitor must not write to our terminal, nor forge a line."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


_second = (0, "")


def _local(second: int) -> str:
    """`2006-01-02T15:04:05-0700`. The last second is kept: formatting it costs more than the rest of a line."""
    global _second
    if _second[0] != second:
        _second = (second, time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(second)))
    return _second[1]


def _utc(at: float) -> str:
    whole = datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole}.{int(at % 1 * 1e9):09d}Z"
