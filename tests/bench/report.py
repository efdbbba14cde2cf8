"""Turns samples into reports: a table for the terminal, Markdown for the README, and JSON."""

import dataclasses
import json
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from tests.bench.metrics import METRICS, Mark, Medians, Metric, Verdict, judge
from tests.bench.peers import OURS, YARDSTICK
from tests.bench.runner import NOISY_CORES, Sample, medians

MARKS = {Mark.PASS: "✓", Mark.MISS: "✗", Mark.UNJUDGED: "?"}
STYLES = {Mark.PASS: "green", Mark.MISS: "bold red", Mark.UNJUDGED: "yellow"}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of the report: one metric of all peers, with our results for its targets."""

    metric: Metric
    cells: tuple[str, ...]
    verdicts: tuple[Verdict, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The results of a whole run.

    Attributes:
        peers: Names of the peers, the columns of the table.
        missing: Peers and tools that could not run, and how to install them.
        notes: What a reader of the columns must know.
    """

    facts: Mapping[str, str]
    options: str
    peers: Sequence[str]
    samples: Sequence[Sample]
    missing: Sequence[str]
    notes: Sequence[str]


def rows_of(report: Report) -> list[Row]:
    """Return a row for every metric that has a figure, with the results for our targets if our tunnel took part."""
    found = medians(report.samples)
    rows = []
    for metric in METRICS:
        if not any((peer, metric.name) in found for peer in report.peers):
            continue
        has_ours = (OURS, metric.name) in found
        verdicts = tuple(judge(metric, target, found) for target in metric.targets) if has_ours else ()
        cells = tuple(_cell(metric, peer, found) for peer in report.peers)
        rows.append(Row(metric=metric, cells=cells, verdicts=verdicts))
    return rows


def _cell(metric: Metric, peer: str, found: Medians) -> str:
    """Return a peer's figure as text, with its ratio to the yardstick's."""
    value = found.get((peer, metric.name))
    if value is None:
        return "–"
    text = f"{value:,.{metric.digits}f}"
    base = found.get((YARDSTICK, metric.name))
    return text if peer == YARDSTICK or not base or not metric.is_relative else f"{text} ({value / base:.2f}×)"


def failures_of(report: Report) -> list[str]:
    """Return a line per peer and scenario about windows without figures, and about windows with failed requests."""
    lines: dict[str, None] = {}
    for sample in report.samples:
        if sample.failure:
            lines[f"{sample.peer}, {sample.scenario}: {sample.failure}"] = None
        elif sample.errors:
            lines[f"{sample.peer}, {sample.scenario}: {sample.errors} errors in round {sample.round}"] = None
    return list(lines)


def noise_of(report: Report) -> str:
    """Return a text about how much CPU other processes took during the measurements."""
    noises = sorted(sample.noise for sample in report.samples if sample.noise is not None)
    if not noises:
        return "other work on the machine was not looked at"
    middle, worst = noises[len(noises) // 2], noises[-1]
    words = f"other work beside the windows: {middle:.2f} cores at the median, {worst:.2f} at worst"
    return f"{words}: too much for these figures to be trusted" if middle > NOISY_CORES else words


def score_of(rows: Sequence[Row]) -> str:
    """Return a text about how many targets were met."""
    marks = [verdict.mark for row in rows for verdict in row.verdicts]
    if not marks:
        return f"`{OURS}` took no part: no target was judged"
    words = f"{marks.count(Mark.PASS)} of {len(marks)} targets met, {marks.count(Mark.MISS)} missed"
    unjudged = marks.count(Mark.UNJUDGED)
    return f"{words}, {unjudged} not judged for want of a figure" if unjudged else words


def _words_below(report: Report, rows: Sequence[Row]) -> list[str]:
    lines = [score_of(rows) + ".", noise_of(report) + "."]
    lines += [f"went wrong: {line}" for line in failures_of(report)]
    return lines + [f"missing: {line}" for line in report.missing]


def print_report(report: Report, console: Console) -> None:
    """Print the table and the notes to a terminal."""
    table = Table(title=report.options, title_justify="left", header_style="bold")
    table.add_column("(× = times nginx proxied twice)")
    for peer in report.peers:
        table.add_column(peer, justify="right")
    table.add_column("target")
    rows = rows_of(report)
    group = ""
    for row in rows:
        scenario = row.metric.name.partition(".")[0]
        if group and scenario != group:
            table.add_section()
        group = scenario
        table.add_row(f"{row.metric.title}, {row.metric.unit}", *row.cells, _marked(row.verdicts))
    console.print(table)
    for line in (*report.notes, *_words_below(report, rows), _facts_line(report)):
        console.print(line, highlight=False, markup=False)


def _marked(verdicts: Sequence[Verdict]) -> str:
    marked = (f"[{STYLES[verdict.mark]}]{MARKS[verdict.mark]}[/] {verdict.words}" for verdict in verdicts)
    return "\n".join(marked)


def _facts_line(report: Report) -> str:
    return "; ".join(f"{name} {value}" for name, value in report.facts.items())


def markdown(report: Report) -> str:
    """Return the report as a Markdown table with notes, for the README."""
    rows = rows_of(report)
    lines = [
        "| | " + " | ".join(report.peers) + " | target |",
        "|---|" + "---:|" * len(report.peers) + "---|",
    ]
    for row in rows:
        target = ", ".join(f"{MARKS[verdict.mark]} {verdict.words}" for verdict in row.verdicts)
        lines.append(f"| {row.metric.title}, {row.metric.unit} | {' | '.join(row.cells)} | {target} |")
    below = [f"{report.options}; × is times nginx proxied twice.", *report.notes, *_words_below(report, rows)]
    return "\n".join([*lines, "", *(f"- {line}" for line in (*below, _facts_line(report)))]) + "\n"


def as_json(report: Report) -> str:
    """Return the whole report as JSON: facts, samples, medians and results for targets."""
    found = medians(report.samples)
    verdicts = [
        {"metric": row.metric.name, "target": verdict.words, "mark": verdict.mark.value}
        for row in rows_of(report)
        for verdict in row.verdicts
    ]
    tree = {
        "facts": dict(report.facts),
        "options": report.options,
        "missing": list(report.missing),
        "medians": {f"{peer} {metric}": value for (peer, metric), value in found.items()},
        "verdicts": verdicts,
        "samples": [dataclasses.asdict(sample) for sample in report.samples],
    }
    return json.dumps(tree, indent=1, default=dict) + "\n"
