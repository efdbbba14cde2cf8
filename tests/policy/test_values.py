"""Single values and lengths of time."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnelctl.policy import values
from tunnelctl.policy.durations import format_duration, parse_duration
from tunnelctl.policy.fields import FIELDS

TEXT_CHECKS = sorted(
    {row.check for row in FIELDS if row.kind not in ("pair", "header", "switch")}, key=lambda check: check.__name__
)
PAIR_CHECKS = sorted({row.check for row in FIELDS if row.kind in ("pair", "header")}, key=lambda check: check.__name__)


@pytest.mark.parametrize("check", TEXT_CHECKS)
@given(text=st.text(st.characters()) | st.from_regex(r"https?://[^/]*/?.*|@.*|.*@.*|.*/[0-9]+"))
def test_any_text_is_judged_in_a_short_line(check, text):
    assert len(check(text)) < 1000


@pytest.mark.parametrize("check", PAIR_CHECKS)
@given(pair=st.tuples(st.text(st.characters()), st.text(st.characters())))
def test_any_pair_is_judged_in_a_short_line(check, pair):
    assert len(check(pair)) < 1000


@pytest.mark.parametrize(
    "text",
    [
        "https://acme.okta.com", "https://acme.okta.com/", "https://idp.example:8443/realms/x", "http://127.0.0.1:9400",
        "https://[2001:db8::1]/a", "https://under_score.example", "@work", "@a",
    ],
)  # fmt: skip
def test_issuers_and_names_are_taken(text):
    assert values.issuer_or_name(text) == ""


@pytest.mark.parametrize(
    "text",
    [
        "", "acme.okta.com", "ftp://a", "https://", "https:///path", "https://a?x=1", "https://a?", "https://a#",
        "https://u:p@a", "https://a\nb", "https://a b", "https://acm\u00e9.example", "https://a:99999", "https://a:0",
        "https://a:x", "https://[::1", "https://[::1%25x]", "https://a\\b", "https://a,b", 'https://a/"', "@", "@Work",
        "@-a", "@a/b", "@@a", "javascript:alert(1)", "https://login.microsoftonline.com/Common/v2.0",
    ],
)  # fmt: skip
def test_row_136_what_could_be_read_two_ways_is_no_issuer(text):
    assert values.issuer_or_name(text)


def test_an_issuers_user_and_password_are_not_repeated():
    assert "hush" not in values.issuer("https://u:hush-hush@a")


@pytest.mark.parametrize("text", ["https://a.example", "http://b.example:8080/", "https://[::1]:80"])
def test_origins_are_taken(text):
    assert values.origin(text) == ""


@pytest.mark.parametrize(
    "text", ["", "*", "null", "a.example", "https://a/x", "https://a?x", "https://a@b", "https://*.a", "https://a:x"]
)
def test_what_is_no_origin(text):
    assert values.origin(text)


@pytest.mark.parametrize("pair", ["ann:", ":x", "ann", "", "ann:a\nbcdefghi"])
def test_a_password_that_is_refused_is_not_repeated(pair):
    assert values.password(pair) == "it takes USER:PASS, neither of them empty"
    assert "hush" not in values.password("ann:hush")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1h", 3600),
        ("90s", 90),
        ("1h30m", 5400),
        ("2m5s", 125),
        ("0", 0),
        ("0s", 0),
        ("1 h 30 min", 5400),
        ("7D", 604800),
    ],
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@given(st.text(max_size=12) | st.from_regex(r"([0-9]+[dhms])+"))
def test_any_text_is_a_duration_or_an_error(text):
    with contextlib.suppress(ValueError):
        assert parse_duration(text) >= 0


@pytest.mark.parametrize("text", ["", "h", "-1h", "1h1h", "1m 1min", "60", "1h 30", "1w", "\u0661h"])
def test_what_is_no_duration(text):
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@given(st.integers(0, 10**9))
def test_a_duration_is_written_as_it_can_be_read(seconds):
    assert parse_duration(format_duration(seconds)) == seconds
