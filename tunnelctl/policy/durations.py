"""Parses and formats durations as users type them: `8h`, `1h 30m`, `7d`."""

import re

UNITS = {"d": 86_400, "h": 3_600, "m": 60, "min": 60, "s": 1}
"""Seconds of each unit of time."""
LOOKS_LIKE = "1h, 30m or 1h30m"

_PARTS = re.compile(r"([0-9]{1,9})\s*(d|h|min|m|s)\s*", re.IGNORECASE | re.ASCII)


def parse_duration(text: str) -> int:
    """Parse a duration into seconds; `0` gives 0.

    Raises:
        ValueError: The text is not a number with a unit, or contains a unit twice.
    """
    text = text.strip()
    parts = _PARTS.findall(text)
    units = [unit.lower().removesuffix("in") for _, unit in parts]
    if text != "0" and (not parts or _PARTS.sub("", text) or len(set(units)) != len(units)):
        raise ValueError(f"{text[:64]!r} is not a duration like {LOOKS_LIKE}")
    return sum(int(number) * UNITS[unit.lower()] for number, unit in parts)


def format_duration(seconds: int) -> str:
    """Return the shortest text that `parse_duration` parses to this number of seconds, such as `1h30m`."""
    parts = []
    for unit in ("d", "h", "m", "s"):
        count, seconds = divmod(seconds, UNITS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
