"""`tunnelrelay session …`: lists and ends visitors' sessions, with and without a running relay."""

import asyncio
import json
import socket
import threading
import time
from pathlib import Path

import pytest
from click.testing import Result

from tests.relay_cli.test_cli import make_store, run, running_relay
from tunnelrelay.keys.keyring import KeyRing
from tunnelrelay.observe.audit import Audit
from tunnelrelay.store.base import SessionRow, Store
from tunnelrelay.store.store import SqliteStore

HOSTS = ("app.tun.example", "wiki.tun.example")


async def fill(store: Store) -> None:
    """Alice at both hosts, Bob (without a verified address) at one, and one session that has run out."""
    now = time.time()
    people = [("alice", "alice@acme.example", HOSTS[0]), ("alice", "alice@acme.example", HOSTS[1])]
    people += [("auth0|bob", "", HOSTS[0]), ("carol", "carol@acme.example", HOSTS[0])]
    for number, (subject, email, host) in enumerate(people):
        await store.save_session(
            SessionRow(
                key=bytes([0xA0 + number]) * 32,
                host=host,
                connection_id="c",
                epoch="e",
                issuer="https://idp.acme.example",
                subject=subject,
                email=email,
                created_at=now - 1000,
                last_seen=now - number,
                expires_at=now - 1 if subject == "carol" else now + 1000,
                sealed=b"canary",
            )
        )


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    data_dir = tmp_path / "data"
    data_dir.mkdir(mode=0o700)
    monkeypatch.setenv("TUNNELRELAY_DATA_DIR", str(data_dir))
    in_store(data_dir, fill)
    return data_dir


def in_store(data_dir: Path, action):
    async def opened():
        store = await SqliteStore.open(data_dir / "relay.db")
        try:
            return await action(store)
        finally:
            await store.close()

    return asyncio.run(opened())


def left(data_dir: Path) -> list[str]:
    return sorted(row.key.hex()[:2] for row in in_store(data_dir, lambda store: store.sessions()))


def listed(*args: str) -> list[str]:
    return [record["id"] for record in json.loads(run("session", "list", "--json", *args).stdout)]


@pytest.mark.usefixtures("data_dir")
def test_who_is_signed_in_is_listed_and_who_has_run_out_is_not() -> None:
    assert listed() == ["a0" * 6, "a1" * 6, "a2" * 6]
    assert listed("--host", HOSTS[1]) == ["a1" * 6]
    assert listed("--user", "Alice@acme.example") == ["a0" * 6, "a1" * 6]
    assert listed("--user", "auth0|bob") == ["a2" * 6]
    assert listed("--user", "auth0|bob", "--host", HOSTS[1]) == []
    table = run("session", "list")
    assert "alice@acme.example" in table.stdout
    assert "auth0|bob" in table.stdout
    assert "canary" not in table.output + run("session", "list", "--json").output


