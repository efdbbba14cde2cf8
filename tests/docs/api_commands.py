"""The table of `tunnel api`'s commands in docs/reference/cli.md, made of the schema that makes the commands.

python -m tests.docs.api_commands --write  writes it
"""

import sys

from tests.support.tools import ROOT
from tunnelctl.cli.api_schema import Operation, groups

REFERENCE = ROOT / "docs" / "reference" / "cli.md"
BEGIN, END = "<!-- api commands:begin -->", "<!-- api commands:end -->"


def table() -> str:
    """Every command behind `tunnel api`, what it asks for, and its own flags."""
    lines = ["| command | request | flags of its own |", "|---|---|---|"]
    for group in groups():
        for one in group.operations:
            command = " ".join([group.name, one.verb, *(name.upper() for name in one.arguments)])
            lines.append(f"| `{command}` | `{one.method} {one.path}` | {_flags(one)} |")
    return "\n".join(lines)


def _flags(operation: Operation) -> str:
    """The flags, those of a module inside another thing under its name."""
    flags = [field.flag for field in (*operation.query, *operation.body)]
    short = [f"{flag.partition('.')[0]}.…" if "." in flag else flag for flag in flags]
    own = [*dict.fromkeys(short), *(["--all"] if operation.is_paged else []), *(["--data"] if operation.body else [])]
    return ", ".join(f"`{flag}`" for flag in own)


def main(arguments: list[str]) -> None:
    """See the module."""
    before, _, rest = REFERENCE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    if arguments == ["--write"]:
        REFERENCE.write_text(f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}")


if __name__ == "__main__":
    main(sys.argv[1:])
