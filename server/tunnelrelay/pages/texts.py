"""The texts of the relay's pages, read from `en.toml` by dotted key."""

import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from typing import Any


def say(key: str, **values: str) -> str:
    """Return the text of a key, such as `errors.relay_busy.title`, with values filled in for its `{names}`.

    Values are inserted as they are, braces included. The template escapes for HTML.

    Raises:
        KeyError: The key does not exist, or a name in its text has no value.
    """
    return texts()[key].format_map(values)


@cache
def texts() -> Mapping[str, str]:
    """Return all texts by dotted key."""
    source = resources.files("tunnelrelay.pages").joinpath("en.toml").read_text(encoding="utf-8")
    return dict(_flat("", tomllib.loads(source)))


def _flat(prefix: str, section: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in section.items():
        if isinstance(value, str):
            yield f"{prefix}{name}", value
        else:
            yield from _flat(f"{prefix}{name}.", value)
