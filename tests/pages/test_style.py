"""The style sheet: contrast as WCAG 2.2 AA asks (1.4.3, 1.4.11), motion, print, forced colours."""

import re
from pathlib import Path

import pytest

from tests.support.every import every
from tests.support.looks import SHAPE, TEXT, contrast
from tunnelrelay.pages import page

CSS = (Path(page.__file__).parent / "templates" / "style.css").read_text()
PAIRS = [
    ("ink", "card", TEXT),
    ("ink", "ground", TEXT),
    ("ink", "tint", TEXT),
    ("soft", "card", TEXT),
    ("soft", "ground", TEXT),
    ("bad", "card", TEXT),
    ("on-accent", "accent", TEXT),
    ("accent", "card", SHAPE),
    ("accent", "accent-tint", SHAPE),
    ("good", "good-tint", SHAPE),
    ("wait", "wait-tint", SHAPE),
    ("bad", "bad-tint", SHAPE),
    ("good", "card", SHAPE),
    ("card", "good", SHAPE),
    ("card", "bad", SHAPE),
    ("line", "card", SHAPE),
]


def variables(block: str) -> dict[str, str]:
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))


def block_of(media: str) -> str:
    """The rules of one media query."""
    start = CSS.index(f"@media {media}")
    depth, end = 0, CSS.index("{", start)
    while depth or end == CSS.index("{", start):
        depth += {"{": 1, "}": -1}.get(CSS[end], 0)
        end += 1
    return CSS[start:end]


LIGHT = variables(CSS[: CSS.index("@media")])
DARK = variables(block_of("(prefers-color-scheme: dark)"))
PRINT = variables(block_of("print"))
SCHEMES = {
    "light": LIGHT,
    "dark": {**LIGHT, **DARK},
    "print of light": {**LIGHT, **PRINT},
    "print of dark": {**LIGHT, **DARK, **PRINT},
}


def test_the_measure_is_wcags():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


@every("scheme", ["light", "dark"])
@every("front, back, least", PAIRS)
def test_everybody_can_read_it(scheme, front, back, least):
    colours = SCHEMES[scheme]
    assert contrast(colours[front], colours[back]) >= least


@pytest.mark.parametrize("scheme", ["print of light", "print of dark"])
@pytest.mark.parametrize("front", ["ink", "soft", "bad", "good"])
def test_on_paper_it_is_dark_on_white(scheme, front):
    assert contrast(SCHEMES[scheme][front], "#ffffff") >= TEXT
    assert SCHEMES[scheme]["card"] == SCHEMES[scheme]["ground"] == "#ffffff"


def test_both_schemes_say_what_each_colour_is():
    assert DARK.keys() == LIGHT.keys()


def test_no_colour_is_used_that_is_not_named():
    rules = re.sub(r"--[\w-]+: #[0-9a-f]{6};", "", CSS)
    assert re.findall(r"#[0-9a-f]{3,8}\b(?=[; ])", rules) == []
    assert set(re.findall(r"var\(--([\w-]+)\)", CSS)) == LIGHT.keys()


def test_nothing_moves_for_those_who_asked_for_rest():
    still = CSS.replace(block_of("(prefers-reduced-motion: no-preference)"), "")
    assert not re.search(r"animation|transition|@keyframes", still)


def test_focus_is_always_to_be_seen():
    assert ":focus-visible { outline: 3px solid var(--accent)" in CSS
    assert not re.search(r"outline: *(0|none)", CSS)
