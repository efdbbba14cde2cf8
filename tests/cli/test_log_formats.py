import json
import re
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnelctl.cli.log_formats import as_coloured, as_json, as_logfmt, as_term, formatter, quoted

AT = 1_700_000_000.123456789


def test_logfmt_begins_with_time_level_and_message():
    line = as_logfmt(AT, "info", "started tunnel", {"obj": "tunnels", "url": "https://a.example"})
    assert re.fullmatch(
        r't=2023-11-1\dT\d\d:\d\d:20[+-]\d{4} lvl=info msg="started tunnel" obj=tunnels url=https://a\.example\n', line
    )


@given(st.dictionaries(st.sampled_from(["err", "path", "name"]), st.text()), st.text())
def test_whatever_is_logged_is_one_line_that_shlex_takes_apart(fields, message):
    line = as_logfmt(AT, "warn", message, fields)
    assert line.count("\n") == 1
    assert line.rstrip("\n").isprintable()
    pairs = dict(word.split("=", 1) for word in shlex.split(line))
    assert list(pairs) == ["t", "lvl", "msg", *fields]


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_printable_text_survives_logfmt(text):
    assert shlex.split(f"a={quoted(text)}") == [f"a={text}"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a b", '"a b"'),
        ("", '""'),
        ("a\nb\r", '"a\\nb\\r"'),
        ('say "x"', '"say \\"x\\""'),
        (None, "nil"),
        (3, "3"),
        ("é", '"é"'),
    ],
)
def test_values_are_quoted_as_ngrok_does(value, text):
    assert quoted(value) == text


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.none()), st.text())
def test_a_json_record_is_one_line_with_sorted_keys(fields, message):
    line = as_json(AT, "info", message, fields)
    assert line.count("\n") == 1
    record = json.loads(line)
    assert list(record) == sorted(record)
    assert (record["lvl"], record["msg"]) == ("info", message)


def test_a_json_records_time_is_utc_with_nanoseconds():
    assert json.loads(as_json(AT, "info", "x", {}))["t"].startswith("2023-11-14T22:13:20.1234")
    assert len(json.loads(as_json(AT, "info", "x", {}))["t"]) == len("2023-11-14T22:13:20.123456789Z")


def test_the_terminals_form_is_for_terminals_only():
    assert formatter("term", is_terminal=True, has_colours=True) is as_coloured
    assert formatter("term", is_terminal=True, has_colours=False) is as_term
    assert formatter("term", is_terminal=False, has_colours=True) is as_logfmt
    assert formatter("json", is_terminal=True, has_colours=True) is as_json


def test_only_the_coloured_form_sends_escape_sequences():
    plain, coloured = (form(AT, "warn", "x", {}) for form in (as_term, as_coloured))
    assert coloured.replace("\x1b[33m", "").replace("\x1b[0m", "") == plain
    assert "\x1b" not in plain


def test_a_visitor_cannot_write_to_the_terminal():
    line = as_term(AT, "info", "x", {"path": "/\x1b]0;owned\x07"})
    assert "\x1b]" not in line
    assert "\x07" not in line
