"""The Unix socket over which commands tell running relays what they changed. In the data directory, mode 0600.

One connection, one line of JSON each way: `{"revoked": "tok_…"}`, then `{"links": 2}`. Commands write the store first,
and relays poll it every other second: the socket only makes a change apply sooner. Relays that share
a data directory have a socket each.
"""

import asyncio
import contextlib
import os
import secrets
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import msgspec

from tunnelctl.eventlog import EventLog

log = EventLog(__name__)

FILE_NAME = "control.sock"
OTHER_FILES = "control-*.sock"
"""Of relays that found the first name taken."""
FILE_MODE = 0o600
"""A process that can write here can end links: the relay's own user, and root."""
MAX_LINE = 4096
"""Requests are some 30 bytes."""
TIMEOUT_SECONDS = 5.0
"""For one whole request, on both sides."""
UNTOLD_HINT = "a relay that runs hears of it by itself within 5 seconds; one that hangs must be restarted"
MAX_CONNECTIONS = 8
MAX_PATH = 100
"""A socket's path has at most 104 (macOS) to 108 bytes (Linux)."""

OnRevoked = Callable[[str], Awaitable[int | None]]
"""Ends the links of a token; says how many there were, if it knows."""
OnSessionsEnded = Callable[[], Awaitable[int]]
"""Looks into the store for sessions that were ended there; says how many were news."""
OnRestored = Callable[[], Awaitable[None]]
"""Goes by what keys and store say now, whatever they said before."""


class ControlError(Exception):
    """A running relay did not carry out the order, or the socket cannot be made.

    Attributes:
        hint: What to do about it.
    """

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A command's message: what it changed in the store.

    Attributes:
        revoked: Id of a token: links that came with it must end.
        sessions_ended: Visitors' sessions were ended.
        restored: Store and key files were replaced by a backup.
        asks: Nothing was changed; the command only asks for the dashboard's address.
    """

    revoked: str = ""
    sessions_ended: bool = False
    restored: bool = False
    asks: bool = False


class Done(msgspec.Struct, frozen=True):
    """The relay's reply to an `Order`.

    Attributes:
        links: How many it closed.
        sessions: How many ended sessions it learned of by this order.
        dashboard: Its address, for commands that ask.
        owner: The owner of what an administrator of this relay sets up.
    """

    links: int = 0
    sessions: int = 0
    dashboard: str = ""
    owner: str = ""


class ControlSocket:
    """The relay's side. One short task for each connection, at most `MAX_CONNECTIONS`.

    Args:
        about: The answer to commands that ask.
    """

    def __init__(
        self,
        data_dir: Path,
        on_revoked: OnRevoked,
        on_sessions_ended: OnSessionsEnded,
        about: Done | None = None,
        on_restored: OnRestored | None = None,
    ) -> None:
        self._about = about or Done()
        self._data_dir = data_dir
        self._path = data_dir / FILE_NAME
        self._on_revoked = on_revoked
        self._on_sessions_ended = on_sessions_ended
        self._on_restored = on_restored
        self._server: asyncio.Server | None = None
        self._inode = 0
        self._open = 0

    async def start(self) -> None:
        """Listens, under a name of its own when another relay uses this data directory.

        Raises:
            ControlError: The socket cannot be made.
        """
        for dead in (path for path in self._data_dir.glob(OTHER_FILES) if not _is_answered(path)):
            dead.unlink(missing_ok=True)
        if _is_answered(self._path):
            self._path = self._data_dir / OTHER_FILES.replace("*", secrets.token_hex(4))
        try:
            listener = _bind(self._path)
        except OSError as problem:
            why = (problem.strerror or str(problem)).lower()
            raise ControlError(
                f"the control socket {self._path} cannot be made: {why}", "let the relay's user write there"
            ) from problem
        self._inode = self._path.stat().st_ino
        self._server = await asyncio.start_unix_server(self._serve, sock=listener, limit=MAX_LINE)

    async def stop(self) -> None:
        """Stop listening and remove the socket, unless another relay has replaced it by its own."""
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
                    order = msgspec.json.decode(await reader.readuntil(), type=Order)
                    writer.write(msgspec.json.encode(await self._done(order)) + b"\n")
                    await writer.drain()
        except (TimeoutError, OSError, EOFError, asyncio.LimitOverrunError, msgspec.MsgspecError):
            return  # the command sees the connection close without an answer
        except Exception:  # the boundary of one request: after any error the next request is served
            log.exception("control request failed")
        finally:
            self._open -= 1
            writer.close()

    async def _done(self, order: Order) -> Done:
        if order.asks:
            return self._about
        if order.restored and self._on_restored is not None:
            await self._on_restored()
        links = await self._on_revoked(order.revoked) if order.revoked else 0
        return Done(links=links or 0, sessions=await self._on_sessions_ended() if order.sessions_ended else 0)


def tell(data_dir: Path, order: Order, timeout: float = TIMEOUT_SECONDS) -> Done | None:
    """Send an order to every relay that uses this data directory.

    Returns:
        The sum of their replies; None when no relay runs here.

    Raises:
        ControlError: A relay did not answer. The order was sent to the others.
    """
    done: list[Done] = []
    problems: list[ControlError] = []
    for path in (data_dir / FILE_NAME, *sorted(data_dir.glob(OTHER_FILES))):
        try:
            answer = _send_to(path, order, timeout)
        except ControlError as problem:
            problems.append(problem)
        else:
            done += [answer] if answer is not None else []
    if problems:
        raise problems[0]
    if not done:
        return None
    links, sessions = sum(each.links for each in done), sum(each.sessions for each in done)
    return msgspec.structs.replace(done[0], links=links, sessions=sessions)


def _send_to(path: Path, order: Order, timeout: float) -> Done | None:
    try:
        with _connected(path, timeout) as connection:
            if connection is None:
                return None
            connection.sendall(msgspec.json.encode(order) + b"\n")
            with connection.makefile("rb") as lines:
                return msgspec.json.decode(lines.readline(MAX_LINE), type=Done)
    except (OSError, msgspec.MsgspecError) as problem:
        why = (problem.strerror or str(problem)).lower() if isinstance(problem, OSError) else "not understood"
        raise ControlError(f"the relay behind {path} did not answer: {why}", UNTOLD_HINT) from problem


def _is_answered(path: Path) -> bool:
    """Whether a process listens at the socket."""
    try:
        with _connected(path, TIMEOUT_SECONDS) as connection:
            return connection is not None
    except OSError:
        return False


@contextlib.contextmanager
def _connected(path: Path, timeout: float) -> Iterator[socket.socket | None]:
    """A connection, or None when no process listens. Raises OSError for anything else."""
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
