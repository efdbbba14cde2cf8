"""The sockets between commands and running relays."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tunnelrelay.app.control_socket import FILE_NAME, MAX_CONNECTIONS, ControlError, ControlSocket, Done, Order, tell

# ruff: noqa: ASYNC240 (a test may wait for its own disk)


class Relay:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.revoked: list[str] = []
        self.looks = 0

    async def on_revoked(self, token_id: str) -> int:
        self.revoked.append(token_id)
        if token_id == "tok_bad":
            raise RuntimeError("cannot")
        return 2

    async def on_sessions_ended(self) -> int:
        self.looks += 1
        return 5

    def socket(self, data_dir: Path) -> ControlSocket:
        return ControlSocket(data_dir, self.on_revoked, self.on_sessions_ended)


def tell_revoked(path: Path, token_id: str, **how: float) -> int | None:
    """How many links ended, None without a relay."""
    done = tell(path.parent, Order(revoked=token_id), **how)
    return None if done is None else done.links


@pytest.fixture
def relay() -> Relay:
    return Relay()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control.sock"


@pytest.fixture
async def control(relay: Relay, path: Path) -> AsyncIterator[ControlSocket]:
    control = relay.socket(path.parent)
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
    control = relay.socket(path.parent)
    await control.start()
    assert await asyncio.to_thread(tell_revoked, path, "tok_2") == 2
    await control.stop()


@pytest.mark.usefixtures("control")
async def test_only_the_relays_user_may_connect(path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.usefixtures("control")
async def test_every_relay_on_a_directory_is_told_and_what_they_did_is_added_up(relay: Relay, path: Path) -> None:
    others = [Relay(), Relay()]
    sockets = [other.socket(path.parent) for other in others]
    for each in sockets:
        await each.start()
    assert len(list(path.parent.iterdir())) == 3
    assert await asyncio.to_thread(tell, path.parent, Order(revoked="tok_1")) == Done(links=6)
    assert await asyncio.to_thread(tell, path.parent, Order(sessions_ended=True)) == Done(sessions=15)
    assert [each.looks for each in (relay, *others)] == [1, 1, 1]
    for each in sockets:
        await each.stop()
    assert await asyncio.to_thread(tell_revoked, path, "tok_2") == 2
    assert [file.name for file in path.parent.iterdir()] == [FILE_NAME]


@pytest.mark.usefixtures("control")
async def test_a_relay_that_fails_keeps_no_other_from_being_told(path: Path) -> None:
    other = Relay()
    control = other.socket(path.parent)
    await control.start()
    with pytest.raises(ControlError):
        await asyncio.to_thread(tell_revoked, path, "tok_bad")
    assert other.revoked == ["tok_bad"]
    await control.stop()


async def test_sockets_that_dead_relays_left_behind_are_removed(relay: Relay, path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path.with_name("control-dead.sock")))
    control = relay.socket(path.parent)
    await control.start()
    assert [file.name for file in path.parent.iterdir()] == [FILE_NAME]
    await control.stop()


async def test_stopping_removes_the_socket_but_never_a_successors(relay: Relay, path: Path) -> None:
    first = relay.socket(path.parent)
    await first.start()
    path.rename(path.with_name("moved"))
    second = relay.socket(path.parent)
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
    control = relay.socket(path.parent)
    await control.start()
    assert await asyncio.to_thread(tell_revoked, path, "tok_1") == 2
    await control.stop()
    assert os.listdir(path.parent) == []
