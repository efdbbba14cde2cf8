"""The table of the bench's figures and their targets, and pure functions that compare medians with the targets.

Ratios are to the yardstick, two nginx proxies in a row in the same run, as absolute figures differ between machines.
"""

import dataclasses
import enum
from collections.abc import Mapping
from typing import assert_never

from tests.bench.peers import OURS, YARDSTICK

Medians = Mapping[tuple[str, str], float]


@dataclasses.dataclass(frozen=True, slots=True)
class AtMostTimes:
    """Target: our figure is at most `limit` times that of the yardstick."""

    limit: float


@dataclasses.dataclass(frozen=True, slots=True)
class AtLeastTimes:
    """Target: our figure is at least `limit` times that of the yardstick."""

    limit: float


@dataclasses.dataclass(frozen=True, slots=True)
class AtMost:
    """Target: our figure is at most `limit`, in the figure's unit."""

    limit: float


@dataclasses.dataclass(frozen=True, slots=True)
class AboveOthers:
    """Target: our figure is at least that of each peer in `names`.

    With none of them in the run, the target is `stand_in` times the yardstick's figure: the ratio that the best of them
    reached in an earlier run.
    """

    names: tuple[str, ...]
    stand_in: float


Target = AtMostTimes | AtLeastTimes | AtMost | AboveOthers


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One figure of one scenario.

    Attributes:
        name: `SCENARIO.FIGURE`.
        title: What the figure is, for people.
        unit: The unit of its values.
        digits: How many decimals are shown.
        is_relative: Whether a ratio to the yardstick makes sense; the yardstick has no tunnel to start or recover.
        targets: The targets for our figure; empty for a figure without one.
    """

    name: str
    title: str
    unit: str
    digits: int = 0
    is_relative: bool = True
    targets: tuple[Target, ...] = ()


class Mark(enum.Enum):
    """Whether a target is met, missed, or cannot be judged."""

    PASS = "pass"
    MISS = "miss"
    UNJUDGED = "not judged"


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """The result for one target: its mark, and the target as text, such as `<= 1.4x`."""

    mark: Mark
    words: str


def judge(metric: Metric, target: Target, medians: Medians) -> Verdict:
    """Compare our median of a metric with a target. The mark is UNJUDGED when a needed figure is not in the run."""
    ours = medians.get((OURS, metric.name))
    yardstick = medians.get((YARDSTICK, metric.name))
    match target:
        case AtMost(limit):
            words, is_met = f"≤ {limit:g} {metric.unit}", None if ours is None else ours <= limit
        case AtMostTimes(limit):
            words, ratio = f"≤ {limit:g}×", _ratio(ours, yardstick)
            is_met = None if ratio is None else ratio <= limit
        case AtLeastTimes(limit):
            words, ratio = f"≥ {limit:g}×", _ratio(ours, yardstick)
            is_met = None if ratio is None else ratio >= limit
        case AboveOthers(names, stand_in):
            words, floor = _floor(metric, names, stand_in, medians)
            is_met = None if ours is None or floor is None else ours >= floor
        case _:
            assert_never(target)
    mark = Mark.UNJUDGED if is_met is None else Mark.PASS if is_met else Mark.MISS
    return Verdict(mark, words)


def _ratio(value: float | None, base: float | None) -> float | None:
    return None if value is None or not base else value / base


def _floor(metric: Metric, names: tuple[str, ...], stand_in: float, medians: Medians) -> tuple[str, float | None]:
    """Return the value that our figure must reach: the best of the others in this run, otherwise their stand-in."""
    present = {name: medians[name, metric.name] for name in names if (name, metric.name) in medians}
    if present:
        return f"≥ {'/'.join(present)}", max(present.values())
    yardstick = medians.get((YARDSTICK, metric.name))
    return f"≥ {stand_in:g}× ({'/'.join(names)} earlier)", None if yardstick is None else stand_in * yardstick


def _small(connections: int, stand_in: float | None) -> list[Metric]:
    """Return the metrics of small requests at a number of connections; they have targets only with `stand_in`."""
    name, what = f"small{connections}", f"small GET, {connections} connection" + "s" * (connections > 1)
    above = (AboveOthers(("frp", "chisel"), stand_in),) if stand_in else ()
    return [
        Metric(name=f"{name}.rate", title=f"{what}: requests", unit="/s", targets=above),
        Metric(name=f"{name}.p50", title=f"{what}: p50", unit="ms", digits=2),
        Metric(name=f"{name}.p99", title=f"{what}: p99", unit="ms", digits=2),
        Metric(
            name=f"{name}.cpu",
            title=f"{what}: CPU per 10k",
            unit="s",
            digits=2,
            targets=(AtMostTimes(1.4),) if stand_in else (),
        ),
    ]


def _bulk(scenario: str, what: str) -> list[Metric]:
    return [
        Metric(name=f"{scenario}.mb", title=what, unit="MB/s", targets=(AtLeastTimes(0.6),)),
        Metric(name=f"{scenario}.cpu", title=f"{what}: CPU", unit="s/GB", digits=2, targets=(AtMostTimes(1.5),)),
    ]


METRICS: tuple[Metric, ...] = (
    *_small(1, None),
    *_small(16, 0.72),
    *_small(64, 0.73),
    Metric(name="newconn.rate", title="new connection per GET, 16 at once", unit="/s"),
    Metric(name="newconn.p99", title="new connection per GET: p99", unit="ms", digits=1),
    Metric(
        name="newconn.cpu", title="new connection per GET: CPU per 10k", unit="s", digits=2, targets=(AtMostTimes(2.2),)
    ),
    *_bulk("dl1", "1 download"),
    *_bulk("dl8", "8 downloads"),
    *_bulk("ul1", "1 upload"),
    *_bulk("ul8", "8 uploads"),
    Metric(
        name="beside_bulk.p50", title="small GET beside 4 downloads: p50", unit="ms", digits=2, targets=(AtMost(2.5),)
    ),
    Metric(
        name="beside_bulk.p99", title="small GET beside 4 downloads: p99", unit="ms", digits=2, targets=(AtMost(10),)
    ),
    Metric(name="beside_bulk.sent_p99", title="… p99 counted from sending", unit="ms", digits=2),
    Metric(name="beside_bulk.mb", title="… those downloads", unit="MB/s"),
    Metric(name="beside_stalled.p50", title="small GET beside 8 stopped readers: p50", unit="ms", digits=2),
    Metric(name="beside_stalled.p99", title="small GET beside 8 stopped readers: p99", unit="ms", digits=2),
    Metric(
        name="ws64.rate",
        title="websocket echo, 64 connections: messages",
        unit="/s",
        targets=(AboveOthers(("frp",), 0.34),),
    ),
    Metric(name="ws64.p50", title="websocket echo: p50", unit="ms", digits=2),
    Metric(name="ws64.p99", title="websocket echo: p99", unit="ms", digits=2),
    Metric(name="ws64.cpu", title="websocket echo: CPU per 10k", unit="s", digits=2),
    Metric(name="session.open", title="small GET, no login asked: CPU per 10k", unit="s", is_relative=False, digits=2),
    Metric(
        name="session.live", title="small GET, live OIDC session: CPU per 10k", unit="s", is_relative=False, digits=2
    ),
    Metric(
        name="session.times",
        title="cost of the live session check",
        unit="×",
        is_relative=False,
        digits=2,
        targets=(AtMost(1.10),),
    ),
    Metric(
        name="edge.open", title="small GET beside an edge, no login: CPU per 10k", unit="s", is_relative=False, digits=2
    ),
    Metric(
        name="edge.agent",
        title="small GET, live session at an agent's own login: CPU per 10k",
        unit="s",
        is_relative=False,
        digits=2,
    ),
    Metric(
        name="edge.lone",
        title="small GET, live session at an edge with one tunnel: CPU per 10k",
        unit="s",
        is_relative=False,
        digits=2,
    ),
    Metric(
        name="edge.two",
        title="small GET, live session at an edge with two tunnels: CPU per 10k",
        unit="s",
        is_relative=False,
        digits=2,
    ),
    Metric(name="edge.times", title="cost of an edge's policy", unit="×", is_relative=False, digits=2),
    Metric(
        name="edge.beside",
        title="an edge's policy beside an agent's own",
        unit="×",
        is_relative=False,
        digits=2,
        targets=(AtMost(1.10),),
    ),
    Metric(name="inspect.off", title="small GET, not inspected: CPU per 10k", unit="s", is_relative=False, digits=2),
    Metric(name="inspect.on", title="small GET, inspected: CPU per 10k", unit="s", is_relative=False, digits=2),
    Metric(
        name="inspect.times",
        title="cost of the inspector",
        unit="×",
        is_relative=False,
        digits=2,
        targets=(AtMost(1.15),),
    ),
    Metric(name="memory.relay", title="server with one idle tunnel", unit="MB", is_relative=False, digits=1),
    Metric(
        name="memory.tunnel",
        title="server, per idle tunnel",
        unit="KB",
        is_relative=False,
        digits=1,
        targets=(AtMost(40),),
    ),
    Metric(
        name="recover.seconds",
        title="kill -9 of the server, back after 1 s: first answer",
        unit="s",
        is_relative=False,
        digits=2,
        targets=(AtMost(0.5),),
    ),
    Metric(
        name="recover_late.seconds",
        title="kill -9 of the server, back after 5 s: first answer",
        unit="s",
        is_relative=False,
        digits=2,
        targets=(AtMost(0.5),),
    ),
    Metric(
        name="start.seconds",
        title="client start to first answer",
        unit="s",
        is_relative=False,
        digits=2,
        targets=(AtMost(0.5),),
    ),
    Metric(
        name="version.seconds", title="tunnel --version", unit="s", is_relative=False, digits=3, targets=(AtMost(0.15),)
    ),
)
