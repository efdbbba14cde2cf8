"""An app that is told its own host: what it hears of the visitor's page, and where its redirects lead."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.policy.making import ORIGIN, head, policy
from tests.support.every import every
from tunnelrelay.policy.headers import request_block, response_block
from tunnelrelay.policy.rules import Policy

REWRITE = policy(host_header="rewrite")
FIXED = policy(host_header="shop.internal", upstream="http://127.0.0.1:8000")
TLS = policy(host_header="rewrite", upstream="https://app.lan:8443")
DEFAULT_PORT = policy(host_header="rewrite", upstream="http://app.lan")
IPV6 = policy(host_header="rewrite", upstream="http://[::1]:3000")


def told(policy: Policy, *fields: tuple[str, str], upgrade: bytes = b"") -> list[bytes]:
    block = request_block(
        head(fields=list(fields)), forwarded=b"", identity=b"", policy=policy, upgrade=upgrade, origin=ORIGIN
    )
    return block.split(b"\r\n")[2:-1]


def answered(policy: Policy, name: bytes, value: bytes) -> bytes:
    block = response_block([(name, value)], policy=policy, host=b"app.tun.example", origin=ORIGIN)
    return block.removeprefix(name + b": ").removesuffix(b"\r\n")


@pytest.mark.parametrize(
    ("policy", "origin"),
    [
        (REWRITE, b"http://localhost:3000"),
        (FIXED, b"http://shop.internal"),
        (TLS, b"https://app.lan:8443"),
        (DEFAULT_PORT, b"http://app.lan"),
        (IPV6, b"http://[::1]:3000"),
        (policy(host_header="a.lan:99", upstream=""), b"http://a.lan:99"),
    ],
)
def test_a_page_of_the_endpoint_is_a_page_of_the_app(policy, origin):
    assert told(policy, ("Origin", "https://app.tun.example"), ("referer", "https://app.tun.example/a?b#c")) == [
        b"Origin: " + origin,
        b"referer: " + origin + b"/a?b#c",
    ]
    assert told(policy, ("Referer", "https://app.tun.example")) == [b"Referer: " + origin]


@pytest.mark.parametrize(
    "origin",
    [
        "null", "http://app.tun.example", "https://app.tun.example:8443", "https://app.tun.example.evil",
        "https://app.tun.example@evil", "https://evil.tun.example", "https://evil/?https://app.tun.example", "",
        "https://app.tun.exampl", "https://localhost:3000", "HTTPS://app.tun.example",
    ],
)  # fmt: skip
def test_another_sites_page_still_looks_foreign_to_the_app(origin):
    lines = told(REWRITE, ("Origin", origin), ("Referer", origin))

    assert lines == [f"Origin: {origin}".encode(), f"Referer: {origin}".encode()]


def test_a_websocket_of_the_endpoints_page_is_one_of_the_apps():
    fields = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Origin", "https://app.tun.example")]

    assert told(REWRITE, *fields, upgrade=b"websocket")[0] == b"Origin: http://localhost:3000"


def test_an_app_that_is_told_the_public_host_hears_the_public_origin():
    fields = (("Origin", "https://app.tun.example"), ("Referer", "https://app.tun.example/"))

    assert told(policy(), *fields) == [b"Origin: https://app.tun.example", b"Referer: https://app.tun.example/"]


OWN = [
    b"http://localhost:3000", b"https://localhost:3000", b"//localhost:3000", b"HTTP://LocalHost:3000",
    b"http://localhost.:3000", b"http://127.0.0.1:3000", b"http://127.1.2.3:3000", b"http://[::1]:3000",
    b"http://[0:0:0:0:0:0:0:1]:3000", b"http://0.0.0.0:3000", b"http://localhost", b"https://127.0.0.1",
    b"http://localhost:80", b"https://localhost:443", b"http://localhost:", b"http://[::1]",
]  # fmt: skip


@every("rest", [b"", b"/", b"/a/b?c=http://localhost:3000/#d", b"?a", b"#a"])
@every("own", OWN)
def test_a_redirect_to_the_apps_own_address_leads_to_the_endpoint(own, rest):
    assert answered(REWRITE, b"Location", own + rest) == ORIGIN + rest


@pytest.mark.parametrize(
    ("policy", "location"),
    [
        (FIXED, b"http://shop.internal/x"), (FIXED, b"https://shop.internal/x"), (FIXED, b"http://shop.internal:8000/x"),
        (FIXED, b"http://127.0.0.1:8000/x"), (FIXED, b"http://localhost:8000/x"), (TLS, b"https://app.lan:8443/x"),
        (TLS, b"https://app.lan/x"), (TLS, b"http://localhost:8443/x"), (DEFAULT_PORT, b"http://APP.lan./x"),
        (DEFAULT_PORT, b"http://app.lan:80/x"), (IPV6, b"http://[::1]:3000/x"),
    ],
)  # fmt: skip
def test_every_name_of_the_app_is_its_own(policy, location):
    assert answered(policy, b"Location", location) == ORIGIN + b"/x"


@every("location", [
        b"/x", b"x", b"", b"//evil/x", b"https://other.example/", b"http://localhost:30001/", b"http://localhost:5173/",
        b"http://localhost.evil:3000/", b"http://evil-localhost:3000/", b"http://localhost:3000@evil/", b"http:/x",
        b"http://user@localhost:3000/", b"http://localhost:3000\\@evil/", b"http://localhost:3000.evil/", b"http:///x",
        b"ftp://localhost:3000/", b"ws://localhost:3000/", b"javascript:alert(1)", b"http://128.0.0.1:3000/",
        b"https://idp.example/?redirect_uri=http://localhost:3000/cb", b"http://localhost:999999999/", b"http://[::1",
    ])  # fmt: skip
def test_every_other_redirect_leads_where_the_app_says(location):
    assert answered(REWRITE, b"Location", location) == location


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"0; url=http://localhost:3000/x", b"0; url=https://app.tun.example/x"),
        (b"5;URL='http://127.0.0.1:3000/x'", b"5;URL='https://app.tun.example/x'"),
        (b"3, http://localhost:3000", b"3, https://app.tun.example"),
        (b"0; url=http://other.example/", b"0; url=http://other.example/"),
        (b"5", b"5"),
    ],
)
def test_a_refresh_is_a_redirect(value, expected):
    assert answered(REWRITE, b"Refresh", value) == expected


def test_content_location_is_translated_too():
    assert answered(REWRITE, b"content-location", b"http://localhost:3000/x") == ORIGIN + b"/x"


@pytest.mark.parametrize("name", [b"Location", b"Content-Location", b"Refresh"])
def test_an_app_that_is_told_the_public_host_redirects_where_it_says(name):
    for value in (b"http://localhost:3000/x", b"0; url=http://localhost:3000/x"):
        assert answered(policy(), name, value) == value


def test_a_cookie_for_the_apps_own_host_becomes_one_for_the_endpoint():
    assert answered(REWRITE, b"Set-Cookie", b"a=b; Domain=localhost; Path=/") == b"a=b; Path=/"


def test_tunnels_with_the_same_host_header_share_an_address_wherever_their_apps_listen():
    one = policy(host_header="shop.internal", upstream="http://localhost:3000")

    assert one == policy(host_header="shop.internal", upstream="http://localhost:3001")
    assert one.own != policy(host_header="shop.internal", upstream="http://localhost:3001").own


PARTS = [
    b"http:",
    b"https:",
    b"//",
    b"localhost",
    b"127.0.0.1",
    b"[::1]",
    b":3000",
    b":80",
    b"@",
    b"\\",
    b"evil",
    b"/",
    b"?",
]


@given(st.lists(st.sampled_from(PARTS), max_size=8).map(b"".join))
def test_a_location_is_left_alone_or_leads_to_the_endpoint_with_the_rest_unchanged(location):
    value = answered(REWRITE, b"Location", location)

    assert value == location or (value.startswith(ORIGIN) and location.endswith(value.removeprefix(ORIGIN)))
    if value != location:
        assert value.removeprefix(ORIGIN)[:1] in (b"", b"/", b"?", b"#")
        assert b"@" not in location[: len(location) - len(value.removeprefix(ORIGIN))]
