"""`tunnelrelay name ...` as an operator meets it."""

import asyncio
import json
import time

import pytest
from click.testing import CliRunner

from tunnelrelay.agents.accept import LOCAL_OWNER
from tunnelrelay.agents.authtokens import create
from tunnelrelay.cli.main import cli
from tunnelrelay.registry.registry import LOST_SECONDS
from tunnelrelay.store.store import FILE_NAME, SqliteStore

pytestmark = pytest.mark.usefixtures("kept")


def run(*args):
    return CliRunner().invoke(cli, ["name", *args], prog_name="tunnelrelay")


def in_store(data_dir, action):
    async def act():
        store = await SqliteStore.open(data_dir / FILE_NAME)
        try:
            return await action(store)
        finally:
            await store.close()

    return asyncio.run(act())


async def claim(store, host, owner, at):
    return await store.claim_name(host, owner, at, lost_seconds=LOST_SECONDS, cool_seconds=1e9)


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A name that is held, one that was lost and one that was given up."""
    monkeypatch.setenv("TUNNELRELAY_DATA_DIR", str(tmp_path))
    now = time.time()

    async def fill(store):
        await claim(store, "demo.tun.example", "ann", now)
        await claim(store, "lost.tun.example", "ann", now - 2 * LOST_SECONDS)
        await claim(store, "old.tun.example", "bob", now - 2 * LOST_SECONDS)
        await store.release_name("old.tun.example", "bob", now)

    in_store(tmp_path, fill)
    return tmp_path


def test_names_are_listed_with_owner_generation_and_state():
    table = run("list").stdout.splitlines()
    records = json.loads(run("list", "--json").stdout)

    assert [record["state"] for record in records] == ["held", "lost", "given up"]
    assert {record["generation"] for record in records} == {1}
    assert table[3].split()[:5] == ["old.tun.example", "bob", "1", "given", "up"]
    assert len(json.loads(run("list", "--owner", "ann", "--json").stdout)) == 2
    assert run("list", "--owner", "eve").stdout == ""


@pytest.mark.parametrize("name", ["old", "old.tun.example"])
def test_a_name_that_cools_down_is_freed_for_anybody_and_the_log_knows(kept, name):
    result = run("release", name)
    row = in_store(kept, lambda store: claim(store, "old.tun.example", "eve", time.time()))
    events = in_store(kept, lambda store: store.audit(kind="name.freed"))

    assert result.exit_code == 0
    assert "which was bob's" in result.stderr
    assert (row.owner, row.generation) == ("eve", 2)
    assert [(event.host, event.owner) for event in events] == [("old.tun.example", "bob")]


def test_a_name_that_is_served_is_not_freed(kept):
    in_store(kept, lambda store: create(store, "ann"))
    result = run("release", "demo")

    assert result.exit_code == 1
    assert "token revoke --owner ann" in result.stderr
    assert in_store(kept, lambda store: claim(store, "demo.tun.example", "eve", time.time())).owner == "ann"


def test_agents_without_a_token_are_not_to_be_stopped_by_revoking_one(kept):
    in_store(kept, lambda store: claim(store, "here.tun.example", LOCAL_OWNER, time.time()))
    result = run("release", "here")

    assert result.exit_code == 1
    assert result.stderr.endswith("hint: stop its agent and try again later\n")


@pytest.mark.parametrize(("name", "words"), [("none", "no agent ever had"), ("two", "more than one")])
def test_a_name_that_is_unknown_or_means_two_is_a_failure(kept, name, words):
    in_store(kept, lambda store: claim(store, "two.tun.example", "ann", 1.0))
    in_store(kept, lambda store: claim(store, "two.other.example", "ann", 1.0))
    result = run("release", name)

    assert result.exit_code == 1
    assert words in result.stderr


def test_what_was_freed_is_told_as_json():
    assert json.loads(run("release", "old", "--json").stdout)["state"] == "free"
