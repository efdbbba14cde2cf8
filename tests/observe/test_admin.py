"""The operator's address: metrics, health and readiness."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from tunnelrelay.observe.admin import Admin, Check
from tunnelrelay.observe.metrics import Metrics


class Relay:
    """What readiness hangs on, to be turned by a test."""

    def __init__(self) -> None:
        self.is_listening = True
        self.store: Callable[[], bool] = lambda: True

    async def ping(self) -> None:
        if not self.store():
            raise OSError("disk full")


@pytest.fixture
def relay() -> Relay:
    return Relay()


@pytest.fixture
async def client(relay: Relay) -> AsyncIterator[httpx.AsyncClient]:
    checks: dict[str, Check] = {"store": relay.ping, "listening": lambda: relay.is_listening}
    admin = Admin("127.0.0.1", 0, metrics=Metrics(), checks=checks)
    host, port = await admin.start()
    async with httpx.AsyncClient(base_url=f"http://{host}:{port}", trust_env=False) as client:
        yield client
    await admin.stop()
    await admin.stop()


async def test_metrics_are_in_prometheus_format(client: httpx.AsyncClient) -> None:
    answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert "tunnelrelay_exchanges_total" in answer.text
    assert "server" not in answer.headers


async def test_health_is_answered_whatever_readiness_says(client: httpx.AsyncClient, relay: Relay) -> None:
    relay.is_listening = False
    assert (await client.get("/healthz")).status_code == 200


async def test_a_relay_is_ready_when_every_check_passes(client: httpx.AsyncClient) -> None:
    answer = await client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {"ready": True, "checks": {"store": "ok", "listening": "ok"}}


async def test_a_drain_or_a_lost_store_makes_it_not_ready_and_says_which(
    client: httpx.AsyncClient, relay: Relay
) -> None:
    relay.is_listening = False
    relay.store = lambda: False
    answer = await client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {"ready": False, "checks": {"store": "failed", "listening": "failed"}}
    assert "disk" not in answer.text


async def test_a_check_that_hangs_counts_as_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang() -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("tunnelrelay.observe.admin.CHECK_SECONDS", 0.01)
    admin = Admin("127.0.0.1", 0, metrics=Metrics(), checks={"store": hang})
    host, port = await admin.start()
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"http://{host}:{port}/readyz")).status_code == 503
    await admin.stop()


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/", 404), ("POST", "/metrics", 405)])
async def test_there_is_nothing_else(client: httpx.AsyncClient, method: str, path: str, status: int) -> None:
    assert (await client.request(method, path)).status_code == status


async def test_a_busy_port_is_an_error_for_the_caller_to_judge() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        admin = Admin("127.0.0.1", taken.getsockname()[1], metrics=Metrics(), checks={})
        with pytest.raises(OSError, match="in use"):
            await admin.start()
        await admin.stop()


@pytest.mark.usefixtures("client")
async def test_the_processes_signal_handlers_are_left_alone() -> None:
    await asyncio.sleep(0)  # lets the server's task begin
    assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler  # as tests/conftest.py sets it


async def test_stopping_does_not_wait_for_a_client_that_says_nothing() -> None:
    admin = Admin("127.0.0.1", 0, metrics=Metrics(), checks={})
    host, port = await admin.start()
    _, writer = await asyncio.open_connection(host, port)
    await admin.stop()
    writer.close()
