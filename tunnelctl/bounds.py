"""How much of a peer's making a part of the program keeps: the record that modules fill in beside their limits.

A module that keeps something which a visitor, an agent, a provider or a user of the dashboard can make grow (a cache,
queue, counter or table) declares it in a module-level tuple named `BOUNDS`. `docs/concepts/limits.md` is written from
these tuples, and `tests/test_bounds.py` finds every growing attribute that none of them names. The limits themselves
stay plain `MAX_*` constants; this module enforces nothing.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredBound:
    """One limit on what peers can make the program keep or do.

    Attributes:
        name: What is bounded, as operators would say it: "requests waiting for a lost tunnel".
        limit: The largest count, as the constant that the code enforces.
        unit: What `limit` counts: "bytes", "entries", "requests".
        per: Whose share it is: "visitor connection", "address", "link", "tunnel", "endpoint", "owner", "user", "relay".
        when_full: What happens to the next one: "the oldest is forgotten", "429 with Retry-After".
        worst_bytes: Memory that one such share takes when full, by the arithmetic in the constant's docstring; 0 for
            what takes none of its own (a rate, a time).
        holds: The attributes that keep it, as `Class.attribute` of the declaring module.
    """

    name: str
    limit: int
    unit: str
    per: str
    when_full: str
    worst_bytes: int
    holds: tuple[str, ...] = ()
