import io
import re
from dataclasses import dataclass

import pytest
from rich.console import Console
from rich.screen import Screen as WholeScreen

from tests.cli.fakes import exchange
from tests.support.every import every
from tests.support.terminal import Terminal, columns_of
from tunnelctl.agent.address import UpstreamAddress
from tunnelctl.agent.config import TunnelConfig
from tunnelctl.agent.watcher import Started, Waiting
from tunnelctl.cli.screen import MAX_SEEN, Screen, WebInterface
from tunnelctl.wire.errors import Code
from tunnelctl.wire.messages import OidcSpec, PolicySpec

POLICY = PolicySpec(
    oidc=OidcSpec(issuer="https://acme.okta.com", client_id="c", client_secret="s", allow_domains=("acme.com",))
)
OFFERED = TunnelConfig(upstream=UpstreamAddress("http", "localhost", 3000), policy=POLICY)
HOSTILE = "\x1b[31m\x07\r\n\x9b2J\u202e\u200b"
ESCAPED = r"\x1b[31m\x07\r\n\x9b2J\u202e\u200b"


@pytest.fixture
def screen():
    return Screen(relay="https://tun.example", tunnels=(OFFERED,))


def lines(screen, width=80, height=24):
    """What a person sees of it."""
    out = io.StringIO()
    Console(file=out, width=width, height=height, force_terminal=True).print(WholeScreen(screen), end="")
    terminal = Terminal(width, height)
    terminal.feed(out.getvalue().replace("\n", "\r\n").encode())
    return terminal.lines


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
    assert "Who is let in                 one: people of one" in lines(screen)
    assert "Who is let in                 two: people of two" in lines(screen)
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
    assert requests[0].split()[2:] == ["GET", "/199", "200", "OK"]
    assert requests[1].split()[3] == "/198"
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


def test_the_local_api_is_where_ngrok_shows_it(screen):
    online(screen)
    assert not any(line.startswith("Web Interface") for line in lines(screen))
    WebInterface(screen).serving("127.0.0.1:4040")
    shown = lines(screen)
    assert shown[shown.index("Web Interface                 http://127.0.0.1:4040") - 1].startswith("Latency")
    assert shown[shown.index("Web Interface                 http://127.0.0.1:4040") + 1].startswith("Forwarding")


@every("width", [80, 60, 40])
def test_two_hundred_tunnels_leave_room_for_the_rest(width):
    screen = Screen(relay="r", tunnels=())
    screen.connected("r", "ann")
    for number in range(200):
        let_in = "anyone who has the address" if number else "people of acme.com"
        url = f"https://web-{number}.tun.example"
        screen.started(Started(name=f"web-{number}", upstream="http://localhost:80", url=url, let_in=let_in))
    screen.ended("late", "it was taken over")
    screen.app("http://localhost:80", "connection refused")
    screen.exchange("web-1", exchange(target=b"/seen"))
    shown = "\n".join(lines(screen, width, 40))
    assert int(re.search(r"… and (\d+) more", shown)[1]) + shown.count("https://web-") == 200
    assert shown.count("https://web-") >= 4
    for seen in ("web-0: people of acme.com", "web-1, web-2, web-3 and 196 more:", "late ended: ", "/seen", "refused)"):
        assert seen in " ".join(shown.split()), seen


def test_a_long_address_can_be_read_whole_and_a_long_rule_ends_in_dots():
    screen = Screen(relay="r", tunnels=())
    url = f"https://{'a' * 60}.{'b' * 60}.tun.example"
    screen.started(Started(name="n", upstream="http://localhost:80", url=url, let_in="one or another, " * 200))
    shown = lines(screen, 40, 40)
    first, last = (next(at for at, line in enumerate(shown) if line.startswith(word)) for word in ("Forw", "Who"))
    assert "".join(line[16:] for line in shown[first:last]).replace(" ", "") == f"{url}->http://localhost:80"
    assert f"{'':16}…" in shown
    assert any(line.startswith("Connections") for line in shown)


@every("width", [80, 60, 40, 21])
def test_wide_characters_and_accents_do_not_push_anything_over_the_edge(width):
    screen = Screen(relay="r", tunnels=(), notices=("東京" * 60,))
    screen.connected("r", "チーム 東京 e\u0301")
    screen.started(Started(name="店", upstream="u", url="https://x.tun.example", let_in="人" * 100))
    shown = lines(screen, width, 200)
    assert "人" * 100 in "".join(line[16 if width < 78 else 30 :] for line in shown)
    assert any("チー" in line for line in shown)
    assert all(sum(map(columns_of, line)) <= width for line in shown)


def test_what_the_relay_and_visitors_say_is_shown_and_not_obeyed(screen):
    online(screen, url=f"https://demo{HOSTILE}", let_in=f"people{HOSTILE}", redirect_uri=f"https://idp{HOSTILE}")
    screen.connected("r", f"ann{HOSTILE}")
    screen.waiting(Waiting(name="n", upstream="u", owner="ann", reason=f"no edge{HOSTILE}"))
    screen.app("http://localhost:80", f"refused{HOSTILE}")
    screen.ended("other", f"taken{HOSTILE}")
    screen.exchange("n", exchange(method=b"\x1b", target=HOSTILE.encode(), reason=HOSTILE, code=Code.CANCELLED))
    screen.lost(HOSTILE, 1.0, "")
    shown = "\n".join(lines(screen, 200, 60))  # the terminal refuses control characters
    for place in ("demo", "people", "idp", "ann", "no edge", "refused", "taken", "reconnecting ("):
        assert f"{place}{ESCAPED}" in shown, place
    assert screen.summary()[0].startswith(f"https://demo{ESCAPED} -> ")
    assert r"\x1b \x1b[31m\x07\x0d\x0a\xc2\x9b2J" in " ".join(shown.split())


@dataclass
class Restless:
    """A tunnel of which another one starts each time that it is drawn."""

    screen: Screen
    name: str = "restless"
    upstream: str = "u"
    let_in: str = ""
    redirect_uri: str = ""
    drawn: int = 0

    @property
    def url(self):
        self.drawn += 1
        self.screen.started(Started(name=f"n{self.drawn}", upstream="u", url=f"https://n{self.drawn}.example"))
        return "https://restless.example"


def test_tunnels_that_start_while_the_screen_is_drawn_do_not_end_its_thread(screen):
    restless = Restless(screen)
    screen.started(restless)
    drawn = restless.drawn
    shown = "\n".join(lines(screen))
    assert restless.drawn > drawn
    assert "https://restless.example -> u" in shown
