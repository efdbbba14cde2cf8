import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnelctl.cli.http import http
from tunnelctl.cli.main import COMMANDS
from tunnelctl.nearest import distance, nearest

FLAGS = [name for option in http.params for name in option.opts if name.startswith("--")]
WORDS = st.text("abcdefgh-_", max_size=12)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("htp", "http"), ("hhtp", "http"), ("strat", "start"), ("tunel", "tunnel"), ("cofig", "config"), ("HTTP", "http")],
)
def test_a_slip_of_the_fingers_finds_the_command(typed, meant):
    assert nearest(typed, COMMANDS) == meant


@pytest.mark.parametrize("typed", ["stop", "service", "x", "", "ls", "kill", "htpasswd"])
def test_another_word_finds_no_command(typed):
    assert nearest(typed, COMMANDS) is None


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("--subdoman", "--subdomain"),
        ("--oidc-allow-emails", "--oidc-allow-email"),
        ("--oidc_allow_domain", "--oidc-allow-domain"),
        ("--log-lvl", "--log-level"),
        ("--pool-enabled", "--pooling-enabled"),
        ("--circuit-breaker", None),
        ("--oauth", None),
        ("--auth", None),
        ("--key", None),
    ],
)
def test_a_flag_is_suggested_only_when_it_is_near(typed, meant):
    assert nearest(typed, FLAGS) == meant


@given(WORDS, WORDS)
def test_the_distance_is_that_of_either_from_the_other(one, other):
    assert distance(one, other) == distance(other, one) <= max(len(one), len(other))
    assert (distance(one, other) == 0) == (one == other)


@given(st.lists(WORDS.filter(lambda word: len(word.strip("-")) > 1), min_size=1))
def test_a_known_word_is_nearest_to_itself(words):
    found = nearest(words[0], words)
    assert found is not None
    assert found.lstrip("-").replace("_", "-") == words[0].lstrip("-").replace("_", "-")


def test_a_word_of_any_length_costs_little():
    assert nearest("a" * 1_000_000, COMMANDS) is None
