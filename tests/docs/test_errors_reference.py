"""docs/reference/errors.md and the table of errors say the same, in both directions."""

import json
import re
from pathlib import Path

from tests.support.every import every
from tunnelrelay.pages.errors import ERRORS
from tunnelrelay.pages.page import error_reply
from tunnelrelay.pages.texts import say

TEXT = (Path(__file__).parents[2] / "docs" / "reference" / "errors.md").read_text(encoding="utf-8")
ROW = re.compile(r"\| `(\w+)` \| (\d{3}) \| `(\w+)` \| (.*) \| (.*) \|")
ROWS = {row[1]: row for row in map(ROW.fullmatch, TEXT.splitlines()) if row}


def test_every_error_is_documented_and_nothing_else_is():
    assert sorted(ROWS) == sorted(ERRORS)


def test_no_error_is_documented_twice():
    assert len(re.findall(r"(?m)^\| `", TEXT)) == len(ERRORS)


@every("code", ERRORS)
def test_status_source_meaning_and_advice_are_what_a_visitor_gets(code):
    kind = ERRORS[code]
    said = (say(f"errors.{code}.message", host="HOST"), say(f"errors.{code}.hint"))
    expected = (str(kind.status), kind.source, *said)
    assert ROWS[code].groups()[1:] == expected


def test_the_example_is_a_real_answer():
    example = re.search(r"```json\n(.*?)```", TEXT, re.DOTALL)
    assert example is not None
    reply = error_reply("upstream_unreachable", request_id="...", host="HOST", wants_html=False)
    assert json.loads(example[1]) == json.loads(reply.body)
