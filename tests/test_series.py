"""Figures of the last ten minutes: right to the second, and never larger."""

from collections import Counter
from sys import getsizeof

from hypothesis import given
from hypothesis import strategies as st

from tests.bounds.driving import bound_of, table
from tunnelctl.series import (
    FAILED,
    OTHER,
    REFUSED,
    SECONDS_BOUNDS,
    SPAN_SECONDS,
    UNTIMED,
    Series,
    bucket_of,
    quantile,
)

NOW = 1_763_895_600


def test_requests_and_what_went_wrong_with_them_are_counted_by_the_second_they_ended_in() -> None:
    series = Series()
    series.add(NOW - 2, OTHER, bucket_of(0.004), 5)
    series.add(NOW - 2, REFUSED, bucket_of(0.004), 2)
    series.add(NOW - 1, FAILED, bucket_of(0.004))

    counted = [(each.at, each.requests, each.refused, each.failed) for each in series.figures(NOW, 3, 1)]

    assert counted == [(NOW - 2, 7, 2, 0), (NOW - 1, 1, 0, 1), (NOW, 0, 0, 0)]


def test_a_total_leaves_out_the_second_that_is_not_over() -> None:
    series = Series()
    series.add(NOW - 60, OTHER, 0)
    series.add(NOW - 1, OTHER, 0)
    series.add(NOW, OTHER, 0, 1000)

    total = series.total(NOW + 0.5, 60)

    assert (total.requests, total.rate) == (2, 2 / 60)


def test_stretches_stay_where_they_are_while_time_goes_on() -> None:
    series = Series()
    before = [each.at for each in series.figures(NOW, SPAN_SECONDS, 5)]
    after = [each.at for each in series.figures(NOW + 4.9, SPAN_SECONDS, 5)]
    assert before == after
    assert len(before) == SPAN_SECONDS // 5


def test_what_is_older_than_ten_minutes_is_gone() -> None:
    series = Series()
    series.add(NOW, OTHER, 0, 7)
    series.add(NOW + SPAN_SECONDS, OTHER, 0)
    assert series.total(NOW + SPAN_SECONDS, SPAN_SECONDS).requests == 0
    assert sum(each.requests for each in series.figures(NOW + SPAN_SECONDS, SPAN_SECONDS, 1)) == 1


def test_a_clock_that_was_put_back_spoils_nothing() -> None:
    series = Series()
    series.add(NOW, OTHER, 0, 7)
    series.add(NOW - SPAN_SECONDS, OTHER, 0)
    assert series.figures(NOW, 1, 1)[0].requests == 7


def test_a_series_is_as_large_as_the_time_in_which_something_was_counted() -> None:
    once, busy = Series(), Series()
    once.add(NOW, OTHER, 0)
    for second in range(3 * SPAN_SECONDS):
        busy.add(NOW + second, OTHER, 0)

    assert size_of(once) < 2_000
    assert size_of(busy) < 28_000


@given(st.lists(st.integers(-700, 700), max_size=60), st.integers(0, 600))
def test_a_series_counts_each_second_of_the_last_ten_minutes_whatever_the_order(seconds: list[int], idle: int) -> None:
    series, counted = Series(), Counter[int]()
    latest = -SPAN_SECONDS - 700
    for second in seconds:
        if second > latest - SPAN_SECONDS:
            counted[second] += 1
        latest = max(latest, second)
        series.add(NOW + second, OTHER, 0)
    now = max(latest, -SPAN_SECONDS) + idle
    series.forget(NOW + now)

    shown = {int(each.at) - NOW: each.requests for each in series.figures(NOW + now, SPAN_SECONDS, 1) if each.requests}
    assert shown == {second: count for second, count in counted.items() if now - SPAN_SECONDS < second <= now}


def test_a_series_that_was_busy_and_is_idle_gives_its_memory_back() -> None:
    series = Series()
    for second in range(SPAN_SECONDS):
        series.add(NOW + second, OTHER, 0)
    series.forget(NOW + 2 * SPAN_SECONDS)

    assert size_of(series) < 4_000


def size_of(series: Series) -> int:
    """Bytes of a series and what it keeps."""
    blocks = table(series, bound_of("figures of the last ten minutes"))
    return getsizeof(series) + getsizeof(blocks) + sum(getsizeof(key) + getsizeof(each) for key, each in blocks.items())


def test_a_second_with_more_than_can_be_counted_stays_at_the_most() -> None:
    series = Series()
    series.add(NOW, OTHER, 0, 60_000)
    series.add(NOW, OTHER, 0, 60_000)
    assert series.figures(NOW, 1, 1)[0].requests == 0xFFFF


def test_a_websocket_counts_as_a_request_and_not_as_a_slow_one() -> None:
    series = Series()
    series.add(NOW - 1, OTHER, UNTIMED)
    total = series.total(NOW, 10)
    assert (total.requests, total.p95) == (1, None)


def test_latencies_are_right_to_their_class() -> None:
    series = Series()
    for seconds in (0.002,) * 90 + (0.3,) * 10:
        series.add(NOW - 1, OTHER, bucket_of(seconds))
    total = series.total(NOW, 1)
    assert total.p50 is not None
    assert total.p95 is not None
    assert 0.001 < total.p50 < 0.0025
    assert 0.25 < total.p95 < 0.5


@given(st.lists(st.integers(0, 100), min_size=len(SECONDS_BOUNDS) + 1, max_size=len(SECONDS_BOUNDS) + 1))
def test_of_any_latencies_the_95th_is_no_less_than_the_median_and_both_are_within_bounds(counts: list[int]) -> None:
    median, high = quantile(counts, 0.5), quantile(counts, 0.95)
    if median is None or high is None:
        assert sum(counts) == 0
    else:
        assert 0 <= median <= high <= SECONDS_BOUNDS[-1]
