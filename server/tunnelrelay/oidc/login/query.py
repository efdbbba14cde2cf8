"""Parameters of a query or form, read so that no two readers can take two values. Pure."""

from collections.abc import Collection, Iterable

Params = Iterable[tuple[str, str]]
"""In order, duplicates included."""


def single(params: Params, names: Collection[str]) -> dict[str, str] | None:
    """The parameters that matter, by name; None when one of them stands there twice. What else there is, is nothing."""
    found: dict[str, str] = {}
    for name, value in params:
        if name in found:
            return None
        if name in names:
            found[name] = value
    return found
