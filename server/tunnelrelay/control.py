"""How a `token` command tells a running relay what it changed: a socket in the data directory, for its owner only.

One connection, one line of JSON each way: `{"revoked": "tok_…"}`, then `{"links": 2}`. The store is written first, so
nothing depends on the relay running.
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import msgspec

log = logging.getLogger(__name__)

FILE_NAME = "control.sock"
FILE_MODE = 0o600
"""Whoever can write here can end links: the relay's own user, and root."""
MAX_LINE = 4096
"""Requests are some 30 bytes."""
TIMEOUT_SECONDS = 5.0
"""For one whole request, on both sides."""
MAX_CONNECTIONS = 8
MAX_PATH = 100
"""A socket's path has at most 104 (macOS) to 108 bytes (Linux)."""

OnRevoked = Callable[[str], Awaitable[int | None]]
"""Ends the links of a token; says how many there were, if it knows."""


class ControlError(Exception):
    """The relay is there and did not do as asked, or the socket cannot be made."""


class Revoked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A token was revoked: links that came with it must end."""

    revoked: str


class Done(msgspec.Struct, frozen=True):
    """The relay has done it."""

    links: int


class ControlSocket:
    """The relay's side. One short task for each connection, at most `MAX_CONNECTIONS`."""

    def __init__(self, path: Path, on_revoked: OnRevoked) -> None:
        self._path = path
        self._on_revoked = on_revoked
        self._server: asyncio.Server | None = None
        self._inode = 0
        self._open = 0

    async def start(self) -> None:
        """Listens.

        Raises:
            ControlError: Another relay uses this data directory, or the socket cannot be made.
        """
        if _is_answered(self._path):
            raise ControlError(f"another relay is running with {self._path.parent}")
        try:
            listener = _bind(self._path)
        except OSError as problem:
            raise ControlError(f"{self._path} cannot be made: {problem}") from problem
        self._inode = self._path.stat().st_ino
        self._server = await asyncio.start_unix_server(self._serve, sock=listener, limit=MAX_LINE)

    async def stop(self) -> None:
        """Stops listening and removes the socket, unless another relay has put its own in its place."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        with contextlib.suppress(OSError):
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open <= MAX_CONNECTIONS:
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    request = msgspec.json.decode(await reader.readuntil(), type=Revoked)
                    ended = await self._on_revoked(request.revoked)
                    writer.write(msgspec.json.encode(Done(links=ended or 0)) + b"\n")
                    await writer.drain()
        except (TimeoutError, OSError, EOFError, asyncio.LimitOverrunError, msgspec.MsgspecError):
            return  # whoever asked sees the connection close without an answer
        except Exception:  # the boundary of one request: whatever ending links runs into, the next is served
            log.exception("control request failed")
        finally:
            self._open -= 1
            writer.close()


def tell_revoked(path: Path, token_id: str, timeout: float = TIMEOUT_SECONDS) -> int | None:
    """Tells the relay that a token was revoked.

    Returns:
        How many links it ended; None when no relay is running here.

    Raises:
        ControlError: A relay is there and did not answer: its links may live on.
    """
    try:
        with _connected(path, timeout) as connection:
            if connection is None:
                return None
            connection.sendall(msgspec.json.encode(Revoked(revoked=token_id)) + b"\n")
            with connection.makefile("rb") as lines:
                return msgspec.json.decode(lines.readline(MAX_LINE), type=Done).links
    except (OSError, msgspec.MsgspecError) as problem:
        raise ControlError(f"the relay behind {path} did not answer: {problem}") from problem


def _is_answered(path: Path) -> bool:
    """True when somebody listens there."""
    try:
        with _connected(path, TIMEOUT_SECONDS) as connection:
            return connection is not None
    except OSError:
        return False


@contextlib.contextmanager
def _connected(path: Path, timeout: float) -> Iterator[socket.socket | None]:
    """A connection, or None when nobody listens. Raises OSError for anything else."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection, _short(path) as short:
        connection.settimeout(timeout)
        try:
            connection.connect(short)
        except (FileNotFoundError, ConnectionRefusedError):
            yield None
        else:
            yield connection


def _bind(path: Path) -> socket.socket:
    """A listening socket at `path`, in place of a dead one's file. The umask makes its mode right from the start."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o777 & ~FILE_MODE)
    try:
        with _short(path) as short:
            listener.bind(short)
        listener.listen(MAX_CONNECTIONS)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(before)
    return listener


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """A spelling of `path` that fits into a socket address: through the open directory where `/proc` allows it."""
    if len(os.fsencode(path)) <= MAX_PATH:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
