"""The table of listeners in docs/reference/configuration.md: `python -m tests.docs.door_table --write`."""

import sys
from pathlib import Path

from tunnelrelay.config.doors import TABLE, Does, Note

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "configuration.md"
BEGIN, END = "<!-- doors:begin -->", "<!-- doors:end -->"


def table() -> str:
    """The docs' table, with its headings."""
    lines = [
        "| with `http` | `https` | `public_url` | plain http | TLS | odd, or refused |",
        "|---|---|---|---|---|---|",
    ]
    for (http, https, scheme), plan in TABLE.items():
        settings = ("on" if http else "off", "on" if https else "off", f"`{scheme}://…`" if scheme else "none")
        lines.append(f"| {' | '.join((*settings, _does(plan.plain), _does(plan.secure), _notes(plan.notes)))} |")
    return "\n".join(lines)


def _does(does: Does | None) -> str:
    return does.value if does is not None else ""


def _notes(notes: tuple[Note, ...]) -> str:
    told = ("does not start" if note.is_refusal else "warns" for note in notes)
    return "; ".join(f"{verb} when {note.when}" if note.when else verb for verb, note in zip(told, notes, strict=True))


def main(arguments: list[str]) -> None:
    """See the module."""
    if arguments == ["--write"]:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n\n{table()}\n\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main(sys.argv[1:])
