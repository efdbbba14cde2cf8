"""Parses JSON from strangers strictly: documents that readers could take differently are refused.

Python's parser is generous where two readers of a document may differ (the last of two equal keys wins, `NaN` is a
number, half a surrogate pair is text) or where a small document costs much (deep nesting). Tokens and metadata that use
any of it are refused.
"""

import json
import math
from typing import Any


class NotStrictJson(ValueError):
    """The bytes are not JSON that every reader reads alike."""


def parse_object(data: bytes, *, max_bytes: int) -> dict[str, Any]:
    """The one JSON object that `data` is.

    Raises:
        NotStrictJson: For anything else, and for more than `max_bytes`.
    """
    if len(data) > max_bytes:
        raise NotStrictJson(f"{len(data)} bytes of JSON, expected no more than {max_bytes}")
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse, parse_float=_finite)
        # A lone surrogate (`"\\ud800"`) is no text: it would fail later, wherever it is first written out.
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
