"""How values of flags are read, whatever the flag: several of one kind, durations, `NAME=VALUE`. Pure."""

import re
from collections.abc import Callable, Iterable
from typing import TypeVar

from tunnelctl.wire.problem import Problem

T = TypeVar("T")

MAX_DURATION = 365 * 24 * 3600
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


def each(flag: str, texts: Iterable[str], parse: Callable[[str], T], problems: list[Problem]) -> tuple[T, ...]:
    """What the texts mean; each that means nothing becomes a problem."""
    values: list[T] = []
    for text in texts:
        try:
            values.append(parse(text))
        except ValueError as error:
            problems.append(Problem(flag, str(error)))
    return tuple(values)


def parse_duration(text: str) -> int:
    """Seconds of `1h30m`, `90s` or `45m`.

    Raises:
        ValueError: It is none of these, nothing, or longer than a year.
    """
    match = _DURATION.fullmatch(text)
    hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match else (0, 0, 0)
    total = hours * 3600 + minutes * 60 + seconds
    if not 0 < total <= MAX_DURATION:
        raise ValueError(f"{text!r} is not a duration like 1h, 30m or 1h30m")
    return total


def duration_or_never(text: str) -> int:
    """As `parse_duration`, and 0 for `0`, which means never."""
    return 0 if text in ("0", "0s") else parse_duration(text)


def name_value(text: str) -> tuple[str, str]:
    """Both halves of `NAME=VALUE`. Raises ValueError when it is not that."""
    name, equals, value = text.partition("=")
    if not equals or not name or not value:
        raise ValueError(f"{text!r} is not NAME=VALUE")
    return name, value


def pairs_of(text: str) -> list[str]:
    """The `USER:PASS` of a text that may hold several, separated by commas as ngrok takes them.

    A comma counts only where a pair stands on either side of it, and none in a text that begins with a double quote:
    `"ann:a,b:c"` is one pair. What names a file or a variable is one too.
    """
    if text.startswith(("env:", "file:")):
        return [text]
    if text.startswith('"') and text.endswith('"') and len(text) > 1:
        return [text[1:-1]]
    parts = text.split(",")
    return parts if all(":" in part for part in parts) else [text]


def not_empty(text: str) -> str:
    """The text itself. Raises ValueError when nothing but spaces is in it."""
    if not text.strip():
        raise ValueError("it is empty")
    return text


def one_of(*choices: str) -> Callable[[str], str]:
    """A reader of these words and no others."""

    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(f"{text!r} is none of {', '.join(choices)}")
        return text

    return read
