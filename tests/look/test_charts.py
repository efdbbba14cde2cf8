"""Charts: what is drawn is what was counted, and the words say the same."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnelctl.look.charts import charts, nice
from tunnelctl.look.figures import rate, share
from tunnelctl.series import Figures, TrafficFigures

NOTHING = Figures(at=0, seconds=5, requests=0, refused=0, failed=0, p50=None, p95=None)


def figures(requests: int = 50, refused: int = 0, failed: int = 0, p50: float | None = 0.02) -> Figures:
    p95 = p50 * 4 if p50 is not None else None
    return Figures(at=0, seconds=5, requests=requests, refused=refused, failed=failed, p50=p50, p95=p95)


def test_a_relay_nobody_asks_has_charts_without_a_line_for_what_nobody_knows() -> None:
    requests, errors, times = charts(TrafficFigures((NOTHING,) * 4, NOTHING))
    assert [line.path for line in requests.lines] == ["M0 100.0L1 100.0L2 100.0"]
    assert [line.path for line in (*errors.lines, *times.lines)] == [""] * 4
    assert "now 0, at most 0" in requests.words


def test_the_stretch_that_is_not_over_is_not_drawn() -> None:
    requests, _, _ = charts(TrafficFigures((figures(50), figures(50), figures(1)), figures(600)))
    assert requests.width == 1
    assert requests.lines[0].path == "M0 0.0L1 0.0"


def test_headline_and_words_tell_the_last_minute_and_the_most() -> None:
    points = (figures(50), figures(100, failed=10, refused=25), figures(0))
    requests, errors, times = charts(TrafficFigures(points, figures(60, failed=3, refused=6)))
    assert (requests.now, requests.unit, requests.aside) == ("12", "/s", "150 in 10 min")
    assert (errors.now, errors.aside) == ("5.0", "10 % refused")
    assert "at most 10 %" in errors.words
    assert (times.now, times.unit, times.aside) == ("20", "ms", "p95 80 ms")


def test_a_gap_in_what_is_known_is_a_gap_in_the_line_and_a_lonely_point_a_dot() -> None:
    points = (figures(), NOTHING, figures(), figures(), NOTHING)
    _, _, times = charts(TrafficFigures(points, figures()))
    (_, median) = times.lines
    assert re.findall(r"M\d+", median.path) == ["M0", "M2"]
    assert "h0" in median.path
    assert median.area.count("Z") == 2


@given(st.floats(1e-6, 1e6))
def test_the_upper_edge_is_a_round_number_not_far_above_the_highest_point(most: float) -> None:
    assert most <= nice(most) * 1.000001
    assert nice(most) <= most * 2.000001


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0"), (0.001, "<0.1"), (0.5, "0.5"), (9.94, "9.9"), (10, "10"), (1234.5, "1234")]
)
def test_rates_as_people_say_them(number: float, said: str) -> None:
    assert rate(number) == said


@pytest.mark.parametrize(("part", "said"), [(0, "0"), (0.0001, "<0.1"), (0.012, "1.2"), (0.5, "50"), (1, "100")])
def test_a_share_is_zero_only_when_there_was_none(part: float, said: str) -> None:
    assert share(part) == said
