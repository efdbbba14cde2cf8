"""The cookie that keeps a visitor with a tunnel, by scheme."""

import pytest

from tests.support.tunnels import fake_tunnel
from tunnelctl.http1.head import parse_request
from tunnelrelay.ingress.sticky import Sticky
from tunnelrelay.policy import cookies

MINE = fake_tunnel(mark=b"0123abcd")


def head_with(cookie: bytes):
    return parse_request(b"GET / HTTP/1.1\r\nHost: demo\r\nCookie: %b\r\n\r\n" % cookie)


@pytest.mark.parametrize(
    ("is_secure", "line"),
    [
        (True, b"Set-Cookie: __Host-tunnel-lb=0123abcd; Path=/; HttpOnly; SameSite=Lax; Secure\r\n"),
        (False, b"Set-Cookie: tunnel-lb=0123abcd; Path=/; HttpOnly; SameSite=Lax\r\n"),
    ],
)
def test_the_cookie_is_host_only_and_as_safe_as_the_scheme_allows(is_secure, line):
    assert Sticky(is_secure=is_secure).lines(head_with(b"a=b"), MINE) == line


def test_over_https_only_the_name_no_neighbour_can_set_counts():
    sticky = Sticky(is_secure=True)

    assert sticky.mark(head_with(b"__Host-tunnel-lb=0123abcd")) == b"0123abcd"
    assert sticky.mark(head_with(b"tunnel-lb=0123abcd")) == b""


@pytest.mark.parametrize(
    "cookie",
    [
        b"__Host-tunnel-lb=a; __Host-tunnel-lb=b",
        b"\xa0__Host-tunnel-lb=a",
        b"__host-tunnel-lb=a",
        b'__Host-tunnel-lb="a"',
    ],
)
def test_two_cookies_or_one_that_only_looks_like_ours_are_none(cookie):
    assert Sticky(is_secure=True).mark(head_with(cookie)) == b""


@pytest.mark.parametrize("name", [cookies.BALANCE, cookies.BALANCE_PLAIN])
def test_neither_the_app_nor_a_neighbours_app_sees_or_sets_it(name):
    assert cookies.strip(b"x=1; %b=0123; y=2" % name) == b"x=1; y=2"
    assert cookies.admit_set_cookie(b"%b=0123; Path=/" % name, b"demo.example") is None
