"""Rates as people type them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnelctl.policy.durations import format_duration
from tunnelctl.policy.rate import MAX_PERIOD, MAX_REQUESTS, Rate, parse_rate, rate_problem


@pytest.mark.parametrize(
    ("text", "rate", "words"),
    [
        ("100/1m:20", Rate(100, 60, 20), "100 requests in 1m, 20 at once"),
        ("10/s", Rate(10, 1, 10), "10 requests in 1s"),
        ("1/30min", Rate(1, 1800, 1), "1 request in 30m"),
        ("5/1h30m:500", Rate(5, 5400, 500), "5 requests in 1h30m, 500 at once"),
        ("3/d", Rate(3, 86_400, 3), "3 requests in 1d"),
        ("1000000/1s:1000000", Rate(MAX_REQUESTS, 1, MAX_REQUESTS), "1000000 requests in 1s"),
    ],
)
def test_a_rate_is_read_as_people_write_it_and_told_in_words(text, rate, words):
    assert parse_rate(text) == rate
    assert (str(rate), rate_problem(text)) == (words, "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0/1m", "it says 0 requests, must be 1 to 1000000"),
        ("1000001/1m", "it says 1000001 requests, must be 1 to 1000000"),
        ("10/1m:0", "it says 0 requests at once, must be 1 to 1000000"),
        ("10/1m:1000001", "it says 1000001 requests at once, must be 1 to 1000000"),
        ("10/0s", "its period is 0 s, must be 1 to 86400"),
        ("10/0", "its period is 0 s, must be 1 to 86400"),
        ("10/25h", "its period is 90000 s, must be 1 to 86400"),
    ],
)
def test_a_number_out_of_bounds_is_told_with_the_bounds(text, said):
    assert rate_problem(text) == said


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "100", "100/", "/1m", "100/1m:", "100/1m:-5", "-1/1m", "1.5/s", "10/fortnight", "10/5", "10/1m1m"),
        *(
            "10 / 1m",
            "10/1m:5:5",
            "10/1m/2",
            "10/m\n",
            "\u0661/s",
            "10/\u0661s",
            "9" * 40 + "/s",
            "1/" + "9" * 40 + "s",
        ),
    ],
)
def test_what_is_no_rate_is_told_with_one_that_is(text):
    assert rate_problem(text) == f"{text[:64]!r} is not a rate like 100/1m, 10/s or 100/1m:20"


@given(st.text() | st.from_regex(r"[0-9]{0,13}/[0-9a-z ]{0,9}(:[0-9-]{0,13})?", fullmatch=True))
def test_any_text_is_a_rate_within_its_bounds_or_a_problem(text):
    if rate_problem(text):
        return
    rate = parse_rate(text)
    assert 1 <= rate.requests <= MAX_REQUESTS
    assert 1 <= rate.burst <= MAX_REQUESTS
    assert 1 <= rate.seconds <= MAX_PERIOD


@given(st.integers(1, MAX_REQUESTS), st.integers(1, MAX_PERIOD), st.integers(1, MAX_REQUESTS))
def test_every_rate_can_be_typed(requests, seconds, burst):
    assert parse_rate(f"{requests}/{format_duration(seconds)}:{burst}") == Rate(requests, seconds, burst)
