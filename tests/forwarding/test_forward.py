"""`tunnelctl.forward` against a real relay: when the block begins, what it can use, and each error."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

import tunnelctl
from tests.support.apps import App, Exchange, running
from tests.support.ports import free_port
from tests.support.raw_http import RawConnection, connect
from tests.support.waiting import PATIENCE, turns
from tests.support.world import World, world
from tunnelctl.agent.address import parse_relay
from tunnelctl.agent.config import AgentConfig, TunnelConfig
from tunnelctl.agent.outcome import Failed, Invalid, NameTaken, NoRelay, NotAllowed, Outcome, Stopped, Unreachable
from tunnelctl.forwarding.errors import TunnelError, error_of

PASSWORD = "ann:correct-horse"


async def ok(exchange: Exchange) -> None:
    await exchange.respond(200, "ok")


async def moved(exchange: Exchange) -> None:
    await exchange.respond(302, "", [("Location", f"http://{exchange.request.get('host')}/setup")])


async def broken(exchange: Exchange) -> None:
    await exchange.respond(503, "starting")


async def silent(exchange: Exchange) -> None:
    await exchange.app.gate("silent")


@pytest.fixture(autouse=True)
def _no_settings_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def app() -> Iterator[App]:
    with running(App({"/": ok, "/healthz": ok, "/moved": moved, "/broken": broken, "/silent": silent})) as app:
        yield app
        app.open_gate("silent")


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path / "data") as w:
        yield w


def relay_of(w: World) -> str:
    return f"http://127.0.0.1:{w.port}"


def test_importing_the_package_loads_no_part_of_it() -> None:
    code = "import sys, tunnelctl; print(sorted(name for name in sys.modules if name.startswith('tunnelctl')))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed == "['tunnelctl']\n"


def test_every_name_of_the_api_is_there_and_no_other() -> None:
    assert {name: getattr(tunnelctl, name).__name__ for name in tunnelctl.API} == {name: name for name in tunnelctl.API}
    with pytest.raises(AttributeError, match="nothing"):
        tunnelctl.nothing  # type: ignore[attr-defined]  # noqa: B018


# The block


async def test_the_block_reaches_the_app_past_the_password_and_others_do_not(w: World, app: App) -> None:
    serving = tunnelctl.forward(app.port, relay=relay_of(w), subdomain="demo", basic_auth=(PASSWORD,))
    async with serving as endpoint, endpoint.client() as client:
        assert endpoint.url == f"http://demo.localhost:{w.port}"
        assert endpoint.hits == 0
        assert (await client.get("/")).text == "ok"
        assert endpoint.hits == 1
        async with connect(w.port) as stranger:
            assert (await stranger.request("GET", "/", host="demo.localhost")).status == 401
        assert endpoint.hits == 1
        assert app.requests[-1].get("authorization") == ""
    assert w.relay.registry.find("demo.localhost") is None


async def test_the_clients_requests_elsewhere_bear_no_token(w: World, app: App) -> None:
    with running(App({"/": ok})) as other:
        serving = tunnelctl.forward(app.port, relay=relay_of(w), basic_auth=(PASSWORD,))
        async with serving as endpoint, endpoint.client() as client:
            await client.get(f"http://127.0.0.1:{other.port}/")
            assert other.requests[-1].get("authorization") == ""
            assert endpoint.headers()["Authorization"] == f"Bearer {endpoint.token.reveal()}"
            assert endpoint.token.reveal() not in repr(endpoint.token)


async def test_hits_are_waited_for(w: World, app: App) -> None:
    async with tunnelctl.forward(app.port, relay=relay_of(w)) as endpoint, endpoint.client() as client:
        waiting = asyncio.create_task(endpoint.wait_hits(2, PATIENCE))
        await client.get("/")
        await client.get("/broken")
        await waiting
        with pytest.raises(tunnelctl.NoHits, match="2 of 3"):
            await endpoint.wait_hits(3, 0)


async def test_a_cancelled_block_gives_the_name_back(w: World, app: App) -> None:
    entered = asyncio.Event()

    async def serve() -> None:
        async with tunnelctl.forward(app.port, relay=relay_of(w), subdomain="demo"):
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(serve())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await turns(lambda: w.relay.registry.find("demo.localhost") is None)


async def test_a_restart_of_the_relay_goes_unnoticed(w: World, app: App) -> None:
    async with tunnelctl.forward(app.port, relay=relay_of(w), basic_auth=(PASSWORD,)) as endpoint:
        await w.relay.stop()
        await w.start_relay()
        async with asyncio.timeout(PATIENCE), endpoint.client() as client:
            while (await client.get("/")).status_code != 200:
                pass
        assert endpoint.hits >= 1


# The local address


@asynccontextmanager
async def local_visitor(endpoint: tunnelctl.AsyncEndpoint) -> AsyncIterator[RawConnection]:
    async with connect(int(endpoint.local_url.rpartition(":")[2])) as visitor:
        yield visitor


async def test_the_local_address_needs_neither_name_nor_token(w: World, app: App) -> None:
    serving = tunnelctl.forward(app.port, relay=relay_of(w), basic_auth=(PASSWORD,))
    async with serving as endpoint, httpx.AsyncClient(trust_env=False) as client:
        origin = {"Origin": endpoint.local_url, "Referer": f"{endpoint.local_url}/page"}
        answer = await client.post(f"{endpoint.local_url}/", content=b"x" * 300_000, headers=origin)
        assert answer.text == "ok"
        seen = app.requests[-1]
        assert [seen.get(name) for name in ("host", "origin", "referer")] == [
            endpoint.host,
            endpoint.url,
            f"{endpoint.url}/page",
        ]
        answer = await client.get(f"{endpoint.local_url}/moved")
        assert answer.headers["location"] == f"{endpoint.local_url}/setup"


@pytest.mark.parametrize(
    ("host", "fields", "status"),
    [
        ("evil.example", [], 421),
        ("127.0.0.1", [], 421),
        ("{local}", [("Sec-Fetch-Site", "cross-site")], 403),
        ("{local}", [("Sec-Fetch-Site", "same-origin")], 200),
    ],
)
async def test_pages_of_other_sites_cannot_use_the_local_address(
    w: World, app: App, host: str, fields: list[tuple[str, str]], status: int
) -> None:
    async with tunnelctl.forward(app.port, relay=relay_of(w), basic_auth=(PASSWORD,)) as endpoint:
        name = host.format(local=endpoint.local_url.partition("://")[2])
        async with local_visitor(endpoint) as visitor:
            assert (await visitor.request("GET", "/", host=name, fields=fields)).status == status
        assert endpoint.hits == (status == 200)


async def test_the_local_address_ends_with_the_block(w: World, app: App) -> None:
    async with tunnelctl.forward(app.port, relay=relay_of(w)) as endpoint:
        address = endpoint.local_url
    async with httpx.AsyncClient(trust_env=False) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(address)


async def test_a_client_that_leaves_ends_its_request_at_the_app(w: World, app: App) -> None:
    async with tunnelctl.forward(app.port, relay=relay_of(w)) as endpoint:
        async with local_visitor(endpoint) as visitor:
            await visitor.send(f"GET /silent HTTP/1.1\r\nHost: {endpoint.host}\r\n\r\n".encode())
            await turns(lambda: app.seen("/silent"))
        assert endpoint.hits == 0


# Errors on entering


async def entered(*args: object, **settings: object) -> None:
    async with tunnelctl.forward(*args, **settings):  # type: ignore[arg-type]  # any settings
        raise AssertionError("the block has begun")


async def test_an_app_that_never_listens(w: World) -> None:
    port = free_port()
    with pytest.raises(tunnelctl.NotReady, match=f"app: nothing listens at localhost:{port}: connection refused") as no:
        await entered(port, relay=relay_of(w), ready_timeout=0.3)
    assert (no.value.stage, no.value.exit_code) == ("app", 113)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/broken", "gave 503"),
        ("/moved", "gave 302 to http://"),
        ("/none", "gave 404"),
    ],
)
async def test_an_app_whose_ready_path_is_not_2xx(w: World, app: App, path: str, text: str) -> None:
    with pytest.raises(tunnelctl.NotReady, match=f"app: GET {path} {text}"):
        await entered(app.port, relay=relay_of(w), ready_path=path, ready_timeout=1)


async def test_an_app_that_is_broken_without_a_ready_path(w: World) -> None:
    with running(App({"/": broken})) as app, pytest.raises(tunnelctl.NotReady, match="app: GET / gave 503"):
        await entered(app.port, relay=relay_of(w), ready_timeout=1)


async def test_without_a_ready_path_a_missing_page_is_an_answer(w: World) -> None:
    with running(App({})) as app:
        async with tunnelctl.forward(app.port, relay=relay_of(w)) as endpoint:
            assert endpoint.hits == 0


async def test_an_app_that_says_nothing(w: World, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunnelctl.forwarding.readiness.ANSWER_SECONDS", 0.2)
    with pytest.raises(tunnelctl.NotReady, match="app: it took the connection and did not answer GET /silent"):
        await entered(app.port, relay=relay_of(w), ready_path="/silent", ready_timeout=1)


async def test_a_relay_that_does_not_answer(app: App) -> None:
    with pytest.raises(tunnelctl.RelayUnreachable, match="connection refused") as no:
        await entered(app.port, relay=f"http://127.0.0.1:{free_port()}", ready_timeout=1)
    assert no.value.exit_code == 110


async def test_a_server_that_is_no_relay(app: App) -> None:
    with pytest.raises(tunnelctl.RelayUnreachable, match="is no relay"):
        await entered(app.port, relay=f"http://127.0.0.1:{app.port}")


async def test_a_refused_credential(tmp_path: Path, app: App) -> None:
    async with world(tmp_path / "other", multi_tenant=True) as w:
        with pytest.raises(tunnelctl.CredentialRefused) as no:
            await entered(app.port, relay=relay_of(w), authtoken="ta_0123456789abcdefghij")
    assert no.value.exit_code == 111
    assert "ta_0123456789" not in str(no.value)


async def test_rules_that_keep_the_run_out(w: World, app: App) -> None:
    with pytest.raises(tunnelctl.RunRefused, match=r"login: .*network_denied") as no:
        await entered(app.port, relay=relay_of(w), cidr_allow=("203.0.113.0/24",))
    assert no.value.exit_code == 118


@pytest.mark.parametrize(
    "settings",
    [
        {"subdomain": "not a name"},
        {"cidr_allow": ("x",)},
        {"ready_path": "healthz"},
        {"oidc": ""},
        {"relay": "ftp://x"},
    ],
)
async def test_settings_that_cannot_be(settings: dict[str, object]) -> None:
    with pytest.raises(tunnelctl.SettingsRefused) as no:
        await entered(3000, **settings)
    assert isinstance(no.value, ValueError)


async def test_a_login_that_the_environment_requires_holds(w: World, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNNELCTL_OIDC", "@work")
    with pytest.raises(tunnelctl.SettingsRefused, match="@work"):
        await entered(app.port, relay=relay_of(w))


# Errors on leaving


async def test_a_block_without_requests(w: World, app: App) -> None:
    with pytest.raises(tunnelctl.NoHits, match="0 of 1 requests reached the app") as no:
        async with tunnelctl.forward(app.port, relay=relay_of(w), require_hits=1):
            pass
    assert no.value.exit_code == 115


async def test_requests_that_end_at_the_login_are_no_hits(w: World, app: App) -> None:
    with pytest.raises(tunnelctl.NoHits):
        async with (
            tunnelctl.forward(app.port, relay=relay_of(w), subdomain="demo", basic_auth=(PASSWORD,), require_hits=1),
            connect(w.port) as stranger,
        ):
            await stranger.request("GET", "/", host="demo.localhost")


async def test_a_name_that_is_taken_over(w: World, app: App) -> None:
    async def lose_the_name() -> None:
        async with tunnelctl.forward(app.port, relay=relay_of(w), subdomain="demo") as endpoint:
            await w.tunnel(app.port, subdomain="demo")
            assert isinstance(await endpoint.closed, tunnelctl.AddressTaken)

    with pytest.raises(tunnelctl.AddressTaken, match="was taken over") as no:
        await lose_the_name()
    assert no.value.exit_code == 112


async def test_a_link_that_is_lost_at_the_end(w: World, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunnelctl.forwarding.endpoint.BACK_SECONDS", 0.1)

    async def lose_the_relay() -> None:
        async with tunnelctl.forward(app.port, relay=relay_of(w)) as endpoint, endpoint.client() as client:
            await w.relay.stop()
            assert (await client.get("/")).status_code == 502

    with pytest.raises(tunnelctl.TunnelLost, match=r"the tunnel was away for .* 1 requests failed") as no:
        await lose_the_relay()
    assert no.value.exit_code == 114


async def test_what_the_block_raises_comes_before_any_error_of_ours(w: World, app: App) -> None:
    with pytest.raises(KeyError):
        async with tunnelctl.forward(app.port, relay=relay_of(w), require_hits=1):
            raise KeyError


# Without an event loop


def test_the_twin_without_a_loop_does_the_same(app: App, relay_process: str) -> None:
    with tunnelctl.forward_sync(app.port, relay=relay_process, basic_auth=(PASSWORD,), require_hits=1) as endpoint:
        with endpoint.client() as client:
            assert client.get("/").text == "ok"
        endpoint.wait_hits(1, PATIENCE)
        assert (endpoint.hits, endpoint.error) == (1, None)


def test_the_twin_raises_the_same_errors(app: App, relay_process: str) -> None:
    with pytest.raises(tunnelctl.NoHits), tunnelctl.forward_sync(app.port, relay=relay_process, require_hits=1):
        pass
    no_relay = tunnelctl.forward_sync(app.port, relay=f"http://127.0.0.1:{app.port}")
    with pytest.raises(tunnelctl.RelayUnreachable), no_relay:
        raise AssertionError("the block has begun")
    with pytest.raises(KeyError), tunnelctl.forward_sync(app.port, relay=relay_process, require_hits=1):
        raise KeyError


@pytest.fixture(scope="module")
def relay_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    from tests.support.stack import stacked

    with stacked(tmp_path_factory.mktemp("relay")) as stack:
        yield f"http://127.0.0.1:{stack.port}"


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (NotAllowed("m"), 111),
        (NameTaken("m"), 112),
        (Invalid("m"), 116),
        (NoRelay("m"), 110),
        (Unreachable("m"), 110),
        (Failed("m"), 113),
    ],
)
def test_every_end_of_an_agent_has_an_exit_code(outcome: Outcome, code: int) -> None:
    error = error_of(outcome, "https://tun.example")
    assert isinstance(error, TunnelError)
    assert error.exit_code == code


def test_an_agent_that_was_stopped_has_no_error() -> None:
    assert error_of(Stopped(), "https://tun.example") is None


def test_a_tcp_tunnel_cannot_be_served_for_a_run() -> None:
    from tunnelctl.agent.address import parse_tcp_upstream
    from tunnelctl.forwarding.endpoint import open_endpoint

    config = AgentConfig(
        relay=parse_relay("https://tun.example"), tunnels=(TunnelConfig(upstream=parse_tcp_upstream("22")),)
    )

    async def enter() -> None:
        async with open_endpoint(config):
            raise AssertionError("the block has begun")

    with pytest.raises(tunnelctl.SettingsRefused):
        asyncio.run(enter())
