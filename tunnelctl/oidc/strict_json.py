"""Parses untrusted JSON strictly: it refuses documents that parsers may read differently.

Python's parser accepts documents that parsers read differently (the last of two equal keys wins, `NaN` is a number,
half a surrogate pair is text) or that cost much to read (deep nesting). Tokens and metadata that use any of these are
refused.
"""

import json
import math
from typing import Any


class NotStrictJson(ValueError):
    """The bytes are not JSON that all parsers read in the same way."""


def parse_object(data: bytes, *, max_bytes: int) -> dict[str, Any]:
    """Parse `data` as a single JSON object.

    Raises:
        NotStrictJson: `data` is not strict JSON, not an object, or longer than `max_bytes`.
    """
    if len(data) > max_bytes:
        raise NotStrictJson(f"{len(data)} bytes of JSON, expected no more than {max_bytes}")
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse, parse_float=_finite)
        # A lone surrogate (`"\\ud800"`) is not valid text: it would fail later, when it is first encoded.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise NotStrictJson(str(error) or "nested too deep") from error
    if not isinstance(value, dict):
        raise NotStrictJson("not a JSON object")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise NotStrictJson("a member stands there twice")
    return members


def _refuse(name: str) -> float:
    raise NotStrictJson(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise NotStrictJson("a number too large")
    return number
