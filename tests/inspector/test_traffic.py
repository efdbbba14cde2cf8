"""Counts for the charts: every request once, and failures of the local service as failures."""

from types import SimpleNamespace
from typing import Any, cast

from tests.support.every import every
from tunnelctl.agent.watcher import Exchange
from tunnelctl.inspector.traffic import AgentTraffic
from tunnelctl.wire.errors import Code

NOW = 1_800_000_000.0


def counted(**what: Any) -> tuple[int, int, float | None]:
    """Requests, failures and the median after an exchange of this kind."""
    traffic = AgentTraffic(now=lambda: NOW)
    given = {"status": 200, "code": None, "is_upgrade": False, "seconds": 0.1} | what
    traffic.exchange("web", cast(Exchange, SimpleNamespace(**given)))
    total = traffic.series.total(NOW + 1, 60)
    return total.requests, total.failed, total.p50


def test_a_request_is_counted_with_its_time():
    requests, failed, median = counted()
    assert (requests, failed) == (1, 0)
    assert median is not None
    assert 0.05 <= median <= 0.1


@every(
    "what",
    [{"status": 500}, {"status": 0, "code": Code.UPSTREAM_UNREACHABLE}, {"status": 0, "code": Code.UPSTREAM_TIMEOUT}],
)
def test_what_the_local_service_fails_to_do_is_a_failure(what):
    assert counted(**what)[:2] == (1, 1)


@every("what", [{"status": 404}, {"status": 0, "code": Code.CANCELLED}])
def test_a_visitors_mistake_or_leaving_is_none(what):
    assert counted(**what)[:2] == (1, 0)


def test_an_upgraded_connection_has_no_time():
    assert counted(is_upgrade=True, seconds=3600.0) == (1, 0, None)
