import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cli.fakes import exchange
from tunnelctl.cli.format_exchange import MAX_PATH, path_of, peer_of, printable, status_words
from tunnelctl.wire.errors import Code


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "200 OK"),
        ({"status": 404}, "404 Not Found"),
        ({"status": 799}, "799"),
        (
            {"status": 0, "code": Code.UPSTREAM_UNREACHABLE, "reason": "connection refused"},
            "502 connection refused",
        ),
        ({"status": 0, "code": Code.UPSTREAM_TIMEOUT, "reason": ""}, "504 Gateway Timeout"),
        ({"status": 0, "code": Code.CANCELLED}, "visitor left"),
        ({"status": 0, "code": Code.HEARTBEAT}, "link lost"),
        ({"status": 200, "code": Code.CANCELLED, "reason": "the visitor left"}, "200 OK (the visitor left)"),
    ],
)
def test_an_end_is_said_in_words(changes, words):
    assert status_words(exchange(**changes)) == words


@given(st.binary(max_size=80))
def test_nothing_a_visitor_sends_is_shown_as_it_is_unless_it_is_plain(data):
    shown = printable(data)
    assert shown.isascii()
    assert shown == "" or shown.isprintable()


def test_a_path_is_shown_without_its_query_and_cut():
    assert path_of(exchange(target=b"/login?token=secret")) == "/login"
    assert len(path_of(exchange(target=b"/" + b"a" * 9000))) == MAX_PATH


def test_the_visitor_is_whom_the_relay_names():
    assert peer_of(exchange()) == "192.0.2.9"
    assert peer_of(exchange(head=b"GET / HTTP/1.1\r\nx-forwarded-for: 10.0.0.1, 192.0.2.1\r\n")) == "192.0.2.1"
    assert peer_of(exchange(head=b"GET / HTTP/1.1\r\nHost: a\r\n")) == ""
