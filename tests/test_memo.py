"""The cache of peers' bytes: right, and small whatever peers send."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnelctl.memo import MAX_ENTRIES, Memo, Recent


def test_what_is_known_is_not_worked_out_again():
    asked = []
    memo = Memo(lambda key: asked.append(key) or len(key), max_bytes=8)
    assert [memo[b"abc"], memo[b"abc"], memo[b"de"]] == [3, 3, 2]
    assert asked == [b"abc", b"de"]


def test_inventing_keys_fills_no_memory():
    memo = Memo(len, max_bytes=8)
    for number in range(3 * MAX_ENTRIES):
        assert memo[b"%d" % number] == len(b"%d" % number)
    assert len(memo) <= MAX_ENTRIES


def test_long_keys_are_worked_out_and_not_kept():
    memo = Memo(len, max_bytes=8)
    assert memo[b"y" * 9] == 9
    assert not memo


@given(st.lists(st.tuples(st.binary(max_size=3), st.integers(0, 2_000)), max_size=60))
def test_no_keys_and_no_results_make_it_larger_than_its_bound(keys):
    memo = Memo(lambda key: (key[0] * key[1], None, key[1]), max_bytes=8, max_total=5_000)
    for key in keys:
        assert memo[key] == (key[0] * key[1], None, key[1])
        assert 0 <= memo.total <= 5_000
        assert bool(memo) == bool(memo.total)


@pytest.mark.parametrize("size", [1, 60, 1_000, 30_000])
def test_the_bound_in_bytes_is_true_memory(size):
    tracemalloc.start()
    try:
        memo = Memo(lambda key: (key.decode(), key + b"x"), max_bytes=size + 8, max_total=1_000_000)
        for number in range(3 * MAX_ENTRIES if size < 10_000 else 300):
            memo[b"%08d" % number + b"k" * size]
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert used < 1_300_000


def test_of_recent_entries_the_one_set_the_longest_ago_goes():
    recent = Recent[str, int](2)
    recent["a"] = 1
    recent["b"] = 2
    recent["a"] = 3
    recent["c"] = 4
    assert dict(recent) == {"a": 3, "c": 4}
