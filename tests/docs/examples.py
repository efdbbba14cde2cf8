"""The runnable examples of a page: fenced blocks with a comment in front that says what to do with them.

    <!-- start until: TEXT -->    the next block is a program; go on once it has written TEXT
    <!-- run -->                  the next block is a command that ends by itself, with exit code 0
    <!-- prints -->               the next block is what that command wrote; a line `…` stands for any lines
    <!-- stop: PROGRAM -->        Ctrl-C for the program started last under this name
    <!-- visit URL as NAME: STATUS -->   somebody opens URL in a browser, signs in, and ends on a page with STATUS

Readers see none of the comments, and the blocks as they are.
"""

import re
from dataclasses import dataclass

_MARK = re.compile(
    r"^<!-- (?P<kind>start until|run|prints|stop|visit)(?:: | )?(?P<rest>.*?) ?-->\n"
    r"(?:```\w+\n(?P<block>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)
_FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
ANY_LINES = "…"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do.

    Attributes:
        kind: The comment's first word or words.
        rest: What the comment says behind it.
        block: The text of the fenced block, "" where there is none.
    """

    kind: str
    rest: str
    block: str


def steps(page: str) -> list[Step]:
    """The steps of a page, in order."""
    return [Step(found["kind"], found["rest"], (found["block"] or "").strip()) for found in _MARK.finditer(page)]


def commands(page: str) -> list[str]:
    """Every line of the page's shell blocks, marked or not, without comments behind it."""
    blocks = [block for language, block in _FENCE.findall(page) if language == "sh"]
    return [line.partition(" #")[0].strip() for block in blocks for line in block.splitlines() if line.strip()]


def fits(written: str, expected: str) -> bool:
    """Whether the text is the expected one; a line `…` fits any number of lines."""
    lines = expected.splitlines()
    pattern = "".join(r"(?:.*\n)*?" if line.strip() == ANY_LINES else re.escape(line) + r"\r?\n" for line in lines)
    return re.fullmatch(pattern, written if written.endswith("\n") else written + "\n") is not None
