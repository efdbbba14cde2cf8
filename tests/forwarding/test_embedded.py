"""The relay of a run's own: real processes, from the start to the last file."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import tunnelctl
from tests.support.apps import App, Exchange, running
from tests.support.waiting import PATIENCE
from tunnelctl.forwarding import embedded
from tunnelctl.forwarding.errors import RelayUnreachable

SERVE = """
import sys, time, tunnelctl
with tunnelctl.forward_sync(int(sys.argv[1]), relay="embedded") as endpoint:
    print(endpoint.url, flush=True)
    time.sleep(600)
"""


async def ok(exchange: Exchange) -> None:
    await exchange.respond(200, "ok")


@pytest.fixture
def app() -> Iterator[App]:
    with running(App({"/": ok})) as app:
        yield app


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The directory in which temporary files are made; the user's settings are elsewhere."""
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))
    return place


def relays() -> list[int]:
    """The processes below this one that run a relay with temporary data."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"--data-dir={dir}" in words:
            found.append(int(entry.parent.name))
    return found


def data_dirs(place: Path) -> list[Path]:
    return list(place.glob("tunnelctl-*"))


async def test_the_app_is_served_and_nothing_is_left(app: App, place: Path) -> None:
    serving = tunnelctl.forward(app.port, relay="embedded", authtoken="oidc", basic_auth=("ann:correct-horse",))
    async with serving as served:
        assert len(data_dirs(place)) == 1
        async with served.client() as client:
            assert (await client.get("/")).text == "ok"
    assert data_dirs(place) == []


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
async def test_it_ends_with_its_parent_however_that_ends(app: App, place: Path, number: signal.Signals) -> None:
    before = set(relays())
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVE, str(app.port), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert parent.stdout is not None
    async with asyncio.timeout(PATIENCE):
        assert (await parent.stdout.readline()).startswith(b"http://")
        (relay,) = set(relays()) - before
        os.kill(parent.pid, number)
        await parent.wait()
        while relay in relays():  # noqa: ASYNC110 (another process, whose end nothing tells)
            await asyncio.sleep(0.02)
    assert data_dirs(place) == []


async def test_a_relay_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "COMMAND", (*embedded.COMMAND, "--domain=not a name"))
    with pytest.raises(RelayUnreachable, match=r"did not start: .*domain"):
        async with embedded.embedded_relay():
            raise AssertionError("the block has begun")


async def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import tunnelrelay.__main__ as program; program.NEEDED = ('not_installed',); program.main()"
    monkeypatch.setattr(embedded, "COMMAND", ("-c", code))
    with pytest.raises(RelayUnreachable, match="missing: not_installed") as no:
        async with embedded.embedded_relay():
            raise AssertionError("the block has begun")
    assert "[server]" in no.value.hint


async def test_a_relay_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "COMMAND", ("-c", "import sys; sys.stdin.read()"))
    monkeypatch.setattr(embedded, "START_SECONDS", 0.05)
    with pytest.raises(RelayUnreachable, match="did not start in"):
        async with embedded.embedded_relay():
            raise AssertionError("the block has begun")
