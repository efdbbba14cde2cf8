"""Reads parameters of a query or form and refuses duplicates, as parsers differ in which value they use.

Does no I/O.
"""

from collections.abc import Collection, Iterable

Params = Iterable[tuple[str, str]]
"""Parameters as (name, value) pairs in order, with duplicates."""


def single(params: Params, names: Collection[str]) -> dict[str, str] | None:
    """Return the parameters with these names; None when one of them occurs twice. Others are ignored."""
    found: dict[str, str] = {}
    for name, value in params:
        if name in found:
            return None
        if name in names:
            found[name] = value
    return found
