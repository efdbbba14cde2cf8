"""Field names in spellings that some server behind the relay reads as another name."""

import random
from collections.abc import Iterable

from tunnelrelay.policy.header_names import BELIEVED

PUNCTUATION = "!#$%&'*+-.^_`|~"
"""What a field name may hold beside letters and digits (RFC 9110 section 5.6.2)."""


def believed_names() -> list[str]:
    """One name for each pattern of the relay's table, as its software writes it."""
    return [row.pattern.decode().replace("*", "user") for row in BELIEVED]


def respell(name: str, chance: random.Random) -> str:
    """The name with other punctuation and in other case."""
    return "".join(
        chance.choice(PUNCTUATION) if letter == "-" else chance.choice((letter.upper(), letter)) for letter in name
    )


def spellings(names: Iterable[str], *, each: int, seed: int) -> list[str]:
    """Several spellings of every name, `_` and `.` for all its hyphens among them, the same for the same seed."""
    chance = random.Random(seed)
    found = []
    for name in names:
        found += [name.title(), name.upper().replace("-", "_"), name.replace("-", ".")]
        found += [respell(name, chance) for _ in range(each)]
    return list(dict.fromkeys(found))
