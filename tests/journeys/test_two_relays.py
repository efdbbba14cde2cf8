"""Two relay processes on one data directory, or on one PostgreSQL database with a directory each, behind one address:
what was used at one is used up at both.

Nothing stands in front of them here: the visitor says which of the two each request goes to.
"""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.support.app_routes import SECRET, sample_app
from tests.support.apps import App
from tests.support.idp import CLIENT_ID, Provider, node_provider
from tests.support.ports import free_port
from tests.support.postgres import new_database
from tests.support.stack import Stack, stacked, until
from tests.support.visitor import NAVIGATION, LoopbackTransport, Visitor
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.thorough

RECHECK = 5
"""Seconds after which the provider is asked again."""
AT_ONCE = 50


@dataclass(frozen=True)
class Pair:
    """Two relays, an agent at each, and the address that visitors type.

    Attributes:
        sent: Logout tokens that the provider has sent to whoever listens where it was told to.
    """

    port: int
    relays: tuple[Stack, Stack]
    idp: Provider
    app: App
    sent: list[str]

    @property
    def url(self) -> str:
        return f"http://demo.tun.localhost:{self.port}"

    def logins(self) -> int:
        """Codes that the provider was asked to redeem."""
        return len([call for call in self.idp.calls("/token") if call["grant_type"] == "authorization_code"])

    def refreshes(self) -> list[int]:
        """The status of each refresh so far."""
        return [call["status"] for call in self.idp.calls("/token") if call["grant_type"] == "refresh_token"]


class Balancer(LoopbackTransport):
    """Sends what is for the common address to one relay or the other.

    Attributes:
        to: 0 or 1.
    """

    def __init__(self, pair: Pair) -> None:
        super().__init__()
        self.pair = pair
        self.to = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.port != self.pair.port:
            return super().handle_request(request)
        url = request.url.copy_with(host="127.0.0.1", port=self.pair.relays[self.to].port)
        sent = httpx.Request(
            request.method, url, headers=request.headers, stream=request.stream, extensions=request.extensions
        )
        return httpx.HTTPTransport.handle_request(self, sent)


class Guest(Visitor):
    """A visitor whose requests go where `at` says."""

    def __init__(self, pair: Pair) -> None:
        super().__init__()
        self.balancer = Balancer(pair)
        self.client = httpx.Client(transport=self.balancer, timeout=PATIENCE, trust_env=False)

    def at(self, relay: int) -> "Guest":
        self.balancer.to = relay
        return self

    def up_to(self, path: str, page: httpx.Response | None = None, url: str = "") -> str:
        """Goes on until a redirect leads to `path`, and gives that address."""
        self.stops_at = lambda target: urlsplit(target).path == path
        if page is not None:
            self.sign_in(page, "alice")
        else:
            self.navigate(url)
        self.stops_at = lambda _target: False
        return self.went[-1]


CALLBACK, HANDOFF = "/oauth2/callback", "/_tunnel/oidc/cb"


@pytest.fixture(scope="module", params=["directory", "postgresql"])
def pair(request, tmp_path_factory) -> Iterator[Pair]:
    with ExitStack() as held:
        port, shared = free_port(), tmp_path_factory.mktemp("shared")
        flags = ["--domain=tun.localhost", f"--public-url=http://*.tun.localhost:{port}"]
        places = [shared, shared]
        if request.param == "postgresql":
            database = new_database(request.getfixturevalue("postgres"))
            flags += [f"--database={database}", f"--keys-file={shared / 'keys.json'}"]
            places = [tmp_path_factory.mktemp("relay"), tmp_path_factory.mktemp("relay")]
        first, second = (held.enter_context(stacked(place, *flags)) for place in places)
        relays = (first, second)
        sent = held.enter_context(listening())
        client = {"backchannel_logout_uri": sent.url}
        redirect_uris = [f"http://localhost:{port}{CALLBACK}"]
        idp = held.enter_context(node_provider(redirect_uris, client=client, refresh="always"))
        app = held.enter_context(sample_app())
        for relay in relays:
            relay.tunnel(app.port, "--subdomain=demo", f"--oidc-userinfo-refresh-interval={RECHECK}s", *idp.flags)
        yield Pair(port, relays, idp, app, sent.tokens)


class Inbox:
    """Takes logout tokens and keeps them."""

    def __init__(self) -> None:
        self.tokens: list[str] = []
        inbox = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                inbox.tokens.append(parse_qs(body)["logout_token"][0])
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_args: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://localhost:{self.server.server_port}/logout"


