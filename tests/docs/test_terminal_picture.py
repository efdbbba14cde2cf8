"""The picture in the README is what the agent's screen looks like today."""

from pathlib import Path

import pytest

from tests.docs.render_terminal import PICTURE, any_ports, render, words_of


@pytest.mark.journey
def test_the_picture_is_of_this_release() -> None:
    drawn, kept = words_of(render(any_ports())), words_of(PICTURE.read_text())
    assert drawn == kept, "draw it again: .venv/bin/python -m tests.docs.render_terminal"


def test_the_picture_fetches_nothing() -> None:
    text = PICTURE.read_text()
    assert "url(http" not in text
    assert 'url("http' not in text
    assert "<script" not in text


def test_the_readme_shows_it() -> None:
    assert "(docs/images/terminal.svg)" in (Path(__file__).parents[2] / "README.md").read_text()
