import io

import pytest
from rich.console import Console
from rich.screen import Screen as WholeScreen

from tests.cli.fakes import exchange
from tunnelctl.agent.address import UpstreamAddress
from tunnelctl.agent.config import TunnelConfig
from tunnelctl.agent.watcher import Started, Waiting
from tunnelctl.cli.screen import MAX_SEEN, Screen
from tunnelctl.wire.errors import Code
from tunnelctl.wire.messages import OidcSpec, PolicySpec

POLICY = PolicySpec(
    oidc=OidcSpec(issuer="https://acme.okta.com", client_id="c", client_secret="s", allow_domains=("acme.com",))
)
OFFERED = TunnelConfig(upstream=UpstreamAddress("http", "localhost", 3000), policy=POLICY)


@pytest.fixture
def screen():
    return Screen(relay="https://tun.example", tunnels=(OFFERED,))


def lines(screen, width=80, height=24):
    console = Console(record=True, width=width, height=height, force_terminal=True, file=io.StringIO())
    console.print(WholeScreen(screen))
    return [line.rstrip() for line in console.export_text().splitlines()]


def online(screen, **changes):
    screen.connected("https://tun.example", "ann")
    screen.latency(0.0123)
    started = {"name": "command_line", "upstream": "http://localhost:3000", "url": "https://demo.tun.example"}
    started["let_in"] = OFFERED.who_may_visit
    screen.started(Started(**{**started, **changes}))


def test_an_online_tunnel_says_where_it_is_and_who_is_let_in(screen):
    online(screen, redirect_uri="https://idp.tun.example/oauth2/callback")
    shown = lines(screen)
    assert shown[0] == "tunnel" + "(Ctrl+C to quit)".rjust(74)
    assert "Session Status                online" in shown
    assert "Latency                       12ms" in shown
    assert "Forwarding                    https://demo.tun.example -> http://localhost:3000" in shown
    assert "Redirect URI to register      https://idp.tun.example/oauth2/callback" in shown
    assert "people who log in at https://acme.okta.com" in "\n".join(shown)
    assert len(shown) == 24


def test_a_tunnel_without_an_edge_says_so_until_one_comes(screen):
    screen.connected("r", "ann")
    screen.waiting(Waiting(name="n", upstream="http://localhost:80", owner="ann", reason="no edge of owner ann yet"))
    shown = lines(screen, width=120)
    assert "Session Status                waiting for an edge" in shown
    assert "Forwarding                    no edge of owner ann yet" in shown
    screen.started(Started(name="n", upstream="http://localhost:80", url="https://shop.tun.example"))
    shown = lines(screen, width=120)
    assert "Forwarding                    https://shop.tun.example -> http://localhost:80" in shown
    assert "no edge" not in "\n".join(shown)


def test_every_edge_has_its_line_and_loses_it_when_it_goes(screen):
    for url in ("https://a.tun.example", "https://b.tun.example"):
        online(screen, url=url)
    screen.left("command_line", "https://a.tun.example")
    assert [line.split()[1] for line in lines(screen) if line.startswith("Forwarding")] == ["https://b.tun.example"]


def test_an_agent_without_tunnels_is_online_and_shows_those_that_come_and_go():
    screen = Screen(relay="r", tunnels=())
    screen.connected("r", "ann")
    assert "Session Status                online" in lines(screen)
    assert "Forwarding                    no tunnel yet" in lines(screen)
    for name in ("one", "two"):
        screen.started(Started(name=name, upstream="u", url=f"https://{name}.tun.example", let_in=f"people of {name}"))
    assert "Who is let in                 one: people of one. two: people of two" in lines(screen)
    screen.removed("one")
    shown = lines(screen)
    assert [line.split()[1] for line in shown if line.startswith("Forwarding")] == ["https://two.tun.example"]
    assert "Who is let in                 people of two" in shown


def test_a_tunnel_that_ended_leaves_its_reason():
    screen = Screen(relay="r", tunnels=(OFFERED,))
    online(screen)
    screen.ended("command_line", "it was taken over")
    assert "Forwarding                    command_line ended: it was taken over" in lines(screen)
    assert "https://demo.tun.example" not in "\n".join(lines(screen))


def test_the_summary_of_many_addresses_is_bounded(screen):
    for number in range(MAX_SEEN + 5):
        online(screen, url=f"https://a{number}.tun.example")
    assert len(screen.summary()) == MAX_SEEN


def test_it_is_not_online_before_the_address_answered(screen):
    screen.connected("r", "ann")
    assert "Session Status                checking the public address" in lines(screen)
    screen.unready("https://demo.tun.example", "no answer in 5 s")
    assert "does not answer (no answer in" in "\n".join(lines(screen))


def test_trouble_is_shown_with_its_reason(screen):
    online(screen)
    screen.lost("connection refused", 0.3, "")
    shown = lines(screen)
    assert "Session Status                reconnecting (connection refused)" in shown
    assert "Latency                       -" in shown


def test_the_last_request_is_on_top_and_old_ones_fall_off(screen):
    online(screen)
    for number in range(200):
        screen.began("n")
        screen.exchange("n", exchange(target=b"/%d?q=secret" % number))
    shown = lines(screen)
    requests = shown[shown.index("-------------") + 2 :]
    assert requests[0].split()[1:] == ["GET", "/199", "200", "OK"]
    assert requests[1].split()[2] == "/198"
    assert "secret" not in "\n".join(shown)
    assert len(shown) == 24


def test_the_counters_count(screen):
    for _ in range(3):
        screen.began("n")
    screen.exchange("n", exchange(seconds=0.25))
    shown = lines(screen)
    head = next(number for number, line in enumerate(shown) if line.startswith("Connections"))
    assert shown[head].split() == ["Connections", "ttl", "opn", "rt1", "rt5", "p50", "p90"]
    assert shown[head + 1].split() == ["3", "2", "0.05", "0.01", "250ms", "250ms"]


def test_a_failure_says_whose_it_was(screen):
    screen.began("n")
    screen.exchange("n", exchange(status=0, code=Code.UPSTREAM_UNREACHABLE, reason="connection refused"))
    assert "502 connection refused" in "\n".join(lines(screen))


def test_control_bytes_of_visitors_are_shown_and_not_obeyed(screen):
    screen.began("n")
    screen.exchange("n", exchange(method=b"GE\x1b", target=b"/\x1b[31m[bold]x\xe2\x80\xae"))
    shown = "\n".join(lines(screen))
    assert "GE\\x1b" in shown
    assert "/\\x1b[31m[bold]x\\xe2" in shown


@pytest.mark.parametrize(("width", "height"), [(80, 24), (40, 10), (20, 3), (200, 60), (1, 1)])
def test_it_fits_whatever_the_terminal(screen, width, height):
    online(screen)
    screen.began("n")
    screen.exchange("n", exchange(target=b"/" + b"long" * 500))
    shown = lines(screen, width, height)
    assert len(shown) <= height
    assert all(len(line) <= width for line in shown)


def test_a_warning_stands_on_top():
    screen = Screen(relay="r", tunnels=(OFFERED,), notices=("--authtoken is on the command line",))
    assert lines(screen)[2] == "--authtoken is on the command line"
