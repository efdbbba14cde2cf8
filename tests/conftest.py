"""Fixtures for all tests, and the rule that CI skips nothing."""

import signal
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.support.app_routes import sample_app
from tests.support.apps import App
from tests.support.idp import Provider, mock_provider
from tests.support.postgres import PostgresServer, postgres_server
from tests.support.tools import in_ci

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
# How long one example takes says how busy the machine is, and nothing about the code.

for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
    # `nohup` and a shell's `&` ignore these; a program that a test starts would ignore them too, instead of stopping.
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, lambda *_: None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Where CI is set, a skipped test is a failed one: a missing tool must not hide a hole."""
    report = yield
    if in_ci() and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {report.longrepr}"
    return report


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
