"""Finds the known word that a user probably meant, by edit distance."""

from collections.abc import Iterable

MAX_LENGTH = 64
"""Maximum characters of a word to compare: comparing with a known word costs its length times this."""
_STEPS = ((4, 1), (9, 2))
"""Pairs of (maximum length of the longer word, allowed edits); three edits for longer words."""


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the closest known word; None when none is close.

    An edit inserts, deletes or replaces a letter, or swaps two neighbours. Words of up to four letters may differ by
    one edit, of up to nine by two, longer ones by three. Leading dashes, case, and `-` for `_` are ignored.
    """
    if len(word) > MAX_LENGTH:
        return None
    typed = _bare(word)
    found = [(distance(typed, _bare(one)), one) for one in known]
    near = [(steps, one) for steps, one in found if steps <= _allowed(typed, _bare(one))]
    return min(near, key=lambda pair: pair[0])[1] if near else None


def distance(one: str, other: str) -> int:
    """Return the number of edits between two words (optimal string alignment distance)."""
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
    """Return how many edits are allowed between two words; at most half the letters of the shorter one."""
    longer, shorter = max(len(one), len(other)), min(len(one), len(other))
    steps = next((steps for letters, steps in _STEPS if longer <= letters), 3)
    return min(steps, shorter // 2)
