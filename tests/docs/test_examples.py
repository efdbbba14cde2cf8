"""Every fenced block of README.md and of the guides is run, read as the file it is, or says why it cannot be."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.desk import GUIDES, PROVIDER_GUIDES, Desk, desk_tools
from tests.docs.examples import Step, fits, steps, unmarked
from tests.support.tools import ROOT

PAGES = [ROOT / "README.md", *sorted(GUIDES.glob("*.md"))]
FOLLOWED = {step.rest for page in PAGES for step in steps(page.read_text()) if step.kind == "after"}
"""Pages that others go on from: they are done there."""
INSTALLING = "postgresql.md"
"""The page that goes on from self-hosting.md, and so installs the programs: this takes 18 s of CPU."""
DONE = [page for page in PAGES if page.name not in FOLLOWED | PROVIDER_GUIDES | {INSTALLING}]


@pytest.fixture
def desk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Desk]:
    desk_tools()
    desk = Desk(tmp_path, lambda: request.getfixturevalue("postgres"))
    yield desk
    desk.clear()


@pytest.mark.journey
@pytest.mark.parametrize("page", DONE, ids=lambda page: page.name)
def test_the_page_does_what_it_says(page: Path, desk: Desk) -> None:
    for step in steps(page.read_text()):
        desk.do(step)


@pytest.mark.thorough
def test_the_page_that_installs_does_what_it_says(desk: Desk) -> None:
    for step in steps((GUIDES / INSTALLING).read_text()):
        desk.do(step)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_block_is_left_out(page: Path) -> None:
    assert unmarked(page.read_text()) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_is_not_run_says_why(page: Path) -> None:
    reasons = [step.rest for step in steps(page.read_text()) if step.kind == "not run"]
    assert all(len(reason.split()) >= 4 for reason in reasons)


@pytest.mark.parametrize("name", ["tunnel", "tunnelrelay"])
def test_installing_gives_the_programs_the_pages_speak_of(name: str) -> None:
    installed = Path(sys.executable).with_name(name)
    shown = subprocess.run([installed, "--version"], capture_output=True, text=True, check=True)
    assert shown.stdout.startswith(name)


def test_an_output_is_compared_line_by_line() -> None:
    assert fits("a\nb\nc\n", "a\n…\nc")
    assert fits("a\nc", "a\n…\nc")
    assert not fits("a\nb\nc\n", "a\nc")
    assert not fits("a\nb\n", "a\n…\nc")


def test_a_block_in_a_list_is_a_step_too() -> None:
    page = "1. Look:\n\n   <!-- run -->\n   ```sh\n   echo a\n   ```\n"
    assert steps(page) == [Step("run", "", "echo a")]
    assert unmarked(page) == []


def test_a_block_without_a_comment_is_found() -> None:
    assert unmarked("text\n\n```sh\nrm -r /\n```\n") == ["rm -r /"]
    assert unmarked("<!-- run -->\ntext\n```sh\nrm -r /\n```\n") == ["rm -r /"]
