"""Draws traffic figures of the last ten minutes as SVG line charts, each with a description for screen readers. Does no
I/O.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

from tunnelctl.look.figures import milliseconds, rate, share
from tunnelctl.series import STEP_SECONDS, Figures, TrafficFigures

HEIGHT = 100
"""Height of a chart in units of its SVG viewBox; the page scales the drawing."""
MIN_RATE, MIN_SHARE, MIN_SECONDS = 1.0, 0.05, 0.01
"""Minimum values of the top edge of the three charts, so that a single request does not fill a chart."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart.

    Attributes:
        kind: The line's style: `main`, `second`, `wait` or `bad`.
        path: SVG path of the line, with gaps where there are no values.
        area: SVG path of the filled area below the line; "" for none.
    """

    label: str
    kind: str
    path: str
    area: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A chart with its title and the figure of the last minute.

    Attributes:
        now, unit: The figure of the last minute, and its unit.
        aside: A second figure of the last minute, as text.
        top: Label of the chart's upper edge.
        words: Description of the chart for screen readers.
        width: Width in units of the SVG viewBox.
        values: The value of each point by the lines' labels, as JSON, for the tooltip.
        began_at: Unix time of the first point.
        step: Seconds between two points.
    """

    title: str
    now: str
    unit: str
    aside: str
    top: str
    words: str
    lines: tuple[Line, ...]
    width: int
    values: str
    began_at: float
    step: int = STEP_SECONDS


def charts(shown: TrafficFigures) -> tuple[Chart, Chart, Chart]:
    """Return the three charts of the overview: requests, errors, and response times."""
    return requests_chart(shown), errors_chart(shown), times_chart(shown)


def requests_chart(shown: TrafficFigures) -> Chart:
    """Return the chart of requests per second."""
    points, minute = _ended(shown), shown.minute
    rates = [point.rate for point in points]
    top = nice(max([*rates, MIN_RATE]))
    most = max(rates, default=0.0)
    return Chart(
        title="Requests",
        now=rate(minute.rate),
        unit="/s",
        aside=f"{sum(point.requests for point in points):,} in 10 min",
        top=f"{top:g} /s",
        words=f"Requests per second over the last 10 minutes: now {rate(minute.rate)}, at most {rate(most)}.",
        lines=(_line("Requests", "main", rates, top, filled=True),),
        width=len(points) - 1,
        values=_points_json({"Requests": rates}),
        began_at=points[0].at,
    )


def errors_chart(shown: TrafficFigures) -> Chart:
    """Return the chart of the shares of requests that failed and that were refused."""
    points, minute = _ended(shown), shown.minute
    failed = [point.failed_share if point.requests else None for point in points]
    refused = [point.refused / point.requests if point.requests else None for point in points]
    known = [value for value in (*failed, *refused) if value is not None]
    top = min(1.0, nice(max([*known, MIN_SHARE])))
    refused_now = minute.refused / minute.requests if minute.requests else 0.0
    most = max((value for value in failed if value is not None), default=0.0)
    return Chart(
        title="Errors",
        now=share(minute.failed_share),
        unit="%",
        aside=f"{share(refused_now)} % refused",
        top=f"{top * 100:g} %",
        words=f"Share of requests that failed over the last 10 minutes: now {share(minute.failed_share)} %, at most "
        f"{share(most)} %. Refused now: {share(refused_now)} %.",
        lines=(
            _line("Refused", "wait", refused, top),
            _line("Failed", "bad", failed, top, filled=True),
        ),
        width=len(points) - 1,
        values=_points_json({"Failed": failed, "Refused": refused}),
        began_at=points[0].at,
    )


def times_chart(shown: TrafficFigures) -> Chart:
    """Return the chart of response times."""
    points, minute = _ended(shown), shown.minute
    known = [point.p95 for point in points if point.p95 is not None]
    top = nice(max([*known, MIN_SECONDS]))
    number, _, unit = milliseconds(minute.p50).partition(" ")
    return Chart(
        title="Response time",
        now=number,
        unit=unit,
        aside=f"p95 {milliseconds(minute.p95)}" if minute.p95 is not None else "no requests",
        top=milliseconds(top),
        words=f"Response times over the last 10 minutes: the median is now {milliseconds(minute.p50)}, 95 percent are "
        f"within {milliseconds(minute.p95)}.",
        lines=(
            _line("p95", "second", [point.p95 for point in points], top),
            _line("p50", "main", [point.p50 for point in points], top, filled=True),
        ),
        width=len(points) - 1,
        values=_points_json({"p50": [point.p50 for point in points], "p95": [point.p95 for point in points]}),
        began_at=points[0].at,
    )


def _ended(shown: TrafficFigures) -> Sequence[Figures]:
    """Return the points to draw: all but the last, whose interval is incomplete and would look like a drop."""
    return shown.points[:-1]


def _points_json(values: Mapping[str, Sequence[float | None]]) -> str:
    """Return the values of the points as JSON, rounded to the precision of the chart."""
    short = {label: [None if x is None else float(f"{x:.3g}") for x in line] for label, line in values.items()}
    return json.dumps(short, separators=(",", ":"))


def _line(label: str, kind: str, values: Sequence[float | None], top: float, *, filled: bool = False) -> Line:
    runs = list(_runs(values))
    path = "".join(_drawn(run, lambda value: HEIGHT - value / top * HEIGHT) for run in runs)
    areas = (f"{_drawn(run, lambda value: HEIGHT - value / top * HEIGHT)}V{HEIGHT}H{run[0][0]}Z" for run in runs)
    return Line(label, kind, path, "".join(areas) if filled else "")


def _runs(values: Iterable[float | None]) -> Iterable[list[tuple[int, float]]]:
    """Yield the runs of points without a gap, each point with its index. A gap is a None."""
    run: list[tuple[int, float]] = []
    for x, value in enumerate(values):
        if value is not None:
            run.append((x, value))
        elif run:
            yield run
            run = []
    if run:
        yield run


def _drawn(run: Sequence[tuple[int, float]], height: Callable[[float], float]) -> str:
    (x, first), *others = run
    # A single point is a line of length 0; round line ends make it a dot.
    return f"M{x} {height(first):.1f}" + ("".join(f"L{x} {height(value):.1f}" for x, value in others) or "h0")


def nice(most: float) -> float:
    """Return the next larger round number, whose half is round too, for the top of a chart's scale."""
    size: float = 10.0 ** floor(log10(most))
    return next(step * size for step in (1, 2, 3, 4, 6, 8, 10) if ceil(most / size * 1e6) / 1e6 <= step)
