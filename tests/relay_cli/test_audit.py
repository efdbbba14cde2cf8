"""`tunnelrelay audit list` as an operator meets it."""

import asyncio
import json
import time

import pytest
from click.testing import CliRunner

from tests.relay_cli.test_cli import make_store
from tunnelrelay.cli.main import cli
from tunnelrelay.store.base import AuditRow
from tunnelrelay.store.store import FILE_NAME, SqliteStore


def run(*args):
    return CliRunner().invoke(cli, args, prog_name="tunnelrelay")


@pytest.fixture
def data_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNNELRELAY_DATA_DIR", str(tmp_path))
    make_store(tmp_path)
    return tmp_path


@pytest.fixture
def kept(data_dir):
    """Three events: long ago, an hour ago and just now."""
    now = time.time()
    rows = [
        AuditRow(at=now - 90_000, kind="login.ok", host="app.test", subject="d1"),
        AuditRow(at=now - 4000, kind="login.denied", host="app.test", reason="email", peer="192.0.2.1"),
        AuditRow(at=now, kind="login.ok", host="other.test", details='{"note":"two words"}'),
    ]

    async def keep():
        store = await SqliteStore.open(data_dir / FILE_NAME)
        await store.add_audit(rows)
        await store.close()

    asyncio.run(keep())
    return rows


@pytest.mark.usefixtures("kept")
def test_events_are_lines_oldest_first():
    lines = run("audit", "list").stdout.splitlines()

    assert [line.split()[1] for line in lines] == ["login.ok", "login.denied", "login.ok"]
    assert "reason=email host=app.test peer=192.0.2.1" in lines[1]
    assert 'note="two words"' in lines[2]


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--since", "2h"], ["app.test", "other.test"]),
        (["--since", "10m"], ["other.test"]),
        (["--host", "app.test"], ["app.test", "app.test"]),
        (["--kind", "login.denied"], ["app.test"]),
        (["--limit", "1"], ["other.test"]),
    ],
)
def test_events_are_chosen_by_time_host_and_kind(flags, expected):
    records = json.loads(run("audit", "list", "--json", *flags).stdout)

    assert [record["host"] for record in records] == expected


@pytest.mark.usefixtures("kept")
def test_json_has_every_field():
    record = json.loads(run("audit", "list", "--json").stdout)[-1]

    assert set(record) >= {"id", "at", "kind", "reason", "host", "owner", "subject", "peer", "request_id", "node"}
    assert record["details"] == {"note": "two words"}


@pytest.mark.usefixtures("data_dir")
def test_nothing_found_is_no_error():
    result = run("audit", "list")

    assert (result.exit_code, result.stdout) == (0, "")
    assert "no such events" in result.stderr


@pytest.mark.usefixtures("data_dir")
@pytest.mark.parametrize("flags", [["--since", "yesterday"], ["--kind", "login.perhaps"]])
def test_a_slip_of_the_pen_is_told(flags):
    result = run("audit", "list", *flags)

    assert result.exit_code == 2
    assert "hint: " in result.stderr


@pytest.mark.usefixtures("data_dir")
def test_tokens_that_are_made_and_revoked_are_events():
    token = json.loads(run("token", "create", "--owner", "ann", "--json").stdout)
    run("token", "revoke", token["id"])

    records = json.loads(run("audit", "list", "--json").stdout)

    assert [(record["kind"], record["owner"], record["details"]) for record in records] == [
        ("token.created", "ann", {"token": token["id"]}),
        ("token.revoked", "ann", {"token": token["id"]}),
    ]
    assert token["token"] not in json.dumps(records)
