"""The count of requests by visitor: exact, fair between networks and owners, and bounded."""

from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.policy.making import policy
from tunnelctl.wire.messages import RateLimitSpec
from tunnelrelay.model import Identity
from tunnelrelay.policy import rate_limit
from tunnelrelay.policy.rate_limit import (
    MAX_VISITORS,
    SECOND,
    Counted,
    RateLimit,
    RateLimits,
    counted_by_address,
    counted_by_identity,
)

ANN, BOB = counted_by_address("203.0.113.7"), counted_by_address("198.51.100.7")
RATES = st.builds(lambda n, s, b: f"{n}/{s}s:{b}", st.integers(1, 1000), st.integers(1, 86_400), st.integers(1, 50))
TIMES = st.lists(st.floats(0, 1e6), max_size=60).map(sorted)


def limit(text: str, by: str = "visitor") -> RateLimit:
    """What the relay makes of a rule."""
    made = policy(rate_limit=RateLimitSpec(limit=text, by=by)).rate_limit
    assert made is not None
    return made


class Door:
    """One endpoint with a rule.

    Attributes:
        now: What its clock shows.
    """

    def __init__(self, text: str) -> None:
        self.limits = RateLimits()
        self.limit = limit(text)
        self.now = 1000.0

    def ask(self, counted: Counted = ANN, host: str = "demo.localhost", owner: str = "ann") -> int:
        return self.limits.wait(owner, host, self.limit, counted, self.now)


