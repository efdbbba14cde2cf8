"""Every command that looks into the store looks into the database that was named, however it was."""

import asyncio
from pathlib import Path

import pytest

from tests.relay_cli.test_cli import run
from tests.support.postgres import PostgresServer, new_database
from tunnelrelay.config.database import DatabaseUrl
from tunnelrelay.store.base import AuditRow
from tunnelrelay.store.postgresql import PostgresqlStore


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data directory, of a relay that keeps nothing in it."""
    monkeypatch.setenv("TUNNELRELAY_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    """A database with a token, a name and an event."""
    url = new_database(postgres)

    async def fill() -> None:
        store = await PostgresqlStore.open(DatabaseUrl(url))
        await store.claim_name("demo.localhost", "ann", 1.0, lost_seconds=1, cool_seconds=1)
        await store.add_audit([AuditRow(at=1.0, kind="login.ok", host="demo.localhost")])
        await store.close()

    asyncio.run(fill())
    return url


@pytest.mark.usefixtures("data_dir")
@pytest.mark.parametrize("how", ["flag", "variable", "file", "file:", "env:"])
def test_it_is_named_by_flag_variable_or_file(
    how: str, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags: list[str] = []
    match how:
        case "flag":
            flags = ["--database", url]
        case "variable":
            monkeypatch.setenv("TUNNELRELAY_DATABASE", url)
        case "file":
            (tmp_path / "relay.toml").write_text(f'database = "{url}"\n')
            flags = ["--config", str(tmp_path / "relay.toml")]
        case "file:":
            (tmp_path / "url").write_text(url)
            flags = [f"--database=file:{tmp_path / 'url'}"]
        case "env:":
            monkeypatch.setenv("THE_URL", url)
            flags = ["--database=env:THE_URL"]
    assert "demo.localhost" in run("name", "list", *flags).stdout


@pytest.mark.usefixtures("data_dir")
def test_every_command_uses_it(url: str, data_dir: Path) -> None:
    at = ["--database", url]
    assert run("token", "create", "--owner", "ann", *at).exit_code == 0
    assert "ann" in run("token", "list", *at).stdout
    assert run("token", "revoke", "--owner", "ann", *at).exit_code == 0
    assert "revoked" in run("token", "list", *at).stdout
    assert "nobody is signed in" in run("session", "list", *at).stderr
    assert run("session", "revoke", "--all", *at).exit_code == 0
    assert run("name", "release", "demo.localhost", *at).exit_code == 0
    assert "name.freed" in run("audit", "list", *at).stdout
    assert not (data_dir / "relay.db").exists()


@pytest.mark.usefixtures("data_dir")
def test_a_password_in_a_flag_is_refused() -> None:
    result = run("token", "list", "--database", "postgresql://relay:canary@db.example/x")
    assert result.exit_code == 2
    assert "everybody on this machine" in result.stderr
    assert "canary" not in result.output


@pytest.mark.usefixtures("data_dir")
def test_a_database_that_is_away_or_empty_is_a_clear_failure(postgres: PostgresServer) -> None:
    away = run("token", "list", "--database", "postgresql://relay@127.0.0.1:1/x")
    assert away.exit_code == 1
    assert "postgresql://relay@127.0.0.1/x cannot be reached" in away.stderr
    assert "hint: start the server" in away.stderr
    empty = run("token", "list", "--database", asyncio.run(postgres.empty_database()))
    assert empty.exit_code == 1
    assert "holds no relay's data" in empty.stderr
