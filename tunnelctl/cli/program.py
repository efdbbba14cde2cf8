"""Runs one of the two programs from command line to exit code, with all errors in a common form."""

import errno
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import click
from click.exceptions import NoArgsIsHelpError, NoSuchCommand, NoSuchOption

from tunnelctl.cli.exits import Exit, Failure
from tunnelctl.nearest import nearest

TRACEBACK_VARIABLE = "TUNNEL_TRACEBACK"
"""Environment variable that adds Python's traceback to an unexpected error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """Commands and flags of another program, with hints at alternatives.

    Attributes:
        owner: Name of the other program.
        commands: Hints by command name.
        flags: Hints by flag.
    """

    owner: str = ""
    commands: Mapping[str, str] = field(default_factory=dict)
    flags: Mapping[str, str] = field(default_factory=dict)


NOTHING_FOREIGN = Foreign()


def run_program(
    command: click.Command,
    name: str,
    arguments: Sequence[str] | None = None,
    *,
    foreign: Foreign = NOTHING_FOREIGN,
    obj: object = None,
) -> int:
    """Run the command and return the process's exit code (see `exits.Exit`).

    Args:
        arguments: Arguments without the program's name; None for those of the process.
        obj: Object that the command finds with `click.Context.find_object`.
    """
    try:
        return _run(command, name, arguments, foreign, obj)
    except BrokenPipeError:
        # The output has no reader any more. Without this, Python would report it again when it flushes at exit.
        sys.stdout = sys.stderr = None
        return Exit.OUTPUT_CLOSED


def _run(command: click.Command, name: str, arguments: Sequence[str] | None, foreign: Foreign, obj: object) -> int:
    def tell(failure: Failure) -> int:
        failure.show_as_ngrok() if name == foreign.owner else failure.show()
        return failure.code

    try:
        code = command.main(
            args=list(arguments) if arguments is not None else None,
            prog_name=name,
            standalone_mode=False,
            obj=obj,
        )
        return code if isinstance(code, int) else 0
    except NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return error.exit_code
    except click.ClickException as error:
        return tell(error if isinstance(error, Failure) else usage_failure(error, name, foreign))
    except (click.Abort, KeyboardInterrupt):
        return 0  # stopped before anything was running
    except BrokenPipeError:
        raise
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):  # click turns it into exit code 1
            raise error.__context__ from None
        raise
    except OSError as error:
        return tell(system_failure(error))
    except Exception as error:  # the last boundary: our own bugs are reported in the common form
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        return tell(_fault(name, error))


def usage_failure(error: click.ClickException, name: str, foreign: Foreign = NOTHING_FOREIGN) -> Failure:
    """Return the error for an invalid command line, with the word that was probably meant."""
    context = getattr(error, "ctx", None)
    helping = f"{context.command_path if context else name} --help lists what it takes"
    match error:
        case NoSuchOption(option_name=flag) if flag in foreign.flags:
            what = f"{flag} is not implemented here: it is a flag of {foreign.owner}'s"
            return Failure(Exit.USAGE, [what], foreign.flags[flag])
        case NoSuchCommand(command_name=word) if word in foreign.commands:
            what = f"{word} is not implemented here: it is a command of {foreign.owner}'s"
            return Failure(Exit.USAGE, [what], foreign.commands[word])
        case NoSuchOption(option_name=flag, message=message) if context is not None:
            hint = _meant(nearest(flag, _flags(context.command))) or _elsewhere(context, flag)
            if name == foreign.owner:
                message = f"unknown flag: {flag}"  # in that program's words, which people search for
        case NoSuchCommand(command_name=word, message=message) if isinstance(context and context.command, click.Group):
            assert context is not None
            hint = _meant(nearest(word, context.command.list_commands(context)))
        case _:
            message, hint = error.format_message(), ""
    return Failure(Exit.USAGE, [message.rstrip(".")], hint or helping)


def system_failure(error: OSError) -> Failure:
    """Return the error for an OSError: the system's message with the file's name."""
    words = error.strerror or str(error) or type(error).__name__
    where = f"{error.filename}: " if error.filename else ""
    hints = {
        errno.ENOSPC: "make room on this disk",
        errno.EDQUOT: "make room: this user's quota on the disk is used up",
        errno.EROFS: "name a place that can be written",
        errno.EACCES: "run it as the user whose file that is, or let this user read and write there",
        errno.EMFILE: "raise the limit of open files (`ulimit -n`)",
    }
    hint = hints.get(error.errno or 0, "put that right and run it again")
    return Failure(Exit.FAILED, [f"{where}{words[:1].lower()}{words[1:]}"], hint)


def _fault(name: str, error: Exception) -> Failure:
    return Failure(
        Exit.FAILED,
        [f"a fault in {name} itself: {type(error).__name__}"],
        f"please report it, with what `{TRACEBACK_VARIABLE}=1` in the environment makes it print",
    )


def _meant(word: str | None) -> str:
    return f"did you mean `{word}`?" if word is not None else ""


def _flags(command: click.Command) -> list[str]:
    options = [one for one in command.params if isinstance(one, click.Option) and not one.hidden]
    return [name for one in options for name in (*one.opts, *one.secondary_opts) if name.startswith("--")]


def _elsewhere(context: click.Context, flag: str) -> str:
    """Return the command that has a flag which was given before a command's name; "" without one."""
    if not isinstance(context.command, click.Group):
        return ""
    for name, command in _below(context, context.command):
        if flag in _flags(command):
            return f"the flag stands behind the command's name: `{context.command_path} {name} {flag}`"
    return ""


def _below(context: click.Context, group: click.Group) -> Iterator[tuple[str, click.Command]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is not None and not isinstance(command, click.Group):
            yield name, command