def test_a_rule_is_compiled_to_an_interval_and_a_burst():
    assert limit("100/1m:20") == RateLimit(interval=60 * SECOND // 100, burst=20, is_by_visitor=True)
    assert limit("10/s", "address") == RateLimit(interval=SECOND // 10, burst=10, is_by_visitor=False)


def test_the_burst_comes_at_once_and_then_one_in_each_interval():
    door = Door("2/1m:3")

    assert [door.ask() for _ in range(5)] == [0, 0, 0, 30, 30]
    door.now += 29.5
    assert door.ask() == 1
    door.now += 0.5
    assert [door.ask(), door.ask()] == [0, 30]
    door.now += 1_000
    assert [door.ask() for _ in range(4)] == [0, 0, 0, 30]


def test_what_is_refused_does_not_count():
    door = Door("1/10s")

    assert [door.ask() for _ in range(50)] == [0, *[10] * 49]
    door.now += 10
    assert door.ask() == 0


def test_seconds_to_wait_are_whole_and_rounded_up():
    door = Door("10/s:1")

    assert [door.ask(), door.ask()] == [0, 1]
    door.now += 0.1
    assert door.ask() == 0


@given(RATES, TIMES)
def test_no_more_pass_than_the_burst_and_what_time_has_earned(text, times):
    door = Door(text)
    passed = []
    for door.now in times:
        if door.ask() == 0:
            passed.append(door.now)

    for first in range(len(passed)):
        for last in range(first, len(passed)):
            earned = (passed[last] - passed[first]) * SECOND / door.limit.interval
            assert last - first + 1 <= door.limit.burst + earned + 1e-3


@given(RATES, st.integers(0, 10**12), st.integers(1, 80))
def test_a_visitor_who_waits_as_long_as_they_were_told_is_let_in(text, start, count):
    door = Door(text)
    door.now = start / 1e6
    waits = [door.ask() for _ in range(count)]
    assume(waits[-1])

    door.now += waits[-1]
    assert door.ask() == 0
    assert (waits[-1] - 1) * SECOND < door.limit.interval  # rounded up by less than a second


@given(RATES)
def test_one_who_keeps_the_interval_is_never_refused(text):
    door = Door(text)
    pace = door.limit.interval / SECOND
    for door.now in (pace * 1.001 * number for number in range(60)):
        assert door.ask() == 0


@given(st.lists(st.floats(-1e9, 1e9), max_size=60))
def test_whatever_the_clock_does_no_more_pass_than_time_going_forward_has_earned(times):
    door = Door("1/1s:5")
    passed = 0
    for door.now in times:
        passed += door.ask() == 0
    forward = sum(max(0.0, later - before) for before, later in pairwise(times))

    assert passed <= 5 + forward + 1e-3


def test_each_visitor_each_endpoint_and_each_owner_of_a_name_has_a_count():
    door = Door("1/1m")

    assert [door.ask(), door.ask(BOB), door.ask(host="other.localhost"), door.ask(owner="eve"), door.ask()] == [
        *(0, 0, 0, 0),
        60,
    ]


@pytest.mark.parametrize(
    ("before", "after", "wait"),
    [
        ("1/1h:1", "10/s", 1),  # one hour to wait becomes what one more request takes by the new rule
        ("1/1h:1", "1/1m:5", 60),
        ("5/1s", "1/1m", 1),
        ("100/1m", "100/1m", 0),
    ],
)
def test_a_changed_rule_counts_from_the_next_request_on(before, after, wait):
    door = Door(before)
    door.ask()

    door.limit = limit(after)

    assert door.ask() == wait
    door.now += wait
    assert door.ask() == 0


def test_a_rule_that_is_stricter_now_gives_its_own_burst_and_no_more():
    door = Door("100/1m")
    for _ in range(3):
        door.ask()

    door.limit = limit("2/1h")

    assert [door.ask() == 0 for _ in range(4)] == [True, False, False, False]


# Who is one visitor


def test_the_parts_of_a_large_ipv6_network_are_visitors_of_one_share():
    assert counted_by_address("2001:db8:1:2::/64") == Counted("2001:db8:1:2::/64", "2001:db8")
    assert counted_by_address("2001:db8::/64").share == "2001:db8"
    assert counted_by_address("203.0.113.7") == Counted("203.0.113.7", "203.0")
    assert counted_by_address("") == Counted("", "")


def test_a_person_is_one_visitor_however_they_are_called_and_nobody_else_is():
    ann = counted_by_identity(Identity(issuer="https://a", subject="1", email="ann@acme.com"))

    assert ann == counted_by_identity(Identity(issuer="https://a", subject="1", name="Ann"))
    others = [("https://a", "2"), ("https://b", "1"), ("https://a\n1", ""), ("", "https://a\n1")]
    keys = {counted_by_identity(Identity(issuer=issuer, subject=subject)).key for issuer, subject in others}
    assert len(keys | {ann.key}) == 5


# What is kept


def test_a_hostile_network_with_many_addresses_makes_the_relay_forget_its_own():
    door = Door("1/1h")
    assert [door.ask(), door.ask(BOB)] == [0, 0]
    for number in range(3 * MAX_VISITORS):
        assert door.ask(counted_by_address(f"2001:db8:{number >> 16:x}:{number & 0xFFFF:x}::/64")) == 0

    assert door.ask() > 0
    assert door.ask(BOB) > 0
    assert door.ask(counted_by_address("2001:db8:0:0::/64")) == 0  # one of its own, forgotten
    assert len(door.limits.visitors_of("ann", "demo.localhost")) == MAX_VISITORS


def test_one_who_goes_on_asking_while_they_are_refused_is_not_forgotten_first():
    door = Door("1/1h")
    door.ask()
    for number in range(2 * MAX_VISITORS):
        door.ask(counted_by_address(f"203.0.{number >> 8}.{number & 0xFF}x"))
        assert number % 1000 or door.ask() > 0


def test_owners_with_many_endpoints_make_the_relay_forget_their_own(monkeypatch):
    monkeypatch.setattr(rate_limit, "MAX_BYTES", 100 * (rate_limit.ENDPOINT_BYTES + rate_limit.VISITOR_BYTES))
    door = Door("1/1h")
    assert door.ask() == 0
    for number in range(1000):
        door.ask(host=f"h{number}.localhost", owner="eve")

    assert door.ask() > 0
    assert door.limits.endpoints.total <= rate_limit.MAX_BYTES
    assert door.ask(host="h999.localhost", owner="eve") > 0
    assert door.ask(host="h0.localhost", owner="eve") == 0
