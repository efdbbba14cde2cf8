"""Command classes of both programs: help in sections with examples, and switches that accept `=true` and `=false`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
"""A decorator that declares a parameter, as `click.option(…)` returns."""
MAX_SENTENCE = 200
"""Maximum characters of a command's line in its group's help."""
_TRUE, _FALSE = frozenset({"1", "t", "true"}), frozenset({"0", "f", "false"})
"""Spellings of true and false that flags of Go programs, such as ngrok, accept."""


class Command(click.Command):
    """A command whose help lists its options in sections.

    Args:
        sections: Option names by title of their section, in order. Other options come before them.
        examples: Command lines with descriptions, shown before the options.
    """

    def __init__(
        self,
        *args: Any,
        sections: Mapping[str, Sequence[Decorator]] | None = None,
        examples: Sequence[tuple[str, str]] = (),
        **rest: Any,
    ) -> None:
        super().__init__(*args, **rest)
        self.sections = {title: declared(*options) for title, options in (sections or {}).items()}
        self.examples = examples
        self.params += [param for params in self.sections.values() for param in params]

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the description and the examples first, as most people read only the first screen."""
        super().format_help_text(ctx, formatter)
        write_examples(formatter, "Examples", self.examples)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a list of options for each section, or one list without sections."""
        placed = {id(param) for params in self.sections.values() for param in params}
        rest = [one for one in self.get_params(ctx) if id(one) not in placed and isinstance(one, click.Option)]
        own, last = (rest[:-1], rest[-1:]) if self.sections else (rest, [])
        lists: dict[str, Sequence[click.Parameter]] = {"Options": own, **self.sections, "More": last}
        for title, params in lists.items():
            records = [record for param in params if (record := param.get_help_record(ctx)) is not None]
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse arguments, which may contain `--switch=true` and `--switch=false`."""
        return super().parse_args(ctx, self.with_plain_switches(args))

    def with_plain_switches(self, args: Sequence[str]) -> list[str]:
        """Replace `--switch=true` by `--switch`; replace `--switch=false` by the opposite switch, or drop it."""
        end = args.index("--") if "--" in args else len(args)
        opposites: dict[str, str] = {}
        for one in self.params:
            if isinstance(one, click.Option) and one.is_flag:
                opposites |= dict.fromkeys(one.opts, next(iter(one.secondary_opts), ""))
                opposites |= dict.fromkeys(one.secondary_opts, next(iter(one.opts), ""))
        plain: list[str] = []
        for arg in args[:end]:
            name, equals, value = arg.partition("=")
            if not equals or name not in opposites or value.lower() not in _TRUE | _FALSE:
                plain.append(arg)
            elif chosen := name if value.lower() in _TRUE else opposites[name]:
                plain.append(chosen)
        return [*plain, *args[end:]]


class Group(click.Group):
    """A group of `Command`s whose help begins with the first steps.

    Args:
        start: Command lines of the first steps, in the form of `examples`.
    """

    command_class = Command
    group_class = type

    def __init__(self, *args: Any, start: Sequence[tuple[str, str]] = (), **rest: Any) -> None:
        super().__init__(*args, **rest)
        self.start = start

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the description, then the first steps."""
        super().format_help_text(ctx, formatter)
        write_examples(formatter, "Start here", self.start)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands, each with its whole first sentence."""
        named = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, one.get_short_help_str(MAX_SENTENCE)) for name, one in named if one is not None])


def declared(*options: Decorator) -> list[click.Parameter]:
    """Return the parameters that decorators declare, in their order."""

    def nothing() -> None:
        """Exists only because click declares parameters on functions."""

    command: Callable[..., Any] = nothing
    for one in reversed(options):
        command = one(command)
    return click.command()(command).params


def write_examples(formatter: click.HelpFormatter, title: str, examples: Sequence[tuple[str, str]]) -> None:
    """Write command lines to copy, each on a line of its own, with their descriptions below."""
    if not examples:
        return
    with formatter.section(title):
        for line, words in examples:
            formatter.write(f"{'':>{formatter.current_indent}}{line}\n")
            formatter.indent()
            formatter.write_text(words)
            formatter.dedent()
