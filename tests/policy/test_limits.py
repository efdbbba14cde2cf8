"""Fair shares: what one address may take, and that counting it costs bounded memory."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnelctl.wire.limits import Bucket
from tunnelrelay.policy.limits import MAX_KEYS, Buckets, RetrySchedule, address_key, fair_share


def test_a_bucket_gives_its_burst_and_then_its_rate():
    bucket = Bucket(3, 0.5)

    assert [bucket.take(0.0) for _ in range(5)] == [True, True, True, False, False]
    assert bucket.seconds() == 2
    assert [bucket.take(1.9), bucket.take(2.0), bucket.take(2.0)] == [False, True, False]
    assert [bucket.take(1000.0) for _ in range(4)] == [True, True, True, False]


def test_row125_those_that_are_turned_away_come_back_one_after_the_other():
    turns = RetrySchedule(5.0, shortest=5, longest=300)
    waits = [turns.next("relay", 100.0) for _ in range(744)]

    assert waits[:3] == [5, 6, 6]
    assert waits == sorted(waits)
    assert waits[-1] == pytest.approx(5 + 744 / 5, abs=1)
    assert turns.next("another owner", 100.0) == 5


def test_row125_however_many_wait_none_is_kept_away_for_longer_than_the_longest():
    turns = RetrySchedule(5.0, shortest=5, longest=300)

    assert max(turns.next("relay", 0.0) for _ in range(5_000)) == 300
    assert turns.next("relay", 1_000.0) == 5


def test_the_shares_whose_turns_are_kept_are_limited():
    turns = RetrySchedule(5.0, shortest=5, longest=300)
    for number in range(3 * MAX_KEYS):
        turns.next(f"owner {number}", 0.0)

    assert len(turns) == MAX_KEYS


@given(st.lists(st.floats(-1e6, 1e6), max_size=60))
def test_whatever_the_clock_does_a_bucket_never_gives_more_than_its_burst_and_what_time_has_earned(times):
    """Row 130."""
    bucket = Bucket(5, 1.0)
    granted = sum(bucket.take(now) for now in times)
    forward = sum(max(0.0, later - before) for before, later in pairwise(times))

    assert granted <= 5 + forward + 1e-6


def test_each_key_has_a_bucket_of_its_own():
    buckets = Buckets(1, 1.0)

    assert [buckets.wait(key, 0.0) for key in ("a", "b", "a")] == [0, 0, 1]


def test_row126_the_addresses_a_limit_remembers_are_limited_and_the_ones_in_use_stay():
    buckets = Buckets(1, 0.001, max_keys=100)
    buckets.wait("busy", 0.0)
    for number in range(1000):
        buckets.wait(f"other {number}", 0.0)
        assert buckets.wait("busy", 0.0) > 0

    assert len(buckets) == 100


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"),
        ("127.0.0.1", ""),
        ("127.9.9.9", ""),
        ("::1", ""),
        ("", ""),
        ("not an address", ""),
    ],
)
def test_row126_an_ipv6_network_counts_as_one_and_this_machine_not_at_all(host, key):
    assert address_key(host) == key


def test_row126_one_who_takes_all_he_can_leaves_a_third():
    mine = 0
    while fair_share(mine, mine, 20_000):
        mine += 1

    assert 6_600 < mine < 6_700
    assert fair_share(0, mine, 20_000)


def test_row126_many_who_take_all_they_can_leave_room_for_the_next_until_nothing_is_left():
    taken = [0] * 20
    while True:
        before = sum(taken)
        for who, mine in enumerate(taken):
            if fair_share(mine, sum(taken), 20_000):
                taken[who] += 1
        if sum(taken) == before:
            break

    assert max(taken) - min(taken) <= 1
    assert 20_000 - sum(taken) > 1_000
    assert fair_share(31, sum(taken), 20_000)
    assert not fair_share(0, 20_000, 20_000)


def test_looking_whether_a_bucket_is_empty_takes_nothing():
    buckets = Buckets(1, 1.0)

    assert not any(buckets.is_empty("a", 0.0) for _ in range(10))
    assert [buckets.wait("a", 0.0), buckets.is_empty("a", 0.5), buckets.is_empty("a", 1.0)] == [0, True, False]
