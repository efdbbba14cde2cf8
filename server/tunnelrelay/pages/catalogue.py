"""What the pages say, in the language of their reader. The words are in `words/LANGUAGE.toml`, one file each.

Which language a page speaks depends on who asked, not on what happened. So it is no argument of every function that
may end in a page: the code that takes up a request says `with speaking(...)`, and pages written inside ask `words()`.
"""

import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from typing import Any, Literal

ENGLISH = "en"
MAX_ACCEPT = 256
"""Bytes of Accept-Language that are read. Browsers send under 100; a longer list only costs work."""
_ISOLATE = "\u2068{}\u2069"
"""Unicode's isolates (UAX 9): a host name inside a right-to-left sentence keeps its own order and disturbs no other."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """One language.

    Attributes:
        language: As `lang` and `Content-Language` have it (BCP 47).
        direction: As `dir` has it.
        lines: Text with `{names}` by its dotted key, such as `errors.relay_busy.title`.
    """

    language: str
    direction: Literal["ltr", "rtl"]
    lines: Mapping[str, str]

    def say(self, key: str, **values: str) -> str:
        """Returns a text with its names filled in. What is filled in is never read as a text with names itself."""
        if values and self.direction == "rtl":
            values = {name: _ISOLATE.format(value) for name, value in values.items()}
        return self.lines[key].format_map(values)


def read_catalogue(text: str) -> Catalogue:
    """Returns the catalogue that a file holds."""
    sections = tomllib.loads(text)
    about = sections.pop("about")
    return Catalogue(about["language"], about["direction"], dict(_flat("", sections)))


@cache
def catalogues() -> dict[str, Catalogue]:
    """Every language there is, by its lower-case tag."""
    folder = resources.files("tunnelrelay.pages").joinpath("words")
    read = [read_catalogue(file.read_text(encoding="utf-8")) for file in folder.iterdir() if file.name.endswith("toml")]
    return {catalogue.language.lower(): catalogue for catalogue in read}


def english() -> Catalogue:
    """The language of programs, and of everybody whose own there is not."""
    return catalogues()[ENGLISH]


@lru_cache(maxsize=64)
def chosen(languages: bytes | None) -> Catalogue:
    """Returns the catalogue that fits an Accept-Language field best, English when none does.

    Args:
        languages: The field's value, whatever was sent; None without the field.
    """
    return catalogues()[best_of((languages or b"")[:MAX_ACCEPT], frozenset(catalogues()))]


def best_of(languages: bytes, there: frozenset[str]) -> str:
    """Returns one of `there`: the visitor's first choice that exists, by RFC 4647 section 3.4 (look-up).

    `de-AT` takes `de` when there is no `de-at`; `*` and whatever cannot be read mean English.
    """
    for wanted in _by_preference(languages):
        tag = wanted
        while tag:
            if tag in there:
                return tag
            tag = tag.rpartition("-")[0]
    return ENGLISH


_SPOKEN: ContextVar[Catalogue | None] = ContextVar("_SPOKEN", default=None)


@contextmanager
def speaking(catalogue: Catalogue) -> Iterator[None]:
    """Pages written inside, by this task or what it calls, are in this language."""
    before = _SPOKEN.set(catalogue)
    try:
        yield
    finally:
        _SPOKEN.reset(before)


def words() -> Catalogue:
    """The language spoken here."""
    return _SPOKEN.get() or english()


def _by_preference(languages: bytes) -> list[str]:
    """The tags that are wanted at all, the most wanted first; those alike in the order they were sent."""
    weighed = []
    for item in languages.decode("latin-1").lower().split(","):
        tag, _, parameter = item.partition(";")
        weight = _weight(parameter.strip())
        if weight > 0:
            weighed.append((-weight, tag.strip()))
    return [tag for _, tag in sorted(weighed, key=lambda entry: entry[0])]


def _weight(parameter: str) -> float:
    if not parameter:
        return 1.0
    digits = parameter.removeprefix("q=")
    is_number = digits != parameter and digits.isascii() and digits.replace(".", "", 1).isdigit()
    return float(digits) if is_number else 0.0


def _flat(prefix: str, section: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in section.items():
        if isinstance(value, str):
            yield f"{prefix}{name}", value
        else:
            yield from _flat(f"{prefix}{name}.", value)
