"""The examples of README.md and of some guides do what the pages say, with real programs on free ports."""

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.docs.examples import Step, fits, steps
from tests.support.ports import free_ports
from tests.support.processes import Child
from tests.support.tools import ROOT, require_tool
from tests.support.visitor import Visitor

GUIDES = ROOT / "docs" / "guides"
PAGES = [ROOT / "README.md", *(GUIDES / f"{name}.md" for name in ("quick-start", "edges", "named-provider"))]
PORTS = ("8080", "8081", "3000", "9400")
"""The usual ports, which the pages speak of and which may be taken on this machine."""


class Desk:
    """A person's terminals: what was started, and what the last command wrote."""

    def __init__(self, folder: Path) -> None:
        self.ports = dict(zip(PORTS, map(str, free_ports(len(PORTS))), strict=True))
        self.written = ""
        self.running: list[tuple[str, Child]] = []
        self.env = {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "HOME": str(folder),
            "XDG_CONFIG_HOME": str(folder),
            "PYTHONWARNINGS": "ignore",
            # What differs from a reader's machine: the ports, and where the relay keeps its data.
            "TUNNELRELAY_HTTP": f"127.0.0.1:{self.ports['8080']}",
            "TUNNELRELAY_ADMIN": f"127.0.0.1:{self.ports['8081']}",
            "TUNNELRELAY_DATA_DIR": str(folder / "relay"),
            "TUNNELCTL_RELAY": f"http://127.0.0.1:{self.ports['8080']}",
        }

    def do(self, step: Step) -> None:
        act: dict[str, Callable[[Step], None]] = {
            "start until": self.start,
            "run": self.run,
            "prints": self.prints,
            "stop": self.stop,
            "visit": self.visit,
        }
        act[step.kind](step)

    def start(self, step: Step) -> None:
        command, awaited = self._here(step.block), self._here(step.rest)
        child = self._child(command)
        self.running.append((program(command), child))
        child.wait_for(lambda line: awaited in line)

    def run(self, step: Step) -> None:
        child = self._child(self._here(step.block))
        assert child.wait() == 0, child.output
        self.written = "\n".join(child.out)

    def prints(self, step: Step) -> None:
        assert fits(self.written, self._here(step.block)), self.written

    def stop(self, step: Step) -> None:
        child = next(child for name, child in reversed(self.running) if name == step.rest)
        assert child.stop() == 0, child.output

    def visit(self, step: Step) -> None:
        url, _, who, status = re.split(r":? ", self._here(step.rest))
        with Visitor() as visitor:
            assert visitor.login(url, who).status_code == int(status)

    def clear(self) -> None:
        for _, child in reversed(self.running):
            child.stop()

    def _child(self, command: str) -> Child:
        return Child(program(command), ["bash", "-c", command], env=self.env)

    def _here(self, text: str) -> str:
        return re.sub(r"\b(" + "|".join(PORTS) + r")\b", lambda found: self.ports[found[0]], text)


def program(command: str) -> str:
    """`DEMO_SECRET=x tunnel http 3000` -> `tunnel`."""
    return next(word for word in command.split() if "=" not in word)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    require_tool("curl")
    desk = Desk(tmp_path)
    yield desk
    desk.clear()


@pytest.mark.journey
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_page_does_what_it_says(page: Path, desk: Desk) -> None:
    todo = steps(page.read_text())
    assert len(todo) >= 4
    for step in todo:
        desk.do(step)


@pytest.mark.parametrize("name", ["tunnel", "tunnelrelay"])
def test_installing_gives_the_programs_the_pages_speak_of(name: str) -> None:
    assert shutil.which(name, path=str(Path(sys.executable).parent)) is not None


def test_an_output_is_compared_line_by_line() -> None:
    assert fits("a\nb\nc\n", "a\n…\nc")
    assert fits("a\nc", "a\n…\nc")
    assert not fits("a\nb\nc\n", "a\nc")
    assert not fits("a\nb\n", "a\n…\nc")
