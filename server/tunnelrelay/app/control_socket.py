"""The Unix socket over which `tunnelrelay` commands tell running relays what they have changed in the store.

It is in the data directory, with mode 0600. Each connection carries one line of JSON each way: `{"revoked": "tok_…"}`,
then `{"links": 2}`. Relays also poll the store every other second: the socket only makes a change apply sooner. Relays
that share a data directory have a socket each.
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
"""Names of the sockets of further relays in the same data directory, where `FILE_NAME` was taken."""
FILE_MODE = 0o600
"""Mode of the socket's file. A process that can write to the socket can end agents' links, so only the relay's user and
root may."""
MAX_LINE = 4096
"""Bytes of a line on the socket; a real one has about 30."""
TIMEOUT_SECONDS = 5.0
"""Seconds for one whole request, at the command and at the relay."""
UNTOLD_HINT = "a relay that runs hears of it by itself within 5 seconds; one that hangs must be restarted"
MAX_CONNECTIONS = 8
MAX_PATH = 100
"""Bytes of the path of a socket. Systems allow at most 104 (macOS) to 108 (Linux)."""

OnRevoked = Callable[[str], Awaitable[int | None]]
"""Callback that ends the links of the token with this id. Returns how many there were; None when it does not know."""
OnSessionsEnded = Callable[[], Awaitable[int]]
"""Callback that reads from the store which sessions were ended. Returns how many of them were still open here."""
OnRestored = Callable[[], Awaitable[None]]
"""Callback that reads the keys and the store again, after a backup has replaced them."""


class ControlError(Exception):
    """Raised when a running relay did not carry out an order, or when the control socket cannot be created.

    Attributes:
        hint: What the operator can do about the error.
    """

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A command's message to a relay: what the command has changed in the store.

    Attributes:
        revoked: Id of a revoked token, whose links must end; "" for none.
        sessions_ended: Whether visitors' sessions were ended.
        restored: Whether a backup has replaced the store and the key files.
        asks: Whether the command only asks for the dashboard's URL and has changed nothing.
    """

    revoked: str = ""
    sessions_ended: bool = False
    restored: bool = False
    asks: bool = False


class Done(msgspec.Struct, frozen=True):
    """A relay's reply to an `Order`.

    Attributes:
        links: How many links the relay closed.
        sessions: How many ended sessions the relay learned of by this order.
        dashboard: The dashboard's URL, when the command asks for it.
        owner: The owner of everything that an administrator of this relay creates.
    """

    links: int = 0
    sessions: int = 0
    dashboard: str = ""
    owner: str = ""


class ControlSocket:
    """The relay's end of the control socket. It serves each connection in a task, at most `MAX_CONNECTIONS` at once.

    Args:
        about: The reply to commands that ask for the dashboard's URL.
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
        """Listen on the socket, under another file name when another relay uses this data directory.

        Raises:
            ControlError: The socket cannot be created.
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
        """Stop listening and delete the socket's file, unless another relay has replaced it by its own."""
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
            return  # the command sees the connection close without a reply
        except Exception:  # the boundary of one request: an error here must not stop the server
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
        The sum of the relays' replies; None when no relay runs on this machine.

    Raises:
        ControlError: A relay did not answer. The order was sent to all others.
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
    """Whether a process listens at this Unix socket."""
    try:
        with _connected(path, TIMEOUT_SECONDS) as connection:
            return connection is not None
    except OSError:
        return False


@contextlib.contextmanager
def _connected(path: Path, timeout: float) -> Iterator[socket.socket | None]:
    """Context manager: a connection to a Unix socket, or None when no process listens there. Raises OSError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection, _short(path) as short:
        connection.settimeout(timeout)
        try:
            connection.connect(short)
        except (FileNotFoundError, ConnectionRefusedError):
            yield None
        else:
            yield connection


def _bind(path: Path) -> socket.socket:
    """Return a Unix socket that listens at `path`, after deleting a former socket's file there.

    A umask sets the file's mode at its creation, so that it is never open to other users.
    """
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
    """Context manager: a text for `path` that fits into a socket's address.

    A path that is too long becomes `/proc/self/fd/N/NAME`, relative to its directory, which is opened for that.
    """
    if len(os.fsencode(path)) <= MAX_PATH:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
