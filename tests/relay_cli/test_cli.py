"""The `tunnelrelay` command as an operator meets it."""

import asyncio
import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tunnelctl.cli.command import Command
from tunnelrelay import __main__ as command
from tunnelrelay.app.control_socket import ControlSocket
from tunnelrelay.cli.main import cli
from tunnelrelay.config.config import SETTINGS
from tunnelrelay.store.store import FILE_NAME, SqliteStore


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUNNELRELAY_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def run(*args: str) -> Result:
    return CliRunner().invoke(cli, args, prog_name="tunnelrelay")


def make_store(data_dir: Path) -> None:
    """An empty database, as a relay leaves it behind."""

    async def make() -> None:
        await (await SqliteStore.open(data_dir / FILE_NAME)).close()

    data_dir.mkdir(mode=0o700, exist_ok=True)
    asyncio.run(make())


@contextmanager
def running_relay(data_dir: Path) -> Iterator[list[str]]:
    """A relay as far as the control socket goes, on a loop of its own. Yields the ids it was told."""
    told: list[str] = []
    is_up, done = threading.Event(), threading.Event()

    async def on_revoked(token_id: str) -> int:
        told.append(token_id)
        return 3

    async def on_sessions_ended() -> int:
        told.append("sessions")
        return 1

    async def serve() -> None:
        control = ControlSocket(data_dir, on_revoked, on_sessions_ended)
        await control.start()
        is_up.set()
        await asyncio.to_thread(done.wait)
        await control.stop()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    is_up.wait()
    yield told
    done.set()
    thread.join()


@pytest.mark.usefixtures("data_dir")
def test_a_new_token_alone_is_on_stdout() -> None:
    result = run("token", "create", "--owner", "ann")
    assert result.exit_code == 0
    assert re.fullmatch(r"tt_[0-9A-Za-z]{43}\n", result.stdout)
    assert "owner ann" in result.stderr
    assert result.stdout.strip() not in result.stderr


def test_no_file_holds_the_token(data_dir: Path) -> None:
    token = run("token", "create").stdout.strip()
    for file in data_dir.iterdir():
        assert token.encode() not in file.read_bytes()
    assert data_dir.stat().st_mode & 0o777 == 0o700


@pytest.mark.usefixtures("data_dir")
def test_tokens_are_listed_by_owner_in_a_table_and_as_json() -> None:
    token = run("token", "create", "--owner", "ann").stdout.strip()
    run("token", "create")
    table = run("token", "list").stdout
    assert "ann" in table
    assert "default" in table
    assert token not in table
    [record] = json.loads(run("token", "list", "--owner", "ann", "--json").stdout)
    assert record["owner"] == "ann"
    assert record["revoked_at"] is None
    assert record["id"] in table


@pytest.mark.usefixtures("data_dir")
def test_json_of_a_new_token_holds_it() -> None:
    record = json.loads(run("token", "create", "--json").stdout)
    assert record["token"].startswith("tt_")
    assert record["owner"] == "default"


@pytest.mark.usefixtures("data_dir")
@pytest.mark.parametrize("by", ["id", "token"])
def test_a_token_is_revoked_by_its_id_or_itself(by: str) -> None:
    record = json.loads(run("token", "create", "--json").stdout)
    result = run("token", "revoke", record[by])
    assert result.exit_code == 0
    assert "no relay is running here" in result.stderr
    assert record["token"] not in result.output
    assert "revoked" in run("token", "list").stdout


def test_a_running_relay_ends_the_links_of_a_revoked_token(data_dir: Path) -> None:
    record = json.loads(run("token", "create", "--json").stdout)
    with running_relay(data_dir) as told:
        result = run("token", "revoke", record["id"])
    assert told == [record["id"]]
    assert "live links ended: 3" in result.stderr


@pytest.mark.usefixtures("data_dir")
def test_all_tokens_of_an_owner_are_revoked_together() -> None:
    for owner in ("ann", "ann", "bob"):
        run("token", "create", "--owner", owner)
    assert run("token", "revoke", "--owner", "ann").exit_code == 0
    states = {(t["owner"], t["revoked_at"] is None) for t in json.loads(run("token", "list", "--json").stdout)}
    assert states == {("ann", False), ("bob", True)}


