"""How long something lasts, as people type it: `8h`, `1h 30m`, `90` seconds."""

import re

_PARTS = re.compile(r"([0-9]{1,9})\s*(d|h|min|m|s)\s*", re.IGNORECASE)
_ALONE = re.compile(r"[0-9]{1,9}")
_SECONDS = {"d": 86_400, "h": 3_600, "m": 60, "min": 60, "s": 1}


def parse(text: str) -> int | None:
    """The seconds; None when it is no duration."""
    text = text.strip()
    if _ALONE.fullmatch(text):
        return int(text)
    if not text or _PARTS.sub("", text):
        return None
    return sum(int(number) * _SECONDS[unit.lower()] for number, unit in _PARTS.findall(text))


def text(seconds: int) -> str:
    """The shortest way to type so many seconds."""
    parts = []
    for unit in ("d", "h", "m"):
        count, seconds = divmod(seconds, _SECONDS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return " ".join([*parts, f"{seconds}s"] if seconds or not parts else parts)
