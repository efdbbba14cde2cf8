"""Exit codes, and the errors people see: what happened, on whose side, and what to do."""

from collections.abc import Sequence
from enum import IntEnum
from typing import IO, Any, assert_never

import click

from tunnelctl.agent.outcome import Failed, Invalid, NameTaken, NoRelay, NotAllowed, Outcome, Stopped


class Exit(IntEnum):
    """Exit codes of `tunnel` that mean an error; 0 is that it was asked to stop, or did its work."""

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
    """The address belongs to somebody else, or another agent has taken it over."""


class Failure(click.ClickException):
    """Ends the command with an error in the house's form.

    Args:
        problems: What is wrong, one sentence each; an `error:` line for each.
        hint: What to do about it, "" when nothing comes to mind.
    """

    def __init__(self, code: Exit, problems: Sequence[str], hint: str = "") -> None:
        super().__init__("; ".join(problems))
        self.code = int(code)
        self.problems = problems
        self.hint = hint

    def show(self, file: IO[Any] | None = None) -> None:
        """Write it to stderr."""
        for problem in self.problems:
            click.echo(f"error: {plain(problem)}", file=file, err=True)
        if self.hint:
            click.echo(f"hint: {plain(self.hint)}", file=file, err=True)


def failure_of(outcome: Outcome, relay: str) -> Failure | None:
    """The error that an agent's outcome is, None when it was asked to stop."""
    match outcome:
        case Stopped():
            return None
        case NotAllowed(message, hint):
            return Failure(Exit.NOT_ALLOWED, [f"the relay at {relay} does not allow this: {message}"], hint)
        case NameTaken(message, hint):
            return Failure(Exit.NAME_TAKEN, [message], hint)
        case Invalid(message, hint):
            return Failure(Exit.USAGE, [f"the relay cannot do what was asked: {message}"], hint)
        case NoRelay(message, hint):
            return Failure(Exit.NO_RELAY, [f"there is no relay at {relay}: {message}"], hint)
        case Failed(message, hint):
            return Failure(Exit.FAILED, [f"the relay at {relay} refused: {message}"], hint)
        case _:
            assert_never(outcome)


def show_usage_error(error: click.ClickException) -> None:
    """Click's own errors, in the same form; a group without a command is answered with its help."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return
    click.echo(f"error: {plain(error.format_message())}", err=True)
    context = getattr(error, "ctx", None)
    if context is not None:
        click.echo(f"hint: {context.command_path} --help lists what it takes", err=True)


def plain(text: str) -> str:
    """The text with control characters escaped: some of it comes from the other side, and a terminal obeys them."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )
