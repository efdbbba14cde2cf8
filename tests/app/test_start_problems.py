"""A relay that cannot start says why and what to do, without a number or a name of the system's."""

import errno
import os
import re
import socket
import sqlite3

import pytest

from tunnelrelay.app.relay import Relay
from tunnelrelay.app.start_problems import StartError, of_address, of_data_dir, who_listens
from tunnelrelay.config.config import load_config
from tunnelrelay.config.values import ListenAddress

RAW = re.compile(r"Errno|Error\b|Traceback|\[SQL|\(sqlite3|\(Background")
ADDRESS = ListenAddress("192.0.2.1", 443)


async def refusal(tmp_path, **flags):
    """What a relay with these settings says instead of starting."""
    given = {"data_dir": str(tmp_path / "data"), "http": "127.0.0.1:0", "admin": "off", **flags}
    with pytest.raises(StartError) as caught:
        await Relay(load_config(flags=given, env={})).start()
    said = str(caught.value)
    assert not RAW.search(said)
    assert caught.value.hint
    return said, caught.value.hint


@pytest.mark.parametrize("flag", ["http", "admin"])
async def test_a_busy_port_is_told_with_who_has_it(tmp_path, flag):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said, _ = await refusal(tmp_path, **{flag: f"127.0.0.1:{port}"})
        assert said.startswith(f"--{flag} 127.0.0.1:{port}: another program listens there already")
        assert f"process {os.getpid()})" in said
        assert who_listens(port).endswith(f", process {os.getpid()}")
    assert who_listens(port) == ""


@pytest.mark.parametrize(
    ("error", "said", "hint"),
    [
        (OSError(errno.EADDRNOTAVAIL, "x"), "this machine has no such address", "ip address"),
        (OSError(errno.EACCES, "x"), "may not listen on a port below 1024", "CAP_NET_BIND_SERVICE"),
        (OSError(errno.EPERM, "x"), "may not listen on a port below 1024", "CAP_NET_BIND_SERVICE"),
        (OSError(errno.EAFNOSUPPORT, "x"), "has no IPv6", "0.0.0.0:443"),
        (OSError(errno.ENOBUFS, "x"), "no buffer space available", "another address"),
        (socket.gaierror(-2, "x"), "no host of this name", ":443"),
    ],
)
def test_each_way_an_address_cannot_be_had_has_its_words(error, said, hint):
    problem = of_address("--https", ADDRESS, error)
    assert str(problem).startswith("--https 192.0.2.1:443: ")
    assert said in str(problem)
    assert hint in problem.hint


def test_a_machine_without_proc_names_no_holder(tmp_path):
    assert who_listens(80, tmp_path) == ""


@pytest.mark.parametrize(
    ("number", "hint"),
    [(errno.EACCES, "chown"), (errno.EROFS, "chown"), (errno.ENOSPC, "make room"), (errno.EIO, "an")],
)
def test_each_way_a_data_directory_cannot_be_used_has_its_hint(tmp_path, number, hint):
    problem = of_data_dir(tmp_path, OSError(number, "x", str(tmp_path)))
    assert str(tmp_path) in str(problem)
    assert hint in problem.hint


async def test_a_database_file_that_is_none(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "relay.db").write_text("not a database at all, just some words in a file")
    said, hint = await refusal(tmp_path)
    assert "relay.db cannot be opened: file is not a database" in said
    assert "restore a backup" in hint


async def test_a_database_of_a_newer_release(tmp_path):
    async with Relay(load_config(flags={"data_dir": str(tmp_path / "data"), "http": "0", "admin": "off"}, env={})):
        pass
    with sqlite3.connect(tmp_path / "data" / "relay.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    said, hint = await refusal(tmp_path)
    assert "was written by a newer tunnelrelay (schema 9999" in said
    assert "run the newer release" in hint


async def test_keys_that_others_can_read_and_keys_that_are_none(tmp_path):
    (tmp_path / "data").mkdir()
    keys = tmp_path / "data" / "keys.json"
    keys.write_text("x")
    keys.chmod(0o644)
    said, hint = await refusal(tmp_path)
    assert said == f"{keys} can be read by others (mode 0644)"
    assert hint == f"chmod 600 {keys}"
    keys.chmod(0o600)
    said, hint = await refusal(tmp_path)
    assert said.startswith(f"{keys}: this is not a key ring")
    assert "backup" in hint


async def test_a_database_that_is_away(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"postgresql://relay:sesame@127.0.0.1:{taken.getsockname()[1]}/x"
        said, hint = await refusal(tmp_path, **from_file(tmp_path, url))
    assert "cannot be reached: nothing listens there (connection refused)" in said
    assert "sesame" not in said + hint


def from_file(tmp_path, url):
    file = tmp_path / "url"
    file.write_text(url)
    return {"database": f"file:{file}"}