@contextmanager
def listening() -> Iterator[Inbox]:
    inbox = Inbox()
    thread = threading.Thread(target=inbox.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield inbox
    finally:
        inbox.server.shutdown()
        thread.join()
        inbox.server.server_close()


@pytest.fixture
def guest(pair) -> Iterator[Guest]:
    with Guest(pair) as guest:
        yield guest


@pytest.fixture(scope="module", autouse=True)
def early(pair) -> tuple[httpx.Cookies, float]:
    """The cookies of a login before all tests, and when its refresh is due: the tests between take most of the time."""
    with Guest(pair) as guest:
        assert SECRET in guest.login(pair.url, "alice").text
        return httpx.Cookies(guest.client.cookies), time.monotonic() + RECHECK


def code_of(page: httpx.Response) -> str:
    return page.headers.get("tunnel-error", "")


def test_a_login_may_use_both_relays_and_its_session_counts_at_both(pair, guest):
    callback = guest.at(0).up_to(CALLBACK, guest.navigate(pair.url))
    handoff = guest.at(1).up_to(HANDOFF, url=callback)
    assert SECRET in guest.at(0).navigate(handoff).text

    assert SECRET in guest.at(1).get(pair.url).text


def test_a_hand_off_that_one_relay_took_the_other_takes_no_more(pair, guest):
    """Row 36. Not even with the cookie of its login, which a thief may have copied in time."""
    callback = guest.up_to(CALLBACK, guest.navigate(pair.url))
    handoff = guest.up_to(HANDOFF, url=callback)
    with Guest(pair) as thief:
        thief.client.cookies = httpx.Cookies(guest.client.cookies)
        assert SECRET in guest.at(0).navigate(handoff).text
        spent = pair.logins()

        assert code_of(thief.at(1).navigate(handoff)) == "login_restart"
        assert code_of(thief.at(1).navigate(callback)) == "login_restart"
        assert thief.at(1).get(pair.url).status_code == 401
    assert pair.logins() == spent


def test_a_login_that_ended_at_one_relay_takes_no_new_code_at_the_other(pair, guest):
    """Row 40."""
    start = guest.navigate(pair.url)
    with Guest(pair) as thief:
        thief.client.cookies = httpx.Cookies(guest.client.cookies)
        again = thief.up_to(CALLBACK, thief.navigate(guest.went[0]))
        assert SECRET in guest.at(0).sign_in(start, "alice").text
        spent = pair.logins()

        assert code_of(thief.at(1).navigate(again)) == "login_restart"
        assert thief.at(1).get(pair.url).status_code == 401
    assert pair.logins() == spent


async def test_a_hand_off_that_reaches_both_relays_at_once_is_taken_by_one(pair):
    """Rows 36, 63."""
    with Guest(pair) as guest, Guest(pair) as twin:
        handoff = guest.up_to(HANDOFF, url=guest.up_to(CALLBACK, guest.navigate(pair.url)))
        twin.client.cookies = httpx.Cookies(guest.client.cookies)
        spent = pair.logins()
        pages = await asyncio.gather(
            asyncio.to_thread(guest.at(0).get, handoff, headers=NAVIGATION),
            asyncio.to_thread(twin.at(1).get, handoff, headers=NAVIGATION),
        )

    assert sorted(page.status_code == 303 for page in pages) == [False, True]
    assert pair.logins() == spent + 1


def test_signing_out_at_one_relay_ends_the_session_and_its_open_streams_at_the_other(pair, guest):
    """Row 74."""
    guest.at(0).login(pair.url, "alice")
    with Guest(pair) as old:
        old.client.cookies = httpx.Cookies(guest.client.cookies)
        with old.at(1).client.stream("GET", f"{pair.url}/events") as events:
            lines = events.iter_lines()
            assert next(lines) == "data: first"
            guest.submit(guest.navigate(f"{pair.url}/_tunnel/logout"))
            with pytest.raises(httpx.TransportError):
                list(lines)

        assert old.at(0).get(pair.url).status_code == 401
        assert old.at(1).get(pair.url).status_code == 401


def test_a_logout_token_that_one_relay_took_the_other_takes_no_more(pair, guest):
    """Row 18."""
    guest.login(pair.url, "bob")
    pair.idp.control(logout={"client_id": CLIENT_ID, "sub": "bob"})
    token = pair.sent[-1]

    def said(relay: int) -> int:
        to = f"http://localhost:{pair.port}/oauth2/backchannel-logout"
        return guest.at(relay).client.post(to, data={"logout_token": token}).status_code

    assert said(0) == 200
    until(lambda: guest.at(1).get(pair.url).status_code == 401, "the session to end at the other relay")
    guest.at(1).login(pair.url, "bob")
    assert (said(1), said(0)) == (400, 400)
    assert guest.at(1).get(pair.url).status_code == 200


async def test_fifty_requests_at_two_relays_when_a_refresh_is_due_refresh_once(pair, early):
    """Rows 63, 64. The provider rotates refresh tokens, and ends the whole family when an old one comes again."""
    cookies, due = early

    def visit(relay: int) -> int:
        with Guest(pair) as one:
            one.client.cookies = httpx.Cookies(cookies)
            return one.at(relay).get(pair.url).status_code

    done = len(pair.refreshes())
    await asyncio.to_thread(until, lambda: time.monotonic() > due, "the moment a refresh is due")
    answers = await asyncio.gather(*(asyncio.to_thread(visit, number % 2) for number in range(AT_ONCE)))
    await asyncio.to_thread(until, lambda: len(pair.refreshes()) > done, "a refresh")

    assert set(answers) == {200}
    assert (visit(0), visit(1)) == (200, 200)
    refreshed, intervals = pair.refreshes()[done:], int((time.monotonic() - due) // RECHECK)
    assert set(refreshed) == {200}
    assert len(refreshed) <= 1 + intervals  # a machine that takes longer than one comes to the next
