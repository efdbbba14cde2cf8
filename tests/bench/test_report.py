"""Tests of the bench's report: medians, ratios, marks, and texts about missing peers."""

import json
from io import StringIO

import pytest
from rich.console import Console

from tests.bench.metrics import (
    METRICS,
    AboveOthers,
    AtLeastTimes,
    AtMost,
    AtMostTimes,
    Mark,
    Metric,
    Target,
    judge,
)
from tests.bench.report import Report, as_json, markdown, print_report
from tests.bench.runner import Sample, medians
from tests.bench.scenarios import NAMES

SPEED = Metric(name="ws64.rate", title="messages", unit="/s")


def sample(peer: str, scenario: str, errors: int = 0, failure: str = "", **figures: float) -> Sample:
    return Sample(peer=peer, scenario=scenario, round=1, figures=figures, errors=errors, noise=0.1, failure=failure)


def report_of(*samples: Sample, missing: tuple[str, ...] = ()) -> Report:
    peers = list(dict.fromkeys(sample.peer for sample in samples))
    return Report(
        facts={"machine": "2 cores"}, options="1 round", peers=peers, samples=samples, missing=missing, notes=()
    )


def test_a_median_is_taken_over_the_rounds() -> None:
    rounds = [sample("ours", "dl8", mb=value) for value in (1.0, 50.0, 3.0)]

    assert medians(rounds) == {("ours", "dl8.mb"): 3.0}


@pytest.mark.parametrize(
    ("target", "value", "mark"),
    [
        (AtMost(40), 40, Mark.PASS),
        (AtMost(40), 40.1, Mark.MISS),
        (AtMostTimes(1.4), 140, Mark.PASS),
        (AtMostTimes(1.4), 141, Mark.MISS),
        (AtLeastTimes(0.6), 60, Mark.PASS),
        (AtLeastTimes(0.6), 59, Mark.MISS),
    ],
)
def test_ours_is_judged_against_a_limit_or_nginx_twice(target: Target, value: float, mark: Mark) -> None:
    found = {("ours", "ws64.rate"): value, ("nginx2", "ws64.rate"): 100.0}

    assert judge(SPEED, target, found).mark is mark


def test_others_in_the_run_are_what_ours_must_reach() -> None:
    found = {("ours", "ws64.rate"): 50.0, ("frp", "ws64.rate"): 60.0, ("nginx2", "ws64.rate"): 100.0}

    verdict = judge(SPEED, AboveOthers(("frp", "chisel"), 0.3), found)

    assert (verdict.mark, verdict.words) == (Mark.MISS, "≥ frp")


def test_an_earlier_ratio_stands_in_for_others_that_are_not_installed() -> None:
    found = {("ours", "ws64.rate"): 50.0, ("nginx2", "ws64.rate"): 100.0}

    assert judge(SPEED, AboveOthers(("frp",), 0.34), found).mark is Mark.PASS


def test_a_ratio_without_nginx_is_not_judged() -> None:
    assert judge(SPEED, AtLeastTimes(0.6), {("ours", "ws64.rate"): 50.0}).mark is Mark.UNJUDGED


def test_every_metric_belongs_to_a_scenario_and_every_scenario_has_one() -> None:
    assert {metric.name.partition(".")[0] for metric in METRICS} == set(NAMES)


def test_the_table_shows_ratios_marks_and_what_is_missing() -> None:
    samples = sample("nginx2", "dl8", mb=600, cpu=2.0), sample("ours", "dl8", mb=450, cpu=4.0)
    screen = StringIO()

    print_report(report_of(*samples, missing=("frp (frps): get it",)), Console(file=screen, width=140))

    text = screen.getvalue()
    assert "450 (0.75×)" in text
    assert "✓ ≥ 0.6×" in text
    assert "✗ ≤ 1.5×" in text
    assert "1 of 2 targets met, 1 missed" in text
    assert "missing: frp (frps): get it" in text


def test_markdown_has_one_line_for_each_figure() -> None:
    samples = sample("nginx2", "start", seconds=0.01), sample("ours", "start", seconds=0.25)

    assert "| client start to first answer, s | 0.01 | 0.25 | ✓ ≤ 0.5 s |" in markdown(report_of(*samples))


def test_failed_windows_and_errors_are_told() -> None:
    samples = sample("ours", "dl8", failure="no answer"), sample("ours", "small16", errors=3, rate=1.0)

    text = markdown(report_of(*samples))

    assert "ours, dl8: no answer" in text
    assert "ours, small16: 3 errors in round 1" in text


def test_json_holds_samples_medians_and_verdicts() -> None:
    tree = json.loads(as_json(report_of(sample("ours", "version", seconds=0.2))))

    assert tree["medians"] == {"ours version.seconds": 0.2}
    assert tree["verdicts"] == [{"metric": "version.seconds", "target": "≤ 0.15 s", "mark": "miss"}]
    assert tree["samples"][0]["figures"] == {"seconds": 0.2}
