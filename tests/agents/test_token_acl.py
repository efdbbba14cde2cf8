"""What a token may bind."""

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnelrelay.agents.token_acl import EVERYTHING, acl_problem, may_bind

HOST, LABEL = "pr-12.tun.example", "pr-12"
WEB = (("app", "web"),)


@pytest.mark.parametrize(
    "rule", ["*", "bind:*", "bind:pr-*", "bind:*-12", "bind:pr-12", "bind:pr-12.tun.example", "bind:*.tun.example",
             "bind:PR-*", "bind:pr-*.tun.example"]
)  # fmt: skip
def test_a_rule_admits_what_it_says(rule):
    assert may_bind((rule,), HOST, LABEL)
    assert acl_problem(rule) == ""


@pytest.mark.parametrize(
    "rule", ["bind:pr", "bind:12", "bind:*.other.example", "bind:tun.example", "bind:p?-12", "bind:pr-1", "pr-*", "",
             "bind:", "bind:app=web", "BIND:*", "bind:.*", "bind:pr-12.*", "bind:r-*"]
)  # fmt: skip
def test_a_rule_admits_nothing_else(rule):
    assert not may_bind((rule,), HOST, LABEL)


def test_no_rules_are_no_limit():
    assert may_bind((), HOST, LABEL)
    assert may_bind((), "", "", WEB)


def test_a_joining_tunnel_needs_every_label_it_carries():
    both = (*WEB, ("zone", "a"))

    assert may_bind(("bind:app=web",), "", "", WEB)
    assert not may_bind(("bind:app=web",), "", "", both)
    assert may_bind(("bind:app=web", "bind:zone=a"), "", "", both)
    assert may_bind(("bind:edge=edghts_1",), "", "", (("edge", "edghts_1"),))
    assert not may_bind(("bind:edge=edghts_1",), "", "", (("edge", "edghts_2"),))


@pytest.mark.parametrize("rule", ["bind:edge=*", "bind:edge=edghts_*", "bind:edge=*_1", "bind:edge=**"])
def test_a_star_stands_for_any_part_of_a_labels_value(rule):
    assert may_bind((rule,), "", "", (("edge", "edghts_1"),))
    assert not may_bind((rule,), "", "", (("zone", "edghts_1"),))
    assert not may_bind((rule,), "edge", "edge")
    assert acl_problem(rule) == ""


def test_a_label_that_is_a_star_is_only_a_star():
    assert not may_bind(("bind:app=web",), "", "", (("app", "*"),))


@pytest.mark.parametrize("rule", ["bind:*", "bind:*.tun.example", "bind:app", "bind:*=web", "bind:*=*", "bind:a*=web"])
def test_a_pattern_of_hosts_admits_no_labels(rule):
    assert not may_bind((rule,), "", "", WEB)


@pytest.mark.parametrize(
    "rule", ["", "bind", "bind:", "pr-*", "bind:a b", "bind:a..b", "bind:a/b", "bind:-", "bind:=x", "bind:x=",
             "bind:x= y", "bind:a\n", "bind:" + "a" * 700]
)  # fmt: skip
def test_what_is_no_rule_is_said_to_be_none(rule):
    assert acl_problem(rule)


def test_a_pattern_of_many_stars_costs_no_more_than_another():
    assert not may_bind(("bind:app=" + "a*" * 200 + "b",), "", "", (("app", "a" * 256),))
    assert not may_bind(("bind:" + "a*" * 120 + "b",), f"{'a' * 63}.tun.example", "a" * 63)


@given(st.text("ab*", max_size=8), st.text("ab", max_size=8))
def test_stars_mean_what_they_mean_in_file_names(pattern, value):
    if pattern and value:
        admitted = may_bind((f"bind:app={pattern}",), "", "", (("app", value),))
        assert admitted == fnmatchcase(value, pattern)


labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)


@given(labels, st.lists(st.text(max_size=20), min_size=1, max_size=4))
def test_strange_rules_admit_only_what_is_spelt_out_in_them(label, rules):
    """No text that somebody makes up opens more than a name: nothing in it is a regular expression."""
    host = f"{label}.tun.example"
    given_rules = tuple(f"bind:{rule}" for rule in rules)
    if may_bind(given_rules, host, label):
        assert any("*" in rule or rule.lower() in (label, host) for rule in rules)


@given(labels)
def test_whatever_can_be_bound_by_name_is_a_rule_that_can_be_written(label):
    assert acl_problem(f"bind:{label}") == ""
    assert may_bind((f"bind:{label}",), f"{label}.tun.example", label)
    assert not may_bind((f"bind:x{label}",), f"{label}.tun.example", label)


@given(st.text(max_size=40))
def test_any_text_is_a_rule_or_has_a_problem_and_never_fails(text):
    problem = acl_problem(text)
    may_bind((text,), HOST, LABEL, WEB)

    assert isinstance(problem, str)
    assert text != EVERYTHING or problem == ""


PORT = "tcp://tun.example:20022"


@pytest.mark.parametrize(
    "rule", ["*", "bind:*:20022", "bind:*:*", "bind:tun.example:20022", "bind:tun.example:200*", "bind:*.example:*"]
)
def test_a_rule_on_ports_admits_what_it_says(rule):
    assert may_bind((rule,), PORT, PORT)
    assert acl_problem(rule) == ""


@pytest.mark.parametrize(
    "rule", ["bind:*", "bind:tun.example", "bind:*.example", "bind:*:20023", "bind:other.example:20022", "bind:20022",
             "bind:*:2002", "bind:*=20022", "bind::20022"]
)  # fmt: skip
def test_a_rule_on_something_else_admits_no_port(rule):
    assert not may_bind((rule,), PORT, PORT)


@pytest.mark.parametrize("rule", ["bind:*:*", "bind:tun.example:20022", "bind:pr-12.tun.example:443"])
def test_a_rule_on_ports_admits_no_name(rule):
    assert not may_bind((rule,), HOST, LABEL)
    assert not may_bind((rule,), "", "", WEB)


@pytest.mark.parametrize(
    "rule", ["bind::20022", "bind:*:", "bind:*:http", "bind:*:200220", "bind:a b:1", "bind:[::1]:22"]
)
def test_what_is_no_rule_on_ports_is_said_to_be_none(rule):
    assert acl_problem(rule)
