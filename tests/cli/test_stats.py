from hypothesis import given
from hypothesis import strategies as st

from tunnelctl.cli.stats import MAX_DURATIONS, ExchangeCounter, Stats, percentile


def test_an_idle_tunnel_has_zeros():
    assert ExchangeCounter().stats(100.0) == Stats(0, 0, 0.0, 0.0, 0.0, 0.0)


def test_rates_are_means_over_one_and_five_minutes():
    traffic = ExchangeCounter()
    for second in range(300):
        traffic.began(1000.0 + second)
    stats = traffic.stats(1299.5)
    assert (stats.rt1, stats.rt5) == (1.0, 1.0)
    assert traffic.stats(1299.5 + 240).rt1 == 0.0
    assert traffic.stats(1299.5 + 240).rt5 == 0.2


def test_open_exchanges_are_those_that_began_and_have_not_ended():
    traffic = ExchangeCounter()
    traffic.began(1.0)
    traffic.began(1.1)
    traffic.ended(0.5)
    assert traffic.stats(2.0)[:2] == (2, 1)


def test_memory_does_not_grow_with_traffic():
    traffic = ExchangeCounter()
    for number in range(5000):
        traffic.began(float(number))
        traffic.ended(1.0)
    assert len(traffic._durations) == MAX_DURATIONS
    assert len(traffic._per_second) == 300


@given(st.lists(st.floats(0, 1e6), max_size=50), st.floats(0, 1))
def test_a_percentile_is_one_of_the_values(values, share):
    assert percentile(sorted(values), share) in (values or [0.0])
