"""Reads parameters of a query or form and refuses duplicates, as readers differ in which value they take. Pure."""

from collections.abc import Collection, Iterable

Params = Iterable[tuple[str, str]]
"""In order, duplicates included."""


def single(params: Params, names: Collection[str]) -> dict[str, str] | None:
    """The named parameters; None when one of them occurs twice. All others are ignored."""
    found: dict[str, str] = {}
    for name, value in params:
        if name in found:
            return None
        if name in names:
            found[name] = value
    return found
