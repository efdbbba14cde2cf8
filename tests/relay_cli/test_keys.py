"""`tunnelrelay keys` as an operator meets it."""

import json

import pytest
from click.testing import CliRunner

from tests.relay_cli.test_cli import make_store
from tunnelrelay.cli.main import cli
from tunnelrelay.keys.assertion import AssertionSigner
from tunnelrelay.keys.keyring import KeyRing


def run(*args):
    return CliRunner().invoke(cli, args, prog_name="tunnelrelay")


@pytest.fixture
def data_dir(tmp_path, monkeypatch):
    """A data directory with the database and keys a relay made at its start."""
    monkeypatch.setenv("TUNNELRELAY_DATA_DIR", str(tmp_path))
    make_store(tmp_path)
    KeyRing.load_or_create(tmp_path / "keys.json")
    AssertionSigner.load_or_create(tmp_path / "assertion.json", issuer="r")
    return tmp_path


def listed():
    return [(record["use"], record["state"]) for record in json.loads(run("keys", "list", "--json").stdout)]


def secrets_in(folder):
    ring, signing = (
        json.loads((folder / "keys.json").read_bytes()),
        json.loads((folder / "assertion.json").read_bytes()),
    )
    return [ring["root"], *(master["secret"] for master in ring["masters"]), *(key["d"] for key in signing["keys"])]


@pytest.mark.usefixtures("data_dir")
def test_the_keys_of_a_new_relay_are_in_use():
    assert listed() == [("seal", "seals"), ("sign", "signs")]


@pytest.mark.usefixtures("data_dir")
def test_new_keys_wait_for_their_time():
    result = run("keys", "rotate")

    assert result.exit_code == 0
    assert result.stderr.count("new key") == 2
    assert listed() == [("seal", "seals"), ("seal", "next"), ("sign", "signs"), ("sign", "next")]


@pytest.mark.usefixtures("data_dir")
def test_new_keys_are_told_to_programs_too():
    made = json.loads(run("keys", "rotate", "--json").stdout)

    assert [(record["use"], record["state"]) for record in made] == [("seal", "next"), ("sign", "next")]
    assert {record["kid"] for record in made} <= {r["kid"] for r in json.loads(run("keys", "list", "--json").stdout)}


@pytest.mark.usefixtures("data_dir")
@pytest.mark.parametrize("use", ["seal", "sign"])
def test_a_key_that_may_have_leaked_is_dropped_and_the_next_one_takes_over(use):
    run("keys", "rotate")
    before = json.loads(run("keys", "list", "--json").stdout)
    old = next(record["kid"] for record in before if record["use"] == use)

    result = run("keys", "drop", old)

    after = json.loads(run("keys", "list", "--json").stdout)
    assert result.exit_code == 0
    assert [r["kid"] for r in after] == [r["kid"] for r in before if r["kid"] != old]
    assert next(record["state"] for record in after if record["use"] == use) == f"{use}s"


@pytest.mark.usefixtures("data_dir")
def test_the_newest_key_and_one_that_is_not_there_are_not_dropped():
    for record in json.loads(run("keys", "list", "--json").stdout):
        result = run("keys", "drop", record["kid"])
        assert result.exit_code == 1
        assert "newest" in result.stderr
        assert "hint: " in result.stderr
    assert "there is no key nobody" in run("keys", "drop", "nobody").stderr


@pytest.mark.usefixtures("data_dir")
def test_what_was_done_to_keys_is_an_event():
    made = json.loads(run("keys", "rotate", "--json").stdout)
    old = json.loads(run("keys", "list", "--json").stdout)[0]["kid"]
    run("keys", "drop", old)

    events = json.loads(run("audit", "list", "--json").stdout)

    assert [(event["kind"], event["reason"], event["details"]) for event in events] == [
        *[("keys.rotated", "asked", {"use": key["use"], "kid": key["kid"]}) for key in made],
        ("keys.dropped", "asked", {"use": "seal", "kid": old}),
    ]


def test_no_command_shows_a_key(data_dir):
    """Row 158."""
    shown = ""
    for command in (["rotate"], ["rotate", "--json"], ["list"], ["list", "--json"], ["drop", "nobody"]):
        shown += run("keys", *command).output
    shown += run("audit", "list", "--json").output

    assert [secret for secret in secrets_in(data_dir) if secret in shown] == []


def test_keys_elsewhere_are_found_by_flag_and_variable(data_dir, tmp_path_factory, monkeypatch):
    elsewhere = tmp_path_factory.mktemp("keys") / "ring.json"
    KeyRing.load_or_create(elsewhere)
    AssertionSigner.load_or_create(elsewhere.with_name("assertion.json"), issuer="r")

    here = json.loads(run("keys", "list", "--json").stdout)
    by_flag = json.loads(run("keys", "list", "--json", "--keys-file", str(elsewhere)).stdout)
    monkeypatch.setenv("TUNNELRELAY_KEYS_FILE", str(elsewhere))
    by_variable = json.loads(run("keys", "list", "--json").stdout)

    assert by_flag == by_variable != here


def test_without_keys_there_is_a_hint(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNNELRELAY_DATA_DIR", str(tmp_path))
    make_store(tmp_path)
    for command in (["list"], ["rotate"], ["drop", "x"]):
        result = run("keys", *command)
        assert result.exit_code == 1
        assert "a relay makes them" in result.stderr


@pytest.mark.parametrize("command", [["rotate"], ["drop", "x"]])
def test_no_key_changes_when_there_is_no_database_to_tell_it(data_dir, command):
    before = (data_dir / "keys.json").read_bytes()
    result = run("keys", *command, "--data-dir", str(data_dir / "no"), "--keys-file", str(data_dir / "keys.json"))

    assert result.exit_code == 1
    assert "no relay data in" in result.stderr
    assert (data_dir / "keys.json").read_bytes() == before


def test_a_file_of_another_user_is_not_touched(data_dir, monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 12345)

    result = run("keys", "rotate")

    assert result.exit_code == 1
    assert "sudo -u" in result.stderr
