from hypothesis import given
from hypothesis import strategies as st

from tunnelctl.agent.backoff import FIRST, LAST_CEILING, STEADY_AFTER, Backoff, ceiling_after


def test_the_first_waits_double_from_a_tenth_of_a_second():
    backoff = Backoff(lambda: 1.0)
    assert [backoff.next_delay(0.0) for _ in range(4)] == [0.1, 0.2, 0.4, 0.4]


def test_a_relay_that_is_back_within_half_a_minute_waits_less_than_half_a_second_for_us():
    backoff, now = Backoff(lambda: 1.0), 0.0
    while now < 29.0:
        delay = backoff.next_delay(now)
        now += delay
        assert delay <= 0.4


def test_a_long_outage_is_asked_about_every_half_minute_at_most():
    """Row 125."""
    backoff = Backoff(lambda: 1.0)
    for _ in range(20):
        backoff.next_delay(0.0)
    assert backoff.next_delay(100.0) == 5.0
    assert backoff.next_delay(301.0) == LAST_CEILING


@given(st.floats(0.0, 1.0), st.lists(st.floats(0.0, 1e6), min_size=1, max_size=50))
def test_every_wait_is_drawn_from_zero_to_its_ceiling(dice, times):
    """Row 125."""
    backoff, start = Backoff(lambda: dice), min(times)
    for now in sorted(times):
        assert 0.0 <= backoff.next_delay(now) <= dice * ceiling_after(now - start) + 1e-9


def test_a_link_that_lasted_starts_over_and_one_that_did_not_goes_on():
    backoff = Backoff(lambda: 1.0)
    backoff.next_delay(0.0)
    assert not backoff.note_link(STEADY_AFTER / 2)
    assert backoff.next_delay(1.0) == 2 * FIRST
    assert backoff.note_link(STEADY_AFTER)
    assert backoff.next_delay(1000.0) == FIRST


def test_an_outage_of_months_does_not_overflow():
    backoff = Backoff(lambda: 1.0)
    for _ in range(5000):
        delay = backoff.next_delay(1e9)
    assert delay <= LAST_CEILING
