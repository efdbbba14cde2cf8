"""Secrets that are looked for afterwards: planted where we choose them, collected where the relay or a provider does.

A canary that is found, whole or in part, as it is or encoded, in a place where nobody may read it, has leaked.
"""

import base64
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote

MIN_PIECE = 14
"""Characters: a beginning or end of this length names a secret well enough to count as a leak of it."""


@dataclass(frozen=True, slots=True)
class Leak:
    """A canary in a place where it must not be."""

    name: str
    place: str
    around: str


class Canaries:
    """See the module."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    def plant(self, name: str) -> str:
        """A secret that no pattern knows: nothing in its shape says what it is."""
        return self.collect(name, f"q{secrets.token_hex(12)}z")

    def collect(self, name: str, value: str) -> str:
        """Remembers a secret that somebody else has made, under a name that says what it was."""
        assert len(value) >= MIN_PIECE, f"{name} is too short to be told from other text"
        self._values[f"{name} #{len(self._values)}"] = value
        return value

    @property
    def names(self) -> set[str]:
        """What has been planted or collected, without numbers."""
        return {name.partition(" #")[0] for name in self._values}

    def leaks(self, places: Mapping[str, bytes]) -> list[Leak]:
        """Every canary found in one of the places."""
        return [leak for name, value in self._values.items() for leak in self._found(name, value, places)]

    def _found(self, name: str, value: str, places: Mapping[str, bytes]) -> Iterator[Leak]:
        needles = list(spellings(value))
        for place, content in places.items():
            hit = next((at for needle in needles if (at := content.find(needle)) >= 0), None)
            if hit is not None:
                yield Leak(name, place, content[max(0, hit - 60) : hit + 60].decode(errors="replace"))


def spellings(value: str) -> Iterator[bytes]:
    """The value's beginning and end, in every spelling in which a careless program writes it."""
    for piece in {part for part in pieces(value) if len(part) >= MIN_PIECE}:
        raw = piece.encode()
        yield raw
        yield quote(piece, safe="").encode()
        yield raw.hex().encode()
        for shift in range(3):  # base64 of a text that has it at any offset: without the edges its neighbours colour
            for encode in (base64.b64encode, base64.urlsafe_b64encode):
                yield encode(b"\0" * shift + raw)[(0, 2, 3)[shift] : -4]


def pieces(value: str) -> Iterator[str]:
    """What stands for the value: of a JWT or a sealed blob not its header, which many have in common."""
    if re.match(r"eyJ|v1\.", value):
        value = value.rpartition(".")[2]
    yield value[:MIN_PIECE]
    yield value[-MIN_PIECE:]
