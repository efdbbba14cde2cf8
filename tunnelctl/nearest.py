"""Finds the known word that was probably meant, by edit distance."""

from collections.abc import Iterable

MAX_LENGTH = 64
"""Characters of a word that is compared: each known word costs its length times this."""
_STEPS = ((4, 1), (9, 2))
"""Up to how many letters the longer word may have for how many keystrokes; beyond, three."""


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The closest known word, None when none is close.

    A keystroke is a letter too many, too few, wrong, or in its neighbour's place. A short word may differ by one of
    them, one of up to nine letters by two, a longer one by three; dashes in front, case, and `-` for `_` do not count.
    """
    if len(word) > MAX_LENGTH:
        return None
    typed = _bare(word)
    found = [(distance(typed, _bare(one)), one) for one in known]
    near = [(steps, one) for steps, one in found if steps <= _allowed(typed, _bare(one))]
    return min(near, key=lambda pair: pair[0])[1] if near else None


def distance(one: str, other: str) -> int:
    """Keystrokes between two words (optimal string alignment)."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        above, before, row = before, row, [i]
        for j, opposite in enumerate(other, 1):
            steps = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != opposite))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == opposite:
                steps = min(steps, above[j - 2] + 1)
            row.append(steps)
    return row[-1]


def _bare(word: str) -> str:
    return word.lstrip("-").lower().replace("_", "-")


def _allowed(one: str, other: str) -> int:
    """How many keystrokes two words may differ by; fewer than would change a whole word."""
    longer, shorter = max(len(one), len(other)), min(len(one), len(other))
    steps = next((steps for letters, steps in _STEPS if longer <= letters), 3)
    return min(steps, shorter // 2)
