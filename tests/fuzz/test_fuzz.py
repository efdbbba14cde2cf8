"""Every reader of hostile bytes, many inputs each, made from good ones by damage; `make fuzz` goes further."""

import random

import pytest

from tests.fuzz.corpus import SEEDS
from tests.fuzz.damage import MAX_STEPS, STEP, damaged
from tests.fuzz.targets import TARGETS
from tests.support.tools import ROOT, in_ci

IN_CI, ELSEWHERE = 3_000, 300
"""Inputs for each target, as docs/concepts/security.md says: others in every run, and a failure shows its own."""
MAX_RANDOM = 200
"""Bytes of an input that is made from none."""


def test_every_target_has_seeds():
    assert SEEDS.keys() == TARGETS.keys()


def test_the_docs_say_how_many_inputs_each_reader_gets():
    told = (ROOT / "docs" / "concepts" / "security.md").read_text()
    assert f"{len(TARGETS)} readers" in told
    assert f"{IN_CI:,} inputs each in CI, {ELSEWHERE} in `make test`" in told


@pytest.mark.parametrize("name", TARGETS)
def test_every_seed_is_read_or_refused(name):
    for seed in SEEDS[name]:
        TARGETS[name](seed)


@pytest.mark.parametrize("name", TARGETS)
def test_any_input_is_read_or_refused(name):
    """Rows 1, 10, 14, 17, 18, 24, 25, 43, 65, 66, 67, 70, 81, 85, 86, 87, 88, 89, 90, 104, 120."""
    chance = random.Random()
    for _ in range(IN_CI if in_ci() else ELSEWHERE):
        recipe = chance.randbytes(chance.randint(0, MAX_STEPS * STEP))
        made = damaged(chance.choice(SEEDS[name]), recipe), chance.randbytes(chance.randint(0, MAX_RANDOM))
        data = chance.choices(made, (3, 1))[0]
        try:
            TARGETS[name](data)
        except BaseException as error:
            error.add_note(f"input: {data!r}")
            raise
