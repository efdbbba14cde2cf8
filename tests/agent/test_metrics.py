from hypothesis import given
from hypothesis import strategies as st

from tests.bounds.driving import measured
from tunnelctl.agent.metrics import MAX_DURATIONS, STEP, STEPS, Meter, MeterReading, percentile, read_meters

ZEROS = MeterReading(count=0, gauge=0, rate1=0.0, rate5=0.0, rate15=0.0, p50=0.0, p90=0.0, p95=0.0, p99=0.0)


def test_an_idle_tunnel_has_zeros():
    assert read_meters(100.0, Meter()) == ZEROS
    assert read_meters(100.0) == ZEROS


def test_rates_are_means_over_one_five_and_fifteen_minutes():
    meter = Meter()
    for second in range(900):
        meter.began(1000.0 + second)
    now = read_meters(1899.5, meter)
    assert (now.rate1, now.rate5, now.rate15) == (1.0, 1.0, 1.0)
    later = read_meters(1899.5 + 240, meter)
    assert (later.rate1, later.rate5) == (0.0, 0.2)
    assert read_meters(1899.5 + 900, meter).rate15 == 0.0


def test_open_exchanges_are_those_that_began_and_have_not_ended():
    meter = Meter()
    meter.began(1.0)
    meter.began(1.1)
    meter.ended(0.5)
    assert (meter.count, meter.gauge) == (2, 1)


def test_two_meters_are_read_as_one():
    slow, fast = Meter(), Meter()
    for meter, seconds in ((slow, 9.0), (fast, 1.0), (fast, 2.0)):
        meter.began(50.0)
        meter.ended(seconds)
    now = read_meters(50.0, slow, fast)
    assert (now.count, now.gauge, now.rate1, now.p50, now.p99) == (3, 0, 3 / 60, 2.0, 9.0)


def test_memory_does_not_grow_with_traffic():
    with measured() as memory:
        meter = Meter()
        for number in range(5000):
            meter.began(float(number))
            meter.ended(float(number))
        assert memory.taken < 64_000
    assert len(meter.durations) == MAX_DURATIONS


@given(st.lists(st.integers(0, 3 * STEPS * STEP), max_size=60), st.integers(0, STEPS * STEP))
def test_what_is_counted_is_what_began_in_the_last_steps(gaps, wait):
    meter, began, now = Meter(), [], 0
    for gap in gaps:
        now += gap
        meter.began(float(now))
        began.append(now)
    now += wait
    for minutes in (1, 5, 15):
        first = now // STEP - minutes * 60 // STEP
        assert meter.counted(float(now), minutes) == sum(first < at // STEP for at in began)


@given(st.lists(st.floats(0, 1e6), max_size=50), st.floats(0, 1))
def test_a_percentile_is_one_of_the_values(values, share):
    assert percentile(sorted(values), share) in (values or [0.0])
