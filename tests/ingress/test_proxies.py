"""What trusted proxies say of a visitor, in every form that proxies write it."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.policy.making import head
from tests.support.every import every
from tunnelrelay.ingress.proxies import MAX_HOPS, read_address, read_route

PROXIES = {"10.1.1.1", "10.1.1.2", "fd00::1"}


def visitor(*fields: tuple[str, str]) -> str | None:
    return read_route(head(fields=list(fields))).visitor(PROXIES.__contains__)


@every(
    "node, address",
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:4711", "192.0.2.1"),
        (" \t192.0.2.1:4711 ", "192.0.2.1"),
        ('"192.0.2.1:4711"', "192.0.2.1"),
        ('"192.0.2.1"', "192.0.2.1"),
        (r'"192\.0.2.1"', "192.0.2.1"),
        ("192.0.2.1:_port", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ('"[2001:db8::1]:4711"', "2001:db8::1"),
        ("[fe80::1%eth0]:80", "fe80::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("[::ffff:192.0.2.1]:80", "192.0.2.1"),
        ("unknown", ""),
        ("_hidden", ""),
        ('"_hidden"', ""),
        ("", ""),
        ('""', ""),
        ('"', ""),
        ("192.0.2", ""),
        ("192.0.2.1:port", ""),
        ("192.0.2.1:123456", ""),
        ("2001:db8::1]:80", ""),
        ("[2001:db8::1", ""),
        ("[192.0.2.1]:80", "192.0.2.1"),
        ("http://192.0.2.1", ""),
        ("192.0.2.1 192.0.2.2", ""),
        ("\u0661.2.3.4", ""),
    ],
)
def test_an_address_is_read_as_proxies_write_it(node: str, address: str):
    assert read_address(node.encode()) == address


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([("X-Forwarded-For", "6.6.6.6, 192.0.2.1:80")], "192.0.2.1"),
        ([("X-Forwarded-For", "6.6.6.6"), ("x-forwarded-for", "192.0.2.1")], "192.0.2.1"),
        ([("X-Forwarded-For", "192.0.2.1:80,[fd00::1]:443 , 10.1.1.1:1")], "192.0.2.1"),
        ([("X-Forwarded-For", "192.0.2.1, ,")], "192.0.2.1"),
        ([("X-Forwarded-For", "6.6.6.6, unknown")], ""),
        ([("X-Forwarded-For", "6.6.6.6, unknown, 10.1.1.1")], ""),
        ([("X-Forwarded-For", "10.1.1.2, 10.1.1.1")], None),
        ([("X-Forwarded-For", ", ,")], None),
        ([], None),
        ([("Forwarded", "for=192.0.2.1")], "192.0.2.1"),
        ([("Forwarded", "For=6.6.6.6, FOR=192.0.2.1;proto=https;by=10.1.1.1")], "192.0.2.1"),
        ([("Forwarded", 'for="[2001:db8::1]:4711"')], "2001:db8::1"),
        ([("Forwarded", 'for=6.6.6.6;host="a, for=7.7.7.7;", for="192.0.2.1:80" , for=10.1.1.1')], "192.0.2.1"),
        ([("Forwarded", "for=6.6.6.6"), ("Forwarded", "proto=http ; for = 192.0.2.1")], "192.0.2.1"),
        ([("Forwarded", "for=6.6.6.6, for=_secret")], ""),
        ([("Forwarded", "for=6.6.6.6, proto=https")], ""),
        ([("Forwarded", "for=6.6.6.6, for=unknown, for=10.1.1.1")], ""),
        ([("Forwarded", "for=6.6.6.6"), ("X-Forwarded-For", "192.0.2.1")], "192.0.2.1"),
    ],
)
def test_row108_the_visitor_is_the_last_hop_that_is_no_proxy(fields: list[tuple[str, str]], expected: str | None):
    assert visitor(*fields) == expected


@pytest.mark.parametrize(
    ("fields", "is_secure"),
    [
        ([("X-Forwarded-Proto", "https")], True),
        ([("X-Forwarded-Proto", "HTTPS , https")], True),
        ([("X-Forwarded-Proto", "https"), ("X-Forwarded-Proto", "http")], False),
        ([("X-Forwarded-Proto", "http")], False),
        ([("X-Forwarded-Proto", "")], False),
        ([], False),
        ([("Forwarded", "for=192.0.2.1;proto=https")], True),
        ([("Forwarded", "for=192.0.2.1;proto=https, for=10.1.1.1")], False),
        ([("Forwarded", "for=192.0.2.1;proto=https"), ("X-Forwarded-Proto", "http")], False),
        ([("Forwarded", "proto=https"), ("X-Forwarded-For", "192.0.2.1")], False),
    ],
)
def test_tls_is_believed_when_every_hop_had_it(fields: list[tuple[str, str]], is_secure: bool):
    assert read_route(head(fields=fields)).is_secure is is_secure


def test_no_more_hops_are_looked_at_than_a_route_has():
    assert visitor(("X-Forwarded-For", ", ".join(["6.6.6.6", *["10.1.1.1"] * MAX_HOPS]))) is None
    assert visitor(("X-Forwarded-For", ", ".join(["6.6.6.6", *["10.1.1.1"] * (MAX_HOPS - 1)]))) == "6.6.6.6"


@given(st.binary(max_size=80))
def test_any_bytes_are_an_address_in_its_one_spelling_or_none(node: bytes):
    address = read_address(node)
    assert not address or str(ipaddress.ip_address(address)) == address


@given(st.lists(st.text('fFoOrR=;,"\\ 10.:[]ab_proto', max_size=60), max_size=3))
def test_any_field_is_read_without_a_fault(values: list[str]):
    for name in ("Forwarded", "X-Forwarded-For"):
        found = visitor(*((name, value) for value in values))
        assert not found or ipaddress.ip_address(found)


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)), st.integers(0, 65_535), st.booleans())
def test_every_address_is_read_with_its_port_and_in_quotes(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int, is_quoted: bool
):
    text = f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
    expected = getattr(address, "ipv4_mapped", None) or address
    assert read_address((f'"{text}"' if is_quoted else text).encode()) == str(expected)
    assert visitor(("Forwarded", f'for=6.6.6.6, for="{text}"')) == str(expected)
