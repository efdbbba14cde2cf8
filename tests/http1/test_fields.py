"""Field lines as they travel beside a body, and what may not trail."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.every import every
from tunnelctl.http1.errors import HttpError
from tunnelctl.http1.fields import from_lines, safe_trailers, to_lines

TOKEN = st.text("abcXYZ019-_.!#", min_size=1, max_size=12).map(str.encode)
VALUE = st.text("abc XYZ:,;=\t\x80\xff", max_size=20).map(lambda text: text.encode("latin-1").strip(b" \t"))


@given(st.lists(st.tuples(TOKEN, VALUE), max_size=6))
def test_lines_carry_fields_unchanged(fields):
    assert from_lines(to_lines(fields)) == fields


@pytest.mark.parametrize(
    "lines",
    [b"A: b", b"A: b\n", b"A b\r\n", b": b\r\n", b"A : b\r\n", b"A: b\r\n c\r\n", b"A: b\rC: d\r\n", b"A: \x00\r\n",
     b"A: b\r\n\r\n", b"\r\n", b"A: b\r\n\r\nHTTP/1.1 200 OK\r\n"],
)  # fmt: skip
def test_row104_lines_of_a_hostile_agent_are_refused(lines):
    with pytest.raises(HttpError):
        from_lines(lines)


@given(st.binary(max_size=80))
def test_any_bytes_are_fields_or_an_error_of_ours(data):
    try:
        fields = from_lines(data)
    except HttpError:
        return
    assert from_lines(to_lines(fields)) == fields


@every("name", ["Host", "Content-Length", "Transfer-Encoding", "Trailer", "Authorization", "Cookie", "Set-Cookie",
     "Connection", "X-Tunnel-User", "x_tunnel_email", "X-Auth-Email", "X-Forwarded-For", "X_FORWARDED_HOST",
     "X-Real-IP", "Ngrok-Auth-User-Id", "Tunnel-Error", "Remote-User", "Expect", "Location",
     "Content-Encoding"])  # fmt: skip
def test_row93_a_trailer_that_would_act_as_a_header_is_dropped(name):
    assert safe_trailers([(name.encode(), b"evil"), (b"Checksum", b"abc")]) == [(b"Checksum", b"abc")]


@pytest.mark.timeout(30)  # what grows with the square of the length would take minutes
def test_many_lines_with_a_bad_one_behind_come_to_an_end():
    for _ in range(100):
        with pytest.raises(HttpError):
            from_lines(b"a: \r\n" * 10_000 + b"\x01\r\n")
