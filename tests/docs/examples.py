"""The fenced blocks of a page, each with a comment in front that says what a test does with it.

    <!-- start until: TEXT -->    the next block is a program; go on once it has written TEXT
    <!-- run -->                  the next block is commands that end by themselves, with exit code 0
    <!-- fails: CODE -->          the next block is a command that ends with this exit code
    <!-- prints -->               the next block is what that command wrote; a line `…` stands for any lines
    <!-- file: PATH -->           the next block is this file; what reads it runs afterwards
    <!-- check: KIND -->          the next block is part of such a file, and is read as one
    <!-- not run: REASON -->      the next block cannot be run here
    <!-- stop: PROGRAM -->        Ctrl-C for the program started last under this name
    <!-- visit URL as NAME: STATUS -->   somebody opens URL in a browser, signs in, and ends on a page with STATUS
    <!-- at: WHOSE -->            from here on the terminal is on this person's own machine
    <!-- after: PAGE -->          first everything that this other page says is done
    <!-- given: WHAT -->          first this is there, which the page takes for granted

Readers see none of the comments, and the blocks as they are.
"""

import re
from dataclasses import dataclass

KINDS = (
    "start until",
    "run",
    "fails",
    "prints",
    "file",
    "check",
    "setting",
    "not run",
    "stop",
    "visit",
    "at",
    "after",
    "given",
)
_MARK = re.compile(
    rf"^(?P<indent> *)<!-- (?P<kind>{'|'.join(KINDS)})(?:: | )?(?P<rest>.*?) ?-->\n"
    r"(?:(?P=indent)```(?P<language>\w+)\n(?P<block>.*?)^(?P=indent)```$)?",
    re.MULTILINE | re.DOTALL,
)
_FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
ANY_LINES = "…"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do.

    Attributes:
        kind: One of `KINDS`.
        rest: What the comment says behind it.
        block: The text of the fenced block, "" where there is none.
    """

    kind: str
    rest: str
    block: str


def steps(page: str) -> list[Step]:
    """The steps of a page, in order."""
    return [Step(found["kind"], found["rest"], _block(found)) for found in _MARK.finditer(page)]


def _block(found: re.Match[str]) -> str:
    """The block without the indent of the list it stands in."""
    return re.sub(rf"^{found['indent']}", "", found["block"] or "", flags=re.MULTILINE).strip("\n")


def unmarked(page: str) -> list[str]:
    """The first line of every fenced block that no comment stands in front of."""
    marked = {found.start("block") for found in _MARK.finditer(page) if found["block"] is not None}
    return [found[2].partition("\n")[0] for found in _FENCE.finditer(page) if found.start(2) not in marked]


def commands(page: str) -> list[str]:
    """Every line of the page's shell blocks, marked or not, without comments behind it."""
    blocks = [block for language, block in _FENCE.findall(page) if language == "sh"]
    return [line.partition(" #")[0].strip() for block in blocks for line in block.splitlines() if line.strip()]


def fits(written: str, expected: str) -> bool:
    """Whether the text is the expected one; a line `…` fits any number of lines."""
    lines = expected.splitlines()
    pattern = "".join(r"(?:.*\n)*?" if line.strip() == ANY_LINES else re.escape(line) + r"\r?\n" for line in lines)
    return re.fullmatch(pattern, written if written.endswith("\n") else written + "\n") is not None
