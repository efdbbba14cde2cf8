"""Prints the findings of a check for people, and converts them to JSON, for `tunnel oidc check` and `tunnel
diagnose`.
"""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tunnelctl.cli.exits import plain

if TYPE_CHECKING:
    from tunnelctl.oidc.findings import Finding, Level

MARKS: "dict[Level, tuple[str, str, str]]" = {
    "ok": ("✓", "ok", "green"),
    "warning": ("!", "warning", "yellow"),
    "error": ("✗", "error", "red"),
}
"""The mark of each level, the word for terminals that cannot show the mark, and the colour."""
MAX_LINE = 2000
"""Maximum characters of a line when the output is not a terminal: longer than any finding."""


def show_findings(title: str, findings: "Sequence[Finding]", *, purpose: str) -> None:
    """Print each finding in a line, with its meaning and advice below; errors come last, where they are seen."""
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    console = Console(file=sys.stdout, highlight=False)
    if not console.is_terminal:
        console.width = MAX_LINE  # a pipe has no width, and a search must find whole hints
    has_marks = "utf" in (getattr(sys.stdout, "encoding", "") or "").lower()
    console.print(Text(plain(title), style="bold"))
    for finding in sorted(findings, key=lambda finding: list(MARKS).index(finding.level)):
        mark, word, colour = MARKS[finding.level]
        console.print(Text.assemble("  ", (mark if has_marks else f"{word}:", colour), " ", plain(finding.found)))
        for text, style in ((finding.why, "dim"), (f"hint: {finding.fix}" if finding.fix else "", "")):
            if text:
                console.print(Padding(Text(plain(text), style=style), (0, 0, 0, 4), expand=False))
    console.print(Text(_summary(findings, purpose)))


def _summary(findings: "Sequence[Finding]", purpose: str) -> str:
    counts = [(sum(one.level == level for one in findings), level) for level in ("error", "warning")]
    info = [f"{count} {level}{'s' if count > 1 else ''}" for count, level in counts if count]
    return " and ".join(info) if info else f"Nothing stands in the way of {purpose}, as far as can be seen from here."


def plain_findings(findings: "Sequence[Finding]") -> list[dict[str, str]]:
    """Return the findings in the form for JSON."""
    return [
        {"topic": one.topic, "level": one.level, "found": one.found, "why": one.why, "fix": one.fix} for one in findings
    ]
