"""The table of docs/reference/headers.md, made of the relay's own: `python -m tests.docs.header_tables --write`."""

import sys
from pathlib import Path

from tunnelrelay.policy.header_names import BELIEVED, HeaderGroup

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "headers.md"
BEGIN, END = "<!-- believed:begin -->", "<!-- believed:end -->"
HEADINGS = {
    HeaderGroup.ADDRESS: "Where a request comes from, under which scheme and host",
    HeaderGroup.IDENTITY: "Who sent it",
    HeaderGroup.TARGET: "What it really asks for",
}


def table() -> str:
    """The docs' tables, with their headings."""
    lines = []
    for group in HeaderGroup:
        rows: dict[tuple[str, bool], list[str]] = {}
        for row in BELIEVED:
            if row.group is group:
                rows.setdefault((row.written_by, row.is_relays), []).append(f"`{row.pattern.decode().title()}`")
        lines += [
            f"### {HEADINGS[group]}",
            "",
            "| written by | fields | your header rules may set them |",
            "|---|---|---|",
        ]
        lines += [
            f"| {by} | {', '.join(names)} | {'no' if relays else 'yes'} |" for (by, relays), names in rows.items()
        ]
        lines.append("")
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    """See the module."""
    if arguments == ["--write"]:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n\n{table()}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main(sys.argv[1:])