def test_a_stuck_relay_is_reported_after_every_token_was_revoked(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        run("token", "create")
    monkeypatch.setattr("tunnelrelay.app.control_socket.tell.__defaults__", (0.01,))
    with socket.socket(socket.AF_UNIX) as stuck:
        stuck.bind(str(data_dir / "control.sock"))
        stuck.listen(4)
        result = run("token", "revoke", "--owner", "default")
    assert result.exit_code == 1
    assert "did not answer" in result.stderr
    assert "hint: a relay that runs hears of it" in result.stderr
    assert all(token["revoked_at"] for token in json.loads(run("token", "list", "--json").stdout))


def test_unknown_tokens_and_owners_are_failures(data_dir: Path) -> None:
    make_store(data_dir)
    assert run("token", "revoke", "tok_none").exit_code == 1
    assert run("token", "revoke", "--owner", "nobody").exit_code == 1
    assert run("token", "create", "--owner", "a b").exit_code == 1


@pytest.mark.usefixtures("data_dir")
def test_wrong_usage_exits_2() -> None:
    assert run("token", "revoke").exit_code == 2
    assert run("token", "revoke", "tok_1", "--owner", "ann").exit_code == 2
    assert run("token", "create", "--what").exit_code == 2
    assert run("serve", "--what").exit_code == 2


def test_every_mistake_is_told_at_once_with_its_origin_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "relay.toml"
    file.write_text('domian = "tun.example"\nhttps = ":443"\n')
    monkeypatch.setenv("TUNNELRELAY_LOG_FORMAT", "xml")
    result = run("serve", "--config", str(file), "--http", "nowhere")
    assert result.exit_code == 2
    assert result.stderr.count("error: ") == 3
    assert f"{file}: domian: there is no such setting" in result.stderr
    assert "hint: did you mean `domain`?" in result.stderr
    assert "TUNNELRELAY_LOG_FORMAT: `xml` is none of" in result.stderr
    assert "--http: `nowhere` is no address" in result.stderr


def test_token_commands_work_beside_a_configuration_that_flags_complete(tmp_path: Path) -> None:
    file = tmp_path / "relay.toml"
    file.write_text('data_dir = "state"\nhttps = ":443"\n')  # the certificate comes as a flag of serve
    assert run("token", "create", "--config", str(file)).exit_code == 0
    assert (tmp_path / "state" / "relay.db").exists()


def test_another_users_database_is_left_alone(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("token", "create")
    monkeypatch.setattr("os.geteuid", lambda: 4242)
    result = run("token", "create")
    assert result.exit_code == 1
    assert "hint: run the same command as that user: sudo -u" in result.stderr


def test_a_data_directory_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run("token", "create", "--data-dir", str(tmp_path / "file" / "data"))
    assert result.exit_code == 1
    assert "cannot be used" in result.stderr


@pytest.mark.parametrize(
    "command",
    [
        ["audit", "list"],
        ["name", "list"],
        ["name", "release", "demo"],
        ["session", "list"],
        ["session", "revoke", "--all"],
        ["token", "list"],
        ["token", "revoke", "--owner", "ann"],
    ],
)
def test_a_directory_that_was_mistyped_is_told_and_not_made(tmp_path: Path, command: list[str]) -> None:
    result = run(*command, "--data-dir", str(tmp_path / "dta"))
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: there is no relay data in {tmp_path / 'dta'}\nhint: ")
    assert list(tmp_path.iterdir()) == []


def test_without_the_server_extra_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None if name == "sqlalchemy" else object())
    with pytest.raises(SystemExit) as stopped:
        command.main()
    assert stopped.value.code == 1
    assert "pip install '.[server]'" in capsys.readouterr().err


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; from tunnelrelay.cli.main import cli\n"
        "try: cli(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'sqlalchemy', 'alembic', 'starlette', 'uvicorn', 'httpx', 'rich', 'asyncio'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    path = [*sys.path]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:] = {path!r}\n{script}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_every_setting_stands_in_one_group_of_the_help() -> None:
    command = cli.commands["serve"]
    assert isinstance(command, Command)
    placed = [str(param.name) for params in command.sections.values() for param in params]
    assert sorted(placed) == sorted([*SETTINGS, "config_file"])


@pytest.mark.parametrize("args", [["--help"], ["serve", "--help"], ["token", "--help"], ["token", "revoke", "--help"]])
def test_help_is_there_for_every_command(args: list[str]) -> None:
    result = run(*args)
    assert result.exit_code == 0
    assert "Usage: tunnelrelay" in result.stdout
