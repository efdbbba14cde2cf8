"""One real relay for each module of tests, and for each test an agent that does as it is told."""

import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext

from tests.ingress.scene import HOST, Clock, Scene
from tests.support.browser import fresh_profile, launched
from tests.support.scripted_agent import scripted_agent
from tunnelrelay.app.relay import Relay
from tunnelrelay.config.config import load_config
from tunnelrelay.observe.access import AccessLog, ExchangeRecord


class KeptLog(AccessLog):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__(lambda lines: None, is_on=False)
        self.kept: list[ExchangeRecord] = []

    def add(self, exchange: ExchangeRecord) -> None:
        self.kept.append(exchange)


def make_relay(data_dir: Path, log: KeptLog, **flags: object) -> Relay:
    flags = {"http": "127.0.0.1:0", "admin": "off", "data_dir": str(data_dir), "drain_seconds": "0", **flags}
    return Relay(load_config(flags=flags, env={}), access=log, clock=Clock(), monotonic=Clock(time.monotonic))


@pytest.fixture(scope="module")
def relay_flags() -> dict[str, object]:
    """Settings of the module's relay; a module overrides it."""
    return {}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def relay(
    tmp_path_factory: pytest.TempPathFactory, relay_flags: dict[str, object]
) -> AsyncIterator[tuple[Relay, KeptLog]]:
    log = KeptLog()
    async with make_relay(tmp_path_factory.mktemp("relay"), log, **relay_flags) as relay:
        yield relay, log


@pytest.fixture(autouse=True)
def _true_time(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a test did to its module's clock ends with it."""
    yield
    if "relay" in request.fixturenames:
        relay, _ = request.getfixturevalue("relay")
        relay.clock.ahead = 0.0


@pytest_asyncio.fixture(loop_scope="module")
async def s(relay: tuple[Relay, KeptLog]) -> AsyncIterator[Scene]:
    running, log = relay
    log.kept.clear()
    assert running.http is not None
    async with scripted_agent(running.http[1], HOST.partition(".")[0]) as agent:
        agent.answers = lambda asked: None
        yield Scene(running, agent, log.kept)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Browser]:
    """A Chromium in the loop of the module's relay."""
    async with launched() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module")
async def context(chromium: Browser) -> AsyncIterator[BrowserContext]:
    async with fresh_profile(chromium) as context:
        yield context
