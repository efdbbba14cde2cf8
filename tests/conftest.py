"""Fixtures for all tests, and the rule that CI skips nothing."""

import gc
import signal
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, settings
from playwright.async_api import Browser, BrowserContext

from tests.support.app_routes import sample_app
from tests.support.apps import App
from tests.support.browser import fresh_profile, launched
from tests.support.idp import Provider, mock_provider
from tests.support.postgres import PostgresServer, postgres_server
from tests.support.tools import in_ci

EXAMPLES = 100 if in_ci() else 20
"""Of each property that Hypothesis tries and that names no number of its own: others in every run."""
settings.register_profile(
    "any machine",
    deadline=None,  # how long one example takes says how busy the machine is, and nothing about the code
    suppress_health_check=[HealthCheck.too_slow],
    max_examples=EXAMPLES,
)
settings.load_profile("any machine")

COLLECT_AFTER = 100_000
"""Objects that come to be between two garbage collections. With Python's 700, they take a seventh of the CPU."""
gc.disable()  # what importing all tests makes stays


for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
    # `nohup` and a shell's `&` ignore these; a program that a test starts would ignore them too, instead of stopping.
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, lambda *_: None)
# `timeout` and CI end a run so: fixtures end the processes that they started, as after Ctrl-C.
signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, which start processes and browsers: so all workers end together."""
    slow = {item.path for item in items if item.get_closest_marker("journey") or item.get_closest_marker("browser")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_collection_finish() -> None:
    """Collect garbage from here on, without looking at the tests and libraries again and again, nor once: a second."""
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 20, 100)
    gc.enable()


@pytest.fixture(scope="module", autouse=True)
def _nothing_left_open() -> Iterator[None]:
    """Let what a module left open be found, and fail the last test of that module instead of any later one."""
    yield
    gc.collect()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Where CI is set, a skipped test is a failed one: a missing tool must not hide a hole."""
    report = yield
    if in_ci() and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {report.longrepr}"
    return report


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """A Chromium, one for each worker: tests ask it for fresh profiles, and run in the session's loop."""
    async with launched() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def context(chromium: Browser) -> AsyncIterator[BrowserContext]:
    """A fresh profile in it."""
    async with fresh_profile(chromium) as context:
        yield context


@pytest.fixture
def app() -> Iterator[App]:
    """The sample upstream."""
    with sample_app() as app:
        yield app


@pytest.fixture(scope="session")
def mock_idp() -> Iterator[Provider]:
    """The PyPI provider, one for each worker."""
    with mock_provider() as provider:
        yield provider


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server, one for each worker."""
    with postgres_server() as server:
        yield server
