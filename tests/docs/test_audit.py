"""docs/reference/audit.md names every kind and field of an audit event, and no other."""

import re
from pathlib import Path

from tunnelrelay.cli.audit import audit_record
from tunnelrelay.observe.audit import KINDS, MAX_TEXT
from tunnelrelay.store.base import AuditRow

TEXT = (Path(__file__).parents[2] / "docs" / "reference" / "audit.md").read_text()
KIND_ROW = re.compile(r"^\| `([a-z_]+\.[a-z_]+)` \| (.+) \| (.+) \|$", re.MULTILINE)


def kept(kind):
    return "every one" if kind.limit is None else f"{kind.limit} a minute and {kind.by}"


def test_the_table_of_kinds_is_the_codes():
    assert KIND_ROW.findall(TEXT) == [(name, kind.meaning, kept(kind)) for name, kind in KINDS.items()]


def test_the_fields_are_those_that_are_printed():
    fields = set(re.findall(r"^\| `(\w+)` \| ", TEXT.partition("## Kinds")[0], re.MULTILINE))

    assert fields == set(audit_record(AuditRow(at=0, kind="login.ok"))) - {"id"}


def test_the_limits_in_the_prose_are_the_codes():
    assert f"cut at {MAX_TEXT} characters" in TEXT
