"""docs/reference/metrics.md names every metric, path and outcome there is, and no other."""

import re
from pathlib import Path

from tunnelrelay.observe.admin import admin_app
from tunnelrelay.observe.exposition import render
from tunnelrelay.observe.metrics import DEFINITIONS, Metrics

TEXT = (Path(__file__).parents[2] / "docs" / "reference" / "metrics.md").read_text()


def test_the_table_of_metrics_is_the_codes() -> None:
    rows = re.findall(r"^\| `(tunnelrelay_\w+)` \| (\w+) \| (?:`(\w+)` )?\| (.+) \|$", TEXT, re.MULTILINE)
    assert rows == [(item.name, item.kind, item.label, item.doc) for item in DEFINITIONS]


def test_metrics_in_the_prose_exist() -> None:
    shown = render(Metrics()).decode()
    for name in set(re.findall(r"tunnelrelay_\w+", TEXT)):
        assert f" {name} " in shown or f" {name}_total " in shown, name


def test_the_paths_are_the_admin_addresss() -> None:
    served = {route.path for route in admin_app(Metrics(), {}).routes if hasattr(route, "path")}
    assert set(re.findall(r"^\| `(/\w+)` \|", TEXT, re.MULTILINE)) == served
