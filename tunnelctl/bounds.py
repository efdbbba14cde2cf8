"""The record with which a module declares how much data of untrusted peers it keeps.

A module that keeps something which a visitor, an agent, a provider or a dashboard user can make grow (a cache, queue,
counter or table) declares the limit in a module-level tuple named `BOUNDS`. `docs/concepts/limits.md` is generated from
these tuples, and `tests/bounds` finds growing attributes that no tuple names. The limits themselves are plain `MAX_*`
constants; this module enforces nothing.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredBound:
    """A limit on what peers can make the program keep or do.

    Attributes:
        name: What is limited, in the words of operators: "requests waiting for a lost tunnel".
        limit: The maximum, given as the constant that the code enforces.
        unit: Unit of `limit`: "bytes", "entries", "requests".
        per: What the limit applies to: "visitor connection", "address", "link", "tunnel", "endpoint", "owner", "user",
            "relay".
        when_full: What happens to the next entry: "the oldest is forgotten", "429 with Retry-After".
        worst_bytes: Memory in bytes when the limit is reached once, by the arithmetic in the constant's docstring; 0
            for limits that need no memory (a rate, a time).
        holds: The attributes that the limit bounds, as `Class.attribute` of the declaring module.
    """

    name: str
    limit: int
    unit: str
    per: str
    when_full: str
    worst_bytes: int
    holds: tuple[str, ...] = ()
