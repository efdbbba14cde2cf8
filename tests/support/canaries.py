"""Canaries: secrets that a test uses and afterwards searches for in logs, pages and files, where they must not be.

A canary is planted where the test chooses the secret, and collected where the relay or a provider has made it. It has
leaked when it is found whole or in part, plain or encoded.
"""

import base64
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote

MIN_PIECE = 14
"""Characters of a secret's beginning or end that count as a leak of the secret."""


@dataclass(frozen=True, slots=True)
class Leak:
    """A canary that was found in a place where it must not be.

    Attributes:
        around: The text around it.
    """

    name: str
    place: str
    around: str


class Canaries:
    """The secrets of one test, and the search for them."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    def plant(self, name: str) -> str:
        """Return a new secret whose form no redaction pattern recognises."""
        return self.collect(name, f"q{secrets.token_hex(12)}z")

    def collect(self, name: str, value: str) -> str:
        """Note a secret that the relay or a provider has made, under a name that says what it is. Returns the value."""
        assert len(value) >= MIN_PIECE, f"{name} is too short to be told from other text"
        self._values[f"{name} #{len(self._values)}"] = value
        return value

    @property
    def names(self) -> set[str]:
        """The names of all secrets that were planted or collected, without their numbers."""
        return {name.partition(" #")[0] for name in self._values}

    def leaks(self, places: Mapping[str, bytes]) -> list[Leak]:
        """Return every canary that is found in one of the places, whose contents are given by name."""
        return [leak for name, value in self._values.items() for leak in self._found(name, value, places)]

    def _found(self, name: str, value: str, places: Mapping[str, bytes]) -> Iterator[Leak]:
        needles = list(spellings(value))
        for place, content in places.items():
            hit = next((at for needle in needles if (at := content.find(needle)) >= 0), None)
            if hit is not None:
                yield Leak(name, place, content[max(0, hit - 60) : hit + 60].decode(errors="replace"))


def spellings(value: str) -> Iterator[bytes]:
    """Yield a secret's beginning and end as plain text, URL-encoded, in hexadecimal and in base64."""
    for piece in {part for part in pieces(value) if len(part) >= MIN_PIECE}:
        raw = piece.encode()
        yield raw
        yield quote(piece, safe="").encode()
        yield raw.hex().encode()
        for shift in range(3):  # at any offset in an encoded text, without the digits that depend on the text around it
            for encode in (base64.b64encode, base64.urlsafe_b64encode):
                yield encode(b"\0" * shift + raw)[(0, 2, 3)[shift] : -4]


def pieces(value: str) -> Iterator[str]:
    """Yield a secret's beginning and end; for a JWT or encrypted blob those of its last part, as headers are common."""
    if re.match(r"eyJ|v1\.", value):
        value = value.rpartition(".")[2]
    yield value[:MIN_PIECE]
    yield value[-MIN_PIECE:]
