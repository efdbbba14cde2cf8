"""Damage done to good inputs, as data: a few bytes say what to do, so that varying bytes is all it takes."""

from tests.fuzz.corpus import WORDS

MAX_STEPS = 5
STEP = 4
"""Bytes of one step: where (2), how much goes away, and what comes in its place."""


def damaged(seed: bytes, recipe: bytes) -> bytes:
    """`seed` after the steps of `recipe`: pieces replaced by a word, by a byte, by a piece of itself, by nothing."""
    data = seed
    for at in range(0, min(len(recipe), MAX_STEPS * STEP) - STEP + 1, STEP):
        place, length, choice = int.from_bytes(recipe[at : at + 2]), recipe[at + 2], recipe[at + 3]
        start = place % (len(data) + 1)
        end = min(len(data), start + length % 9 if length < 224 else len(data))
        data = data[:start] + _instead(data, choice, length) + data[end:]
    return data


def _instead(data: bytes, choice: int, length: int) -> bytes:
    if choice < len(WORDS):
        return WORDS[choice]
    if choice < 160:
        return data[: length * 2]
    return bytes([length]) if choice < 224 else b""
