"""Exit codes, and the common form of errors of both programs: what happened, and what to do.

    error: --https 0.0.0.0:443: another program listens there already (nginx, process 812)
    hint: stop it, or give another address with --https

`Failure` is the error, raised by commands of both; `program.py` writes it and ends the process.
"""

import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import IO, Any

import click

from tunnelctl.agent.ngrok_codes import with_ngrok_code

MIN_WIDTH = 40
"""Columns. On a narrower terminal lines are as long as they are: cut into single words they could not be read."""
_GLUE = "\0"
"""Stands for a space that no line may break at."""
_COLOURS = {"error": "red", "warning": "yellow", "hint": "cyan"}


class Exit(IntEnum):
    """Exit codes of both programs for errors. 0: it did its work, or was asked to stop."""

    FAILED = 1
    """It could not be done."""
    USAGE = 2
    """The command line or the configuration file asks for something that cannot be."""
    NOT_ALLOWED = 3
    """The relay does not take the credential, or the credential may not do this."""
    NO_RELAY = 4
    """What answers at the relay's address is no relay. (A tunnel's relay that does not answer is tried again
    for ever; `tunnel api` tries once.)"""
    NAME_TAKEN = 5
    """The address belongs to another owner, or another agent has taken it over."""
    OUTPUT_CLOSED = 141
    """Nothing reads the output any more: what a shell reports (128 + SIGPIPE) of programs such as `yes | head -1`."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """One problem of several, with a hint of its own.

    Attributes:
        hint: "" to use the hint of the whole error.
    """

    text: str
    hint: str = ""


class Failure(click.ClickException):
    """Ends the command with an error.

    Args:
        code: What the process exits with.
        problems: What is wrong, one sentence each; an `error:` line for each.
        hint: What to do about them. "" when each of the problems has a hint of its own.
        error: The relay's name for the error, "" without one.
    """

    def __init__(self, code: Exit, problems: Sequence[str | Mistake], hint: str = "", error: str = "") -> None:
        self.mistakes = tuple(Mistake(one) if isinstance(one, str) else one for one in problems)
        super().__init__("; ".join(one.text for one in self.mistakes))
        self.code = int(code)
        self.problems = [one.text for one in self.mistakes]
        self.hint = hint
        self.error = error

    @property
    def exit_code(self) -> int:  # type: ignore[override]  # click reads it where it runs a command by itself
        """The process's exit code, as click reads it."""
        return self.code

    def show(self, file: IO[Any] | None = None) -> None:
        """Write it to stderr. A hint that several problems share is written once, behind the last of them."""
        hints = [*(one.hint for one in self.mistakes), self.hint]
        for at, problem in enumerate(self.problems):
            say("error", problem, file)
            if hints[at] and hints[at] != hints[at + 1]:
                say("hint", hints[at], file)
        if self.hint:
            say("hint", self.hint, file)

    def show_as_ngrok(self) -> None:
        """Write it to stderr as ngrok does: every line begins with `ERROR:  `, and the last one is ngrok's number."""
        hints = dict.fromkeys(hint for hint in (*(one.hint for one in self.mistakes), self.hint) if hint)
        text = with_ngrok_code("\n".join([*self.problems, *hints]), self.error)
        for line in text.splitlines():
            click.echo(f"ERROR:  {plain(line)}", err=True)


def say(label: str, text: str, file: IO[Any] | None = None) -> None:
    """Write `error: …`, `warning: …` or `hint: …` to stderr; on a terminal in colour, and folded to its width."""
    stream = sys.stderr if file is None else file
    if stream is None:
        return  # a process without stderr
    text = plain(text)
    is_terminal = _is_terminal(stream)
    if is_terminal:
        text = _folded(text, shutil.get_terminal_size().columns, len(label) + 2)
    if is_terminal and has_colour():
        label = click.style(label, fg=_COLOURS[label], bold=True)
    click.echo(f"{label}: {text}", file=stream, color=True)


def has_colour() -> bool:
    """Whether a terminal may be written to in colour (https://no-color.org)."""
    return not os.environ.get("NO_COLOR") and not is_dumb()


def is_dumb() -> bool:
    """Whether TERM names a terminal that takes no control sequences; rich writes none to these."""
    return os.environ.get("TERM", "").lower() in ("dumb", "unknown")


def plain(text: str) -> str:
    """The text with control characters escaped, as some of it comes from the peer."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def _is_terminal(stream: IO[Any]) -> bool:
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


def _folded(text: str, columns: int, indent: int) -> str:
    """The text folded to the terminal's width, without line breaks inside backticks, whose text is to be copied."""
    if columns < MIN_WIDTH:
        return text
    parts = text.split("`")
    glued = "`".join(part.replace(" ", _GLUE) if at % 2 else part for at, part in enumerate(parts))
    lines = textwrap.wrap(glued, columns - indent - 1, break_long_words=False, break_on_hyphens=False)
    return f"\n{' ' * indent}".join(lines).replace(_GLUE, " ")
