"""`web_addr`, and the sockets it leads to."""

import socket
from contextlib import closing

import pytest

from tunnelctl.localapi.address import WebAddress, WebAddressInvalid, WebAddressTaken, listen, parse_web_addr


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:4040", "127.0.0.1", 4040), ("localhost:4555", "127.0.0.1", 4555), ("4041", "127.0.0.1", 4041),
        (":4041", "127.0.0.1", 4041), ("0.0.0.0:4040", "0.0.0.0", 4040), ("[::1]:4040", "::1", 4040),
        ("127.0.0.1:0", "127.0.0.1", 0),
    ],
)  # fmt: skip
def test_an_address_is_explicit(text, host, port):
    assert parse_web_addr(text) == WebAddress(host=host, port=port, is_explicit=True)


def test_without_one_it_is_port_4040_of_this_machine_and_false_is_none():
    assert parse_web_addr("") == WebAddress(host="127.0.0.1", port=4040)
    assert parse_web_addr("false") is None
    assert parse_web_addr("False") is None


@pytest.mark.parametrize("text", ["x", "127.0.0.1", "127.0.0.1:", "1:65536", "127.0.0.1:-1", "a.example:80", "true"])
def test_what_is_no_address_is_refused(text):
    with pytest.raises(WebAddressInvalid, match=r"127\.0\.0\.1:4040"):
        parse_web_addr(text)


def test_who_can_connect():
    assert WebAddress().is_loopback
    assert not WebAddress(host="0.0.0.0").is_loopback


def test_a_default_that_is_taken_leads_to_the_next_port_up():
    told = []
    with closing(listen(WebAddress(port=0, is_explicit=True), told.append)) as first:
        port = first.getsockname()[1]
        with closing(listen(WebAddress(port=port), told.append)) as second:
            assert second.getsockname()[1] > port
    assert told == [f"127.0.0.1:{port}"]


def test_when_no_port_near_is_free_the_system_chooses(monkeypatch):
    monkeypatch.setattr("tunnelctl.localapi.address.ALTERNATIVES", 0)
    with closing(listen(WebAddress(port=0, is_explicit=True), pytest.fail)) as first:
        port = first.getsockname()[1]
        with closing(listen(WebAddress(port=port), lambda address: None)) as second:
            assert second.getsockname()[1] != port


def test_an_explicit_one_that_is_taken_is_an_error_in_the_words_that_tools_look_for():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(WebAddressTaken) as raised:
            listen(WebAddress(port=port, is_explicit=True), pytest.fail)
    assert str(raised.value) == f"listen tcp 127.0.0.1:{port}: bind: address already in use"


def test_an_address_of_another_machine_is_an_error():
    with pytest.raises(WebAddressTaken, match=r"listen tcp 192\.0\.2\.1:0: bind: "):
        listen(WebAddress(host="192.0.2.1", port=0, is_explicit=True), pytest.fail)
