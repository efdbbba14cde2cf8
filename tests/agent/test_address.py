import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnelctl.agent.address import AddressInvalid, parse_relay, parse_tcp_upstream, parse_upstream
from tunnelctl.agent.hostnames import parse_public_url
from tunnelctl.cli.api_client import base_of
from tunnelctl.wire.texts import is_loopback


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("8080", "http://localhost:8080"),
        ("80", "http://localhost:80"),
        ("443", "https://localhost:443"),
        ("127.0.0.1:3000", "http://127.0.0.1:3000"),
        ("app.internal:443", "https://app.internal:443"),
        ("[::1]:3000", "http://[::1]:3000"),
        ("http://localhost", "http://localhost:80"),
        ("http://localhost:3000/", "http://localhost:3000"),
        ("https://app.internal", "https://app.internal:443"),
        ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
        ("http://app.internal:443", "http://app.internal:443"),
        ("file:///", "file:///"),
        ("file:///srv/my%20site/", "file:///srv/my%20site"),
        ("file:///srv/my site", "file:///srv/my%20site"),
        ("FILE:/srv/a#b?c", "file:///srv/a%23b%3Fc"),
        ("file://localhost/srv", "file:///srv"),
        ("file:////srv", "file:///srv"),
        ("unix:/run/app.sock", "unix:/run/app.sock"),
        ("unix:///run/a%20b.sock", "unix:/run/a%20b.sock"),
    ],
)
def test_a_service_is_named_as_ngrok_takes_it(text, url):
    assert parse_upstream(text).url == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "0",
        "70000",
        "localhost",
        "a b:80",
        "tcp://a:1",
        "http://u:p@a",
        "http://a/path",
        "a:b",
        "http://",
        ":80",
        "http://a?x",
        "http://[::1",
        "٣",
    ],
)
def test_what_names_no_service_is_refused(text):
    with pytest.raises(AddressInvalid):
        parse_upstream(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file:site", "whole path, as file:///srv/site"),
        ("file://site", "whole path, as file:///srv/site"),
        ("file://./site", "whole path, as file:///srv/site"),
        ("file://other.example/srv", "whole path, as file:///srv/site"),
        ("file:", "whole path, as file:///srv/site"),
        ("unix:app.sock", "whole path, as unix:/run/app.sock"),
        ("unix://run/app.sock", "whole path, as unix:/run/app.sock"),
        ("unix:", "whole path, as unix:/run/app.sock"),
        ("/srv/site", "write a directory as file:///srv/site, and a socket as unix:/run/app.sock"),
        ("./site", "write a directory as file:///srv/site, and a socket as unix:/run/app.sock"),
        ("~/site", "write a directory as file:///srv/site, and a socket as unix:/run/app.sock"),
        ("file:///srv%00", "a path holds characters that can be shown"),
        ("file:///srv%ff", "a path holds characters that can be shown"),
        ("unix:/run/a\nb", "a path holds characters that can be shown"),
        ("ftp://a", "named by http://, https://, file:// or unix:"),
    ],
)
def test_a_path_that_cannot_be_used_is_told_with_one_that_can(text, said):
    with pytest.raises(AddressInvalid) as caught:
        parse_upstream(text)
    assert said in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("text", "url"), [("22", "tcp://localhost:22"), ("tcp://a:1", "tcp://a:1"), ("unix:///run/db", "unix:/run/db")]
)
def test_a_tcp_service_is_named_by_a_port_or_a_socket(text, url):
    assert (parse_tcp_upstream(text).url, parse_tcp_upstream(text).scheme) == (url, "tcp")


@pytest.mark.parametrize("text", ["file:///srv", "unix:db", "http://a:1", "a"])
def test_what_names_no_tcp_service_is_refused(text):
    with pytest.raises(AddressInvalid):
        parse_tcp_upstream(text)


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_a_documented_error(text):
    for parse in (parse_upstream, parse_relay):
        with contextlib.suppress(AddressInvalid):
            found = parse(text)
            assert 1 <= found.port <= 65535 or found.path.startswith("/")


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("https://tun.example", "https://tun.example"),
        ("wss://tun.example:8443/", "https://tun.example:8443"),
        ("ws://[::1]:8080", "http://[::1]:8080"),
        ("tun.example", "https://tun.example"),
        ("tun.example:443", "https://tun.example"),
        ("localhost:8080", "http://localhost:8080"),
        ("http://relay.localhost:8080", "http://127.0.0.1:8080"),
    ],
)
def test_a_relay_is_named_by_any_of_its_url_forms(text, url):
    assert parse_relay(text).url == url


@pytest.mark.parametrize("text", ["http://tun.example", "ws://192.0.2.1:8080", "http://localhost.example"])
def test_a_token_is_never_sent_over_plain_http_to_another_machine(text):
    with pytest.raises(AddressInvalid, match="in the clear"):
        parse_relay(text)


@pytest.mark.parametrize("text", ["", "ftp://a", "https://", "https://a/b", "https://t:x@a"])
def test_what_names_no_relay_is_refused(text):
    with pytest.raises(AddressInvalid):
        parse_relay(text)


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        (("127.0.0.1", "127.8.8.8", "::1", "localhost", "a.localhost"), True),
        (("notlocalhost", "localhost.example", "10.0.0.1", "0.0.0.0"), False),
    ],
)
def test_loopback_is_judged_by_name(hosts, expected):
    assert all(is_loopback(host) is expected for host in hosts)


@pytest.mark.parametrize("parse", [parse_relay, parse_public_url, base_of])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("https://tun.example:bar", "its port is not a number from 1 to 65535"),
        ("https://tun.example:99999", "its port is not a number from 1 to 65535"),
        ("https://[::1", "not an address"),
        ("https://[abc]", "not an address"),
    ],
)
def test_what_is_no_address_is_told_without_the_words_of_python(parse, text, said):
    with pytest.raises(ValueError) as caught:
        parse(text)
    assert str(caught.value) == f"{text}: {said}"
