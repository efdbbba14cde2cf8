"""What a relay says on a terminal when it starts: where, who may connect, what to type next; and not in a pipe."""

import os
import pty
import re
import signal
import subprocess
import sys

import click
import pytest

from tests.support.processes import environment
from tunnelctl.cli.main import tunnel
from tunnelrelay.address import PublicAddress
from tunnelrelay.app.start_screen import StartFacts, can_show, start_screen
from tunnelrelay.config.config import load_config
from tunnelrelay.config.values import ListenAddress

LINK = "http://dashboard.localhost:8080/sign-in#code=tc_1"


def facts(*, flags=None, can_connect=False, http="127.0.0.1:8080", **rest):
    config = load_config(flags={"http": http, "data_dir": "/srv/my data", **(flags or {})}, env={})
    address = PublicAddress(scheme=config.scheme, domain=config.domain, port=config.public_port(config.http.port))
    return StartFacts(
        config=config, address=address, http=config.http, https=None, admin=None, can_connect=can_connect, **rest
    )


def commands(screen):
    return [line.strip() for line in screen.splitlines() if line.startswith("  ")]


PUBLIC = {"public_url": "https://*.tun.example"}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (facts(), ["tunnel http 3000"]),
        (facts(http="127.0.0.1:9000"), ["tunnel http 3000 --relay http://127.0.0.1:9000"]),
        (facts(http="[::1]:9000"), ["tunnel http 3000 --relay http://[::1]:9000"]),
        (facts(flags=PUBLIC, can_connect=True), ["tunnel http 3000 --relay https://tun.example --authtoken TOKEN"]),
        (
            facts(flags=PUBLIC, admin_link=LINK),
            [
                LINK,
                "tunnelrelay token create --owner NAME --data-dir '/srv/my data'",
                "tunnel http 3000 --relay https://tun.example --authtoken TOKEN",
            ],
        ),
        (
            facts(flags={"multi_tenant": "true"}, can_connect=True),
            ["tunnel http 3000 --authtoken TOKEN"],
        ),
    ],
)
def test_what_to_type_next_is_written_out(found, expected):
    assert commands(start_screen(found)) == expected
    for line in expected:
        if line.startswith("tunnel "):
            arguments = line.split()[1:]
            tunnel.get_command(click.Context(tunnel), "http").make_context("tunnel http", arguments[1:]).close()


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (facts(), "from this machine alone, without a token"),
        (facts(flags=PUBLIC), "with a token, of which there is none yet"),
        (facts(flags=PUBLIC, can_connect=True), "https://tun.example, with a token\n"),
        (facts(redirect_uri="https://idp.x/cb"), "redirect URI to register at its provider: https://idp.x/cb"),
        (
            facts(warnings=(("the certificate expired", "renew it"),)),
            "warning: the certificate expired\nhint: renew it",
        ),
        (facts(), "Data           /srv/my data"),
        (
            facts(flags={**PUBLIC, "tcp_ports": "20000-20100,2222"}),
            "TCP tunnels    tcp://tun.example:PORT, ports 20000-20100, 2222\n",
        ),
    ],
)
def test_where_and_who_is_told(found, said):
    assert said in start_screen(found)


def test_a_relay_without_tcp_ports_shows_none():
    assert "tcp" not in start_screen(facts()).lower()


def test_without_colour_there_is_no_escape_and_with_it_the_same_words():
    found = facts(flags=PUBLIC, admin_link=LINK, warnings=(("w", "h"),))
    assert "\x1b" not in start_screen(found)
    assert click.unstyle(start_screen(found, has_colour=True)) == start_screen(found)


def test_only_a_terminal_with_a_text_log_gets_the_screen():
    config, as_json = facts().config, facts(flags={"log_format": "json"}).config
    assert can_show(config, is_terminal=True)
    assert not can_show(config, is_terminal=False)
    assert not can_show(as_json, is_terminal=True)


def test_a_listener_is_shown_as_it_truly_is():
    assert ListenAddress("::1", 9).is_loopback
    assert "http [::1]:9000" in start_screen(facts(http="[::1]:9000"))


@pytest.mark.journey
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX terminals")
def test_a_relay_on_a_terminal_begins_with_the_screen_and_not_with_its_log(tmp_path):
    ours, theirs = pty.openpty()
    args = [sys.executable, "-m", "tunnelrelay", "serve", "--http=0", "--admin=off", f"--data-dir={tmp_path / 'data'}"]
    relay = subprocess.Popen(args, env=environment({"TERM": "xterm"}), stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    try:
        while b"The log follows." not in shown:
            shown += os.read(ours, 65536)  # ends with OSError should the relay end before
    finally:
        relay.send_signal(signal.SIGINT)
        relay.wait(30)
        os.close(ours)
    text = shown.decode()
    assert text.startswith("tunnelrelay ")
    assert re.search(r"http://dashboard\.localhost:\d+/sign-in#code=tc_\w+\r\n", text)
    assert re.search(r"\r\n  tunnel http 3000 --relay http://127\.0\.0\.1:\d+\r\n", text)
    assert " audit " not in text.partition("The log follows.")[0]
    assert "\x1b" not in text  # NO_COLOR is set
