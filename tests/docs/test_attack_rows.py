"""Every attack of the list is shown to fail by a test that names it, or is out of scope, and the docs say which.

`python -m tests.docs.attack_rows --write` brings the table in docs/concepts/security.md up to date.
"""

import re
from functools import cache

from tests.docs.attack_rows import ATTACKS, BEGIN, END, OUT_OF_SCOPE, SECURITY, shown_by, why_not
from tests.support.every import every

shown_once = cache(shown_by)
TABLE = SECURITY.read_text().partition(BEGIN)[2].partition(END)[0]
ROWS = {int(number): (meaning, shown) for number, meaning, shown in re.findall(r"\| (\d+) \| (.+) \| (.+) \|", TABLE)}


@every("number", sorted(ATTACKS))
def test_every_attack_is_named_by_a_test_or_out_of_scope_for_a_reason(number: int) -> None:
    assert number in shown_once() or OUT_OF_SCOPE.get(number)


def test_nothing_is_out_of_scope_that_a_test_shows() -> None:
    assert OUT_OF_SCOPE.keys() & shown_once().keys() == set()


def test_the_docs_list_every_attack() -> None:
    assert {number: meaning for number, (meaning, _) in ROWS.items()} == ATTACKS


@every("number", sorted(ROWS))
def test_the_docs_name_files_whose_tests_show_it(number: int) -> None:
    shown = ROWS[number][1]
    files = set(re.findall(r"`([\w/.]+)`", shown))
    assert files or (number in OUT_OF_SCOPE and shown == why_not(number))
    assert files <= shown_once().get(number, {}).keys()
