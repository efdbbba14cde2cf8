"""What the relay counts, as Prometheus reads it."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tunnelrelay.observe.exposition import render
from tunnelrelay.observe.metrics import DEFINITIONS, GAUGES, MAX_LABEL_VALUES, Metrics


def scraped(metrics: Metrics) -> dict[tuple[str, tuple[str, ...]], float]:
    families = text_string_to_metric_families(render(metrics).decode())
    return {(s.name, tuple(s.labels.values())): s.value for family in families for s in family.samples}


def test_exchanges_are_counted_by_class_bytes_and_duration() -> None:
    metrics = Metrics()
    for status, seconds in ((200, 0.004), (204, 0.02), (502, 90.0), (101, 1.0), (999, 0.0)):
        metrics.exchange(status, seconds, 10, 100)
    found = scraped(metrics)
    counts = {label: found["tunnelrelay_exchanges_total", (label,)] for label in ("1xx", "2xx", "3xx", "4xx", "5xx")}
    assert counts == {"1xx": 1, "2xx": 2, "3xx": 0, "4xx": 0, "5xx": 2}
    assert found["tunnelrelay_received_bytes_total", ()] == 50
    assert found["tunnelrelay_sent_bytes_total", ()] == 500
    assert found["tunnelrelay_exchange_seconds_bucket", ("0.005",)] == 2
    assert found["tunnelrelay_exchange_seconds_bucket", ("60.0",)] == 4
    assert found["tunnelrelay_exchange_seconds_count", ()] == 5
    assert found["tunnelrelay_exchange_seconds_sum", ()] == pytest.approx(91.024)


def test_a_duration_on_a_bound_counts_below_it() -> None:
    metrics = Metrics()
    metrics.exchange(200, 0.005, 0, 0)
    assert scraped(metrics)["tunnelrelay_exchange_seconds_bucket", ("0.005",)] == 1


def test_events_are_counted_by_their_label() -> None:
    metrics = Metrics()
    metrics.error("upstream_unreachable")
    metrics.refused_head("head_too_large")
    metrics.login("ok")
    metrics.login("ok")
    metrics.agent("refused")
    metrics.held()
    found = scraped(metrics)
    assert found["tunnelrelay_errors_total", ("upstream_unreachable",)] == 1
    assert found["tunnelrelay_refused_heads_total", ("head_too_large",)] == 1
    assert found["tunnelrelay_logins_total", ("ok",)] == 2
    assert found["tunnelrelay_agents_total", ("refused",)] == 1
    assert found["tunnelrelay_held_requests_total", ()] == 1


def test_a_label_never_takes_more_than_its_share_of_values() -> None:
    metrics = Metrics()
    for number in range(10_000):
        metrics.error(f"made_up_{number}")
    assert len(metrics.counts["errors"]) == MAX_LABEL_VALUES + 1
    assert metrics.counts["errors"]["other"] == 10_000 - MAX_LABEL_VALUES


def test_gauges_are_read_from_their_owners_at_each_scrape() -> None:
    metrics = Metrics()
    links = [1, 2]
    metrics.watch("open_links", lambda: len(links))
    assert scraped(metrics)["tunnelrelay_open_links", ()] == 2
    links.clear()
    assert scraped(metrics)["tunnelrelay_open_links", ()] == 0
    with pytest.raises(ValueError, match="no gauge"):
        metrics.watch("open_doors", lambda: 0)


def test_every_definition_is_shown_and_the_process_too() -> None:
    text = render(Metrics()).decode()
    for definition in DEFINITIONS:
        assert f"# TYPE {definition.name}" in text
        assert definition.doc in text
    assert "process_resident_memory_bytes" in text
    assert "open_links" in GAUGES
