"""Spellings of header field names that some application server reads as another name."""

import random
from collections.abc import Iterable

from tunnelrelay.policy.header_names import BELIEVED

PUNCTUATION = "!#$%&'*+-.^_`|~"
"""Characters that a field name may contain besides letters and digits (RFC 9110 section 5.6.2)."""


def believed_names() -> list[str]:
    """Return the usual spelling of one header field for each pattern in `BELIEVED`, the fields that apps trust."""
    return [row.pattern.decode().replace("*", "user") for row in BELIEVED]


def respell(name: str, chance: random.Random) -> str:
    """Return a field name with other punctuation and another case, chosen at random."""
    return "".join(
        chance.choice(PUNCTUATION) if letter == "-" else chance.choice((letter.upper(), letter)) for letter in name
    )


def spellings(names: Iterable[str], *, each: int, seed: int) -> list[str]:
    """Return several spellings of every name, among them those with `_` and with `.` for every hyphen.

    The result depends only on the arguments.
    """
    chance = random.Random(seed)
    found = []
    for name in names:
        found += [name.title(), name.upper().replace("-", "_"), name.replace("-", ".")]
        found += [respell(name, chance) for _ in range(each)]
    return list(dict.fromkeys(found))
