"""What `tunnelrelay token create` may be asked for, and how `token list` shows it."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tunnelrelay.cli.main import cli
from tunnelrelay.model import Token
from tunnelrelay.store.store import FILE_NAME, SqliteStore


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUNNELRELAY_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def command(*args: str) -> Result:
    return CliRunner().invoke(cli, args, prog_name="tunnelrelay")


def kept(data_dir: Path) -> list[Token]:
    async def read() -> list[Token]:
        store = await SqliteStore.open(data_dir / FILE_NAME)
        try:
            return await store.tokens()
        finally:
            await store.close()

    return asyncio.run(read())


def test_a_token_is_made_with_words_rules_and_an_expiry(data_dir: Path) -> None:
    made = command(
        "token", "create", "--description", "ci of pr", "--acl", "bind:pr-*", "--acl", "bind:demo", "--expires", "30d"
    )

    assert made.exit_code == 0, made.output
    (token,) = kept(data_dir)
    assert (token.description, token.acl) == ("ci of pr", ("bind:pr-*", "bind:demo"))
    assert token.expires_at is not None
    assert round((token.expires_at - token.created_at) / 86_400) == 30


def test_lists_show_them(data_dir: Path) -> None:
    command("token", "create", "--description", "ci", "--acl", "bind:pr-*", "--expires", "12h")
    command("token", "create")

    shown = command("token", "list").stdout
    limited, free = json.loads(command("token", "list", "--json").stdout)

    assert "good until" in shown
    assert "bind:pr-*" in shown
    assert "everything" in shown
    assert (limited["description"], limited["acl"]) == ("ci", ["bind:pr-*"])
    assert limited["expires_at"].endswith("Z")
    assert (free["description"], free["acl"], free["expires_at"]) == ("", [], None)


@pytest.mark.parametrize(
    "args",
    [
        ("--acl", "pr-*"),
        ("--acl", "bind:"),
        ("--expires", "soon"),
        ("--expires", "30"),
        ("--description", "a" * 256),
        ("--description", "\x1b[2J"),
    ],
)
def test_what_cannot_be_makes_no_token(data_dir: Path, args: tuple[str, ...]) -> None:
    made = command("token", "create", *args)

    assert made.exit_code in (1, 2)
    assert made.stdout == ""
    assert "error:" in made.stderr
    assert not (data_dir / FILE_NAME).exists()


def test_a_description_cannot_steer_the_terminal_that_lists_it(data_dir: Path) -> None:
    command("token", "create")
    (token,) = kept(data_dir)

    async def change() -> None:
        store = await SqliteStore.open(data_dir / FILE_NAME)
        await store.change_token(token, replace(token, description="a\x1b[2Jb"))
        await store.close()

    asyncio.run(change())

    assert "\x1b" not in command("token", "list").stdout