def test_nobody_is_signed_in_is_said_and_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNNELRELAY_DATA_DIR", str(tmp_path))
    make_store(tmp_path)
    result = run("session", "list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "nobody" in result.stderr


@pytest.mark.parametrize(
    ("args", "stay"),
    [
        (["a0a0a0"], ["a1", "a2", "a3"]),
        (["A1" * 6, "a2" * 6], ["a0", "a3"]),
        (["--user", "alice@acme.example"], ["a2", "a3"]),
        (["--user", "alice@acme.example", "--host", HOSTS[1]], ["a0", "a2", "a3"]),
        (["--host", HOSTS[0]], ["a1", "a3"]),
        (["--all"], ["a3"]),
    ],
)
def test_those_that_are_meant_are_ended_and_no_others(data_dir: Path, args: list[str], stay: list[str]) -> None:
    result = run("session", "revoke", *args)
    assert result.exit_code == 0, result.output
    assert "no relay is running here" in result.stderr
    assert left(data_dir) == stay


def test_everybody_is_ended_also_when_there_are_more_than_are_listed(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tunnelrelay.cli.sessions.MAX_LISTED", 1)
    assert listed() == ["a0" * 6]
    assert "ended 3 sessions" in run("session", "revoke", "--all").stderr
    assert left(data_dir) == ["a3"]


def test_running_relays_are_told(data_dir: Path) -> None:
    with running_relay(data_dir) as told:
        result = run("session", "revoke", "--user", "alice@acme.example")
    assert told == ["sessions"]
    assert "ended 2 sessions; what they had open is closed" in result.stderr
    assert len(in_store(data_dir, lambda store: store.ended_since(0.0))) == 2


def test_a_relay_that_does_not_answer_is_told(data_dir: Path) -> None:
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(data_dir / "control.sock"))
        deaf.listen()
        closing = threading.Thread(target=lambda: deaf.accept()[0].close())
        closing.start()
        result = run("session", "revoke", "--all")
        closing.join()
    assert result.exit_code == 1
    assert "error: ended, but the relay behind" in result.stderr
    assert "hint: a relay that runs hears of it by itself" in result.stderr
    assert left(data_dir) == ["a3"]


def events(data_dir: Path) -> list[dict[str, object]]:
    """The events of sessions that were ended, as `audit list` has them, by host."""
    found = json.loads(run("audit", "list", "--json", "--kind=session.revoke").stdout)
    return sorted(found, key=lambda event: (event["host"], event["subject"]))


@pytest.mark.parametrize("place", ["keys.json", "elsewhere.json"])
def test_the_audit_log_has_each_session_with_the_digest_that_relays_write(data_dir: Path, place: str) -> None:
    ring = KeyRing.load_or_create(data_dir / place)
    relay = Audit(clock=time.time, key=ring.digest_key("audit"))
    run("session", "revoke", "--all", *([] if place == "keys.json" else ["--keys-file", str(data_dir / place)]))
    alice, bob = (relay.person("https://idp.acme.example", name) for name in ("alice", "auth0|bob"))
    told = [(event["host"], event["subject"], event["connection"], event["details"]) for event in events(data_dir)]
    expected = [(HOSTS[0], alice), (HOSTS[0], bob), (HOSTS[1], alice)]
    assert told == [(*one, "c", {"issuer": "https://idp.acme.example"}) for one in sorted(expected)]


def test_where_the_keys_cannot_be_read_the_audit_log_counts(data_dir: Path) -> None:
    run("session", "revoke", "--all")
    told = [(event["host"], event["subject"], event["details"]) for event in events(data_dir)]
    assert told == [(HOSTS[0], "", {"count": "2"}), (HOSTS[1], "", {"count": "1"})]


@pytest.mark.parametrize("args", [["--user", "nobody@acme.example"], ["--host", "x.tun.example"], ["--all"]])
def test_ending_what_nobody_has_is_done_at_once_and_is_no_failure(data_dir: Path, args: list[str]) -> None:
    run("session", "revoke", "--all")
    with running_relay(data_dir) as told:
        result = run("session", "revoke", "--json", *args)
    assert (result.exit_code, json.loads(result.stdout), told) == (0, [], [])
    assert result.stderr == ("nobody is signed in\n" if args == ["--all"] else "nobody like that is signed in\n")


def refused(result: Result) -> str:
    assert result.exit_code != 0
    return result.stderr


def test_what_means_none_or_several_ends_nothing(data_dir: Path) -> None:
    assert "is no session's id" in refused(run("session", "revoke", "ffffff"))
    assert "is no session's id" in refused(run("session", "revoke", "a0"))
    assert "is no session's id" in refused(run("session", "revoke", "a0a0a0", "nonsense"))
    assert left(data_dir) == ["a0", "a1", "a2", "a3"]


@pytest.mark.usefixtures("data_dir")
@pytest.mark.parametrize("args", [[], ["a0a0a0", "--all"], ["--all", "--user", "x"], ["a0a0a0", "--host", "x"]])
def test_what_is_meant_must_be_said_in_one_way(args: list[str]) -> None:
    assert run("session", "revoke", *args).exit_code == 2
