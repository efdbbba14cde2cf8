"""The socket between a `token` command and a running relay."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tunnelrelay.control import MAX_CONNECTIONS, ControlError, ControlSocket, tell_revoked

# ruff: noqa: ASYNC240 (a test may wait for its own disk)


class Relay:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.revoked: list[str] = []

    async def on_revoked(self, token_id: str) -> int:
        self.revoked.append(token_id)
        if token_id == "tok_bad":
            raise RuntimeError("cannot")
        return 2


@pytest.fixture
def relay() -> Relay:
    return Relay()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control.sock"


@pytest.fixture
async def control(relay: Relay, path: Path) -> AsyncIterator[ControlSocket]:
    control = ControlSocket(path, relay.on_revoked)
    await control.start()
    yield control
    await control.stop()


@pytest.mark.usefixtures("control")
async def test_the_relay_is_told_and_says_how_many_links_ended(relay: Relay, path: Path) -> None:
    assert await asyncio.to_thread(tell_revoked, path, "tok_1") == 2
    assert relay.revoked == ["tok_1"]


async def test_without_a_relay_nobody_is_told_and_nothing_fails(path: Path) -> None:
    assert tell_revoked(path, "tok_1") is None


async def test_a_dead_relays_socket_counts_as_no_relay_and_is_replaced(relay: Relay, path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert tell_revoked(path, "tok_1") is None
    control = ControlSocket(path, relay.on_revoked)
    await control.start()
    assert await asyncio.to_thread(tell_revoked, path, "tok_2") == 2
    await control.stop()


@pytest.mark.usefixtures("control")
async def test_only_the_relays_user_may_connect(path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.usefixtures("control")
async def test_a_second_relay_on_the_same_directory_is_refused(relay: Relay, path: Path) -> None:
    with pytest.raises(ControlError, match="another relay is running"):
        await ControlSocket(path, relay.on_revoked).start()


async def test_stopping_removes_the_socket_but_never_a_successors(relay: Relay, path: Path) -> None:
    first = ControlSocket(path, relay.on_revoked)
    await first.start()
    path.rename(path.with_name("moved"))
    second = ControlSocket(path, relay.on_revoked)
    await second.start()
    await first.stop()
    assert path.exists()
    await second.stop()
    assert not path.exists()


@pytest.mark.usefixtures("control")
async def test_a_relay_that_fails_is_an_error_and_serves_the_next(path: Path) -> None:
    with pytest.raises(ControlError, match="did not answer"):
        await asyncio.to_thread(tell_revoked, path, "tok_bad")
    assert await asyncio.to_thread(tell_revoked, path, "tok_1") == 2


async def test_a_relay_that_hangs_is_an_error_within_the_time_limit(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stuck:
        stuck.bind(str(path))
        stuck.listen(1)
        with pytest.raises(ControlError, match="did not answer"):
            tell_revoked(path, "tok_1", timeout=0.01)


@pytest.mark.usefixtures("control")
@pytest.mark.parametrize("sent", [b"", b"hello\n", b'{"revoked": 1}\n', b'{"stop": true}\n', b"x" * 100_000, b"\xff\n"])
async def test_garbage_gets_no_answer_and_does_no_harm(relay: Relay, path: Path, sent: bytes) -> None:
    reader, writer = await asyncio.open_unix_connection(str(path))
    try:
        writer.write(sent)
        writer.write_eof()
        assert await reader.read() == b""
    except OSError:
        pass  # closed with bytes unread
    writer.close()
    assert relay.revoked == []
    assert await asyncio.to_thread(tell_revoked, path, "tok_1") == 2


@pytest.mark.usefixtures("control")
async def test_more_connections_than_allowed_are_closed(path: Path) -> None:
    pairs = [await asyncio.open_unix_connection(str(path)) for _ in range(MAX_CONNECTIONS)]
    for _, writer in pairs:
        writer.write(b"{")
    with pytest.raises(ControlError):
        await asyncio.to_thread(tell_revoked, path, "tok_1")
    for _, writer in pairs:
        writer.close()


async def test_a_long_directory_name_is_no_obstacle(relay: Relay, tmp_path: Path) -> None:
    path = tmp_path / ("d" * 120) / "control.sock"
    path.parent.mkdir()
    control = ControlSocket(path, relay.on_revoked)
    await control.start()
    assert await asyncio.to_thread(tell_revoked, path, "tok_1") == 2
    await control.stop()
    assert os.listdir(path.parent) == []
