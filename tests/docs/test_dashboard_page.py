"""docs/concepts/dashboard.md has every area of the dashboard, in the order of its navigation."""

import re

from tests.support.tools import ROOT
from tunnelrelay.dashboard.navigation import MAP

PAGE = ROOT / "docs" / "concepts" / "dashboard.md"


def test_the_table_of_pages_is_the_navigation() -> None:
    table = PAGE.read_text().partition("## What is where")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([A-Z][\w ]+) \|", table, re.MULTILINE)

    assert rows == [entry.label for group in MAP for entry in group.entries]
