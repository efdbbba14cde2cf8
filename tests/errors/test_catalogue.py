"""Each error of both programs is provoked for real, and says the cause and a next step in one shape."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.errors.estate import estate
from tests.errors.rows import ROWS, Row
from tests.support.every import every
from tests.support.forked import Done, Programs, error_sites
from tests.support.tools import ROOT

pytestmark = pytest.mark.thorough

RAW = re.compile(
    r"Errno|Traceback|\bX509|\[SSL|SQLAlchemy|sqlalchemy|\(sqlite3|pydantic|alembic\b|asyncpg|\w+Error\b|Exception\b"
)
"""What only those understand who know which libraries are inside."""
BACKUP = "relay_cli/test_backup.py::"
ELSEWHERE = {
    ("__main__.py", "main"): "relay_cli/test_cli.py::test_without_the_server_extra_the_command_says_what_to_install",
    ("backup.py", "backup"): BACKUP + "test_a_file_that_exists_is_replaced_only_by_force",
    (
        "backup.py",
        "_restore",
    ): "relay_cli/test_backup.py::test_a_backup_of_another_schema_says_which_release_restores_it",
    ("backup.py", "_ask"): BACKUP + "test_nobody_to_ask_is_no_yes",
    ("sessions.py", "revoke"): "relay_cli/test_session_commands.py::test_a_relay_that_does_not_answer_is_told",
    ("store.py", "check_user"): "relay_cli/test_cli.py::test_another_users_database_is_left_alone",
    (
        "start_problems.py",
        "of_address",
    ): "app/test_start_problems.py::test_each_way_an_address_cannot_be_had_has_its_words",
    ("exec.py", "exec_"): "cli/test_exec.py::test_a_system_that_cannot_fork_is_told",
    ("local_client.py", "_told"): "cli/test_local_client.py::test_a_line_without_an_end_is_not_read_to_its_end",
    ("oidc.py", "checked_before_start"): "cli/test_oidc.py::test_every_mistake_is_told_at_once",
    ("program.py", "system_failure"): "cli/test_exits.py::test_nothing_ends_in_a_traceback_and_everything_in_a_hint",
    ("program.py", "_fault"): "cli/test_exits.py::test_nothing_ends_in_a_traceback_and_everything_in_a_hint",
    ("serving.py", "failure_of"): "cli/test_main.py::test_every_bad_end_has_its_exit_code_and_its_hint",
}
"""File and function of what no command line brings about at will (a full disk, a terminal, another user), and the test
that shows it in another way."""


@pytest.fixture(scope="module")
def programs() -> Iterator[Programs]:
    with Programs() as programs:
        yield programs


@pytest.fixture(scope="module")
def named(tmp_path_factory, programs) -> Iterator[dict[str, str]]:
    with estate(tmp_path_factory.mktemp("errors"), programs) as named:
        yield named


@pytest.fixture(scope="module")
def run(programs, named):
    """Runs a row, once."""
    done: dict[str, Done] = {}

    def run(row: Row) -> Done:
        key = f"{row.line} {row.env}"
        if key not in done:
            program, *args = shlex.split(filled(row.line, named))
            env = {"XDG_CONFIG_HOME": named["d"], "HOME": named["d"]}
            env |= {name: filled(value, named) for name, value in row.env.items()}
            done[key] = programs.run(program, args, cwd=Path(named["d"]), env=env, stdin=row.stdin)
        return done[key]

    return run


def filled(text, named):
    return re.sub(r"\{(\w+)\}", lambda match: named[match[1]], text)


@every("row", ROWS)
def test_an_error_names_the_cause_and_a_next_step(row, run, named):
    done = run(row)
    lines = done.err.splitlines()
    told = [line for line in lines if not line.startswith("warning: ")]
    assert all(line.startswith(("error: ", "hint: ")) for line in told), done.err
    errors = " ".join(line for line in lines if line.startswith("error: "))
    hints = " ".join(line for line in lines if line.startswith("hint: "))
    assert filled(row.cause, named).lower() in errors.lower()
    assert filled(row.step, named).lower() in hints.lower()
    assert done.code == row.code
    assert done.out == ""
    assert not RAW.search(done.err.replace(named["d"], ""))


def test_every_error_that_the_code_can_make_has_a_row(run):
    provoked = frozenset().union(*(run(row).sites for row in ROWS))
    known = error_sites("Failure", "StartError")
    missing = sorted((*site, around) for site, around in known.items() if site not in provoked)
    unseen = [one for one in missing if (one[0].rpartition("/")[2], one[2]) not in ELSEWHERE]
    assert not unseen, "\n".join(map(str, unseen))


@pytest.mark.parametrize("name", sorted({*ELSEWHERE.values()}))
def test_what_is_shown_elsewhere_is_shown_there(name):
    file, _, function = name.partition("::")
    assert re.search(rf"(?m)^(async )?def {function}\(", (ROOT / "tests" / file).read_text())


def test_no_row_is_there_twice():
    assert len({(row.line, str(row.env)) for row in ROWS}) == len(ROWS)
