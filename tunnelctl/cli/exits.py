"""Exit codes, and the common form of error messages of both programs: what happened, and what to do.

    error: --https 0.0.0.0:443: another program listens there already (nginx, process 812)
    hint: stop it, or give another address with --https

Commands raise a `Failure`; `program.py` prints it and ends the process.
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
"""Width of a terminal, in columns, below which lines are not folded, as single words per line would be unreadable."""
_GLUE = "\0"
"""Placeholder for a space at which lines must not be folded."""
_COLOURS = {"error": "red", "warning": "yellow", "hint": "cyan"}


class Exit(IntEnum):
    """Exit codes of both programs for errors. Code 0 means that the command succeeded, or was asked to stop."""

    FAILED = 1
    """The command failed."""
    USAGE = 2
    """The command line or the configuration file is invalid."""
    NOT_ALLOWED = 3
    """The relay refuses the credential, or the credential lacks a permission."""
    NO_RELAY = 4
    """The server at the relay's address is not a relay. (If a tunnel's relay does not respond, the agent tries again
    for ever; `tunnel api` tries once.)"""
    NAME_TAKEN = 5
    """The address belongs to another owner, or another agent has taken it over."""
    OUTPUT_CLOSED = 141
    """The reader of the output has closed it. Shells report the same code (128 + SIGPIPE) for programs such as `yes |
    head -1`."""


class RunExit(IntEnum):
    """Exit codes of `tunnel exec` for errors of its own. Others are those of the command that it ran."""

    RELAY_UNREACHABLE = 110
    """No relay answers at the address."""
    CREDENTIAL_REFUSED = 111
    """The relay does not accept the credential, or the credential may not serve this name."""
    ADDRESS_TAKEN = 112
    """Another owner has the name, or another agent took it over during the run."""
    NOT_READY = 113
    """The app did not answer at its public address in time."""
    TUNNEL_LOST = 114
    """The link to the relay was lost during the run, and not back in time."""
    NO_HITS = 115
    """Fewer requests than required reached the app."""
    USAGE = 116
    """The command line or the configuration file is invalid."""
    APP_ENDED = 117
    """The app's own command ended before the run did, or something else listened at its port."""
    RUN_REFUSED = 118
    """The endpoint does not let the token of the run in."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """One of several problems in an error, with a hint of its own.

    Attributes:
        hint: Advice for this problem; "" to use the hint of the whole error.
    """

    text: str
    hint: str = ""


class Failure(click.ClickException):
    """An error that ends the command.

    Args:
        code: Exit code of the process.
        problems: Descriptions of the problems, one sentence each; each becomes an `error:` line.
        hint: Advice for all problems; "" when each of them has a hint of its own.
        error: The relay's name for the error; "" without one.
    """

    def __init__(
        self, code: Exit | RunExit, problems: Sequence[str | Mistake], hint: str = "", error: str = ""
    ) -> None:
        self.mistakes = tuple(Mistake(one) if isinstance(one, str) else one for one in problems)
        super().__init__("; ".join(one.text for one in self.mistakes))
        self.code = int(code)
        self.problems = [one.text for one in self.mistakes]
        self.hint = hint
        self.error = error

    @property
    def exit_code(self) -> int:  # type: ignore[override]  # click reads it where it runs a command by itself
        """The exit code of the process, which click reads."""
        return self.code

    def show(self, file: IO[Any] | None = None) -> None:
        """Write the error to stderr. A hint shared by several problems is written once, after the last of them."""
        hints = [*(one.hint for one in self.mistakes), self.hint]
        for at, problem in enumerate(self.problems):
            say("error", problem, file)
            if hints[at] and hints[at] != hints[at + 1]:
                say("hint", hints[at], file)
        if self.hint:
            say("hint", self.hint, file)

    def show_as_ngrok(self) -> None:
        """Write the error to stderr as ngrok does: every line begins with `ERROR:  `, and the last one is ngrok's
        number.
        """
        hints = dict.fromkeys(hint for hint in (*(one.hint for one in self.mistakes), self.hint) if hint)
        text = with_ngrok_code("\n".join([*self.problems, *hints]), self.error)
        for line in text.splitlines():
            click.echo(f"ERROR:  {plain(line)}", err=True)


def say(label: str, text: str, file: IO[Any] | None = None) -> None:
    """Write `error: …`, `warning: …` or `hint: …` to stderr; on a terminal in colour, and folded to its width."""
    stream = sys.stderr if file is None else file
    if stream is None:
        return  # the process has no stderr
    text = plain(text)
    is_terminal = _is_terminal(stream)
    if is_terminal:
        text = _folded(text, shutil.get_terminal_size().columns, len(label) + 2)
    if is_terminal and has_colour():
        label = click.style(label, fg=_COLOURS[label], bold=True)
    click.echo(f"{label}: {text}", file=stream, color=True)


def has_colour() -> bool:
    """Return whether output to a terminal may be coloured (https://no-color.org)."""
    return not os.environ.get("NO_COLOR") and not is_dumb()


def is_dumb() -> bool:
    """Return whether TERM names a terminal without control sequences, to which rich writes none."""
    return os.environ.get("TERM", "").lower() in ("dumb", "unknown")


def plain(text: str) -> str:
    """Return the text with control characters escaped, as parts of it may come from the peer."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def _is_terminal(stream: IO[Any]) -> bool:
    try:
        return stream.isatty()
    except ValueError:  # the stream is closed
        return False


def _folded(text: str, columns: int, indent: int) -> str:
    """Return the text folded to the terminal's width, without line breaks inside backticks, as that text is to be
    copied.
    """
    if columns < MIN_WIDTH:
        return text
    parts = text.split("`")
    glued = "`".join(part.replace(" ", _GLUE) if at % 2 else part for at, part in enumerate(parts))
    lines = textwrap.wrap(glued, columns - indent - 1, break_long_words=False, break_on_hyphens=False)
    return f"\n{' ' * indent}".join(lines).replace(_GLUE, " ")
