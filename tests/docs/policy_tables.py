"""The tables of a policy's settings in docs/reference/cli.md and agent-configuration.md, made of the table of settings.

python -m tests.docs.policy_tables --write  writes them
"""

import sys
from typing import get_args

from tests.support.tools import ROOT
from tunnelctl.policy.fields import FIELDS, PolicyField, Section

REFERENCE = ROOT / "docs" / "reference"
BEGIN, END = "<!-- policy:begin -->", "<!-- policy:end -->"


def flags() -> str:
    """Every flag of `tunnel http` that is a setting of the policy, in a table for each section of its help."""
    tables = []
    for section in get_args(Section):
        lines = [f"**{section}:**", "", "| flag | variable | meaning |", "|---|---|---|"]
        for row in FIELDS:
            if row.section == section:
                variable = f"`{row.variable}`" if row.variable else ""
                lines.append(f"| `{_flag(row)}` | {variable} | {_meaning(row)} |".replace("|  |", "| |"))
        tables.append("\n".join(lines))
    return "\n\n".join(tables)


def keys() -> str:
    """Every key of a tunnel in the agent's file that is a setting of the policy."""
    lines = ["| key | value | flag | meaning |", "|---|---|---|---|"]
    lines += [f"| `{row.key}` | {_value(row)} | `{row.flag}` | {row.help} |" for row in FIELDS if row.key]
    return "\n".join(lines)


PAGES = {REFERENCE / "cli.md": flags, REFERENCE / "agent-configuration.md": keys}


def _flag(row: PolicyField) -> str:
    """The flag with its value; a bar inside a table needs a backslash."""
    value = ("|".join(row.words) or row.metavar).replace("|", "\\|")
    return row.flag + (value if value.startswith("[=") else f" {value}" if value else "")


def _meaning(row: PolicyField) -> str:
    secret = "A [secret](#secrets)." if row.kind in ("secret", "password") else ""
    quote = "" if " " in row.default_text else "`"
    default = f"Default {quote}{row.default_text}{quote}." if row.default_text else ""
    return " ".join(filter(None, [row.help, row.more, secret, default]))


def _value(row: PolicyField) -> str:
    if row.kind in ("secret", "password"):
        return "list of secrets" if row.is_list else "secret"
    words = " or ".join(f"`{word}`" for word in row.words or row.metavar.strip("'").split("|"))
    return f"list of {words}" if row.is_list else words


def main(arguments: list[str]) -> None:
    """See the module."""
    for page, table in PAGES.items():
        before, _, rest = page.read_text().partition(BEGIN)
        _, _, after = rest.partition(END)
        if arguments == ["--write"]:
            page.write_text(f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}")


if __name__ == "__main__":
    main(sys.argv[1:])
