"""The sample upstream: an HTTP/1.1 server on asyncio streams, which can also send what frameworks refuse to send.

It runs in a thread with an event loop of its own (`running`), so that plain tests, async tests and worlds can use it,
and keeps the head of every request. `app_routes` has its routes; a test adds its own: `app.routes["/x"] = handler`.
"""

import asyncio
import threading
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from tests.support.ports import stop_listening
from tests.support.waiting import PATIENCE

MAX_HEAD_BYTES = 256 * 1024

Fields = list[tuple[str, str]]


@dataclass(slots=True)
class Request:
    """A request that the upstream has received.

    Attributes:
        raw: The head, byte for byte.
        fields: The header fields in order, with names in lower case.
        trailers: The trailer fields; empty before the body has been read.
    """

    method: str
    target: str
    raw: bytes
    fields: Fields
    trailers: Fields

    @property
    def path(self) -> str:
        """The request's target without its query."""
        return self.target.partition("?")[0]

    def get(self, name: str, default: str = "") -> str:
        """Return the first value of a header field, or the default."""
        return next((value for known, value in self.fields if known == name.lower()), default)

    def get_all(self, name: str) -> list[str]:
        """Return all values of a header field."""
        return [value for known, value in self.fields if known == name.lower()]


class Exchange:
    """A request that a handler answers: by `respond`, or by writing the parts of a response itself."""

    def __init__(
        self, app: "App", request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.app = app
        self.request = request
        self.reader = reader
        self.writer = writer
        self.keep_alive = request.get("connection").lower() != "close"
        self._is_read = False

    async def blocks(self) -> AsyncIterator[bytes]:
        """Yield the request's body as it arrives; sends `100 Continue` first when the client waits for it."""
        if self._is_read:
            return
        self._is_read = True
        if self.request.get("expect").lower() == "100-continue":
            await self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self.request.get("transfer-encoding"):
            async for block in self._chunks():
                yield block
            return
        left = int(self.request.get("content-length", "0"))
        while left:
            block = await self.reader.read(min(left, 65536))
            if not block:
                raise ConnectionResetError("the body ended early")
            left -= len(block)
            yield block

    async def _chunks(self) -> AsyncIterator[bytes]:
        while size := int((await self._line()).split(b";")[0], 16):
            yield (await self.reader.readexactly(size + 2))[:-2]
        while line := await self._line():
            self.request.trailers.append(split_field(line.decode("latin-1")))

    async def _line(self) -> bytes:
        return (await self.reader.readuntil(b"\r\n"))[:-2]

    async def body(self) -> bytes:
        """Read and return the whole body of the request."""
        return b"".join([block async for block in self.blocks()])

    async def respond(self, status: int, body: bytes | str = b"", fields: Fields | None = None) -> None:
        """Read the rest of the request, and send a response with a body of known length."""
        async for _ in self.blocks():
            pass
        data = body.encode() if isinstance(body, str) else body
        has_length = status not in {204, 304} and status >= 200
        await self.start(status, [*(fields or []), *([("Content-Length", str(len(data)))] if has_length else [])])
        if self.request.method != "HEAD" and has_length:
            await self.write(data)

    async def start(self, status: int, fields: Fields) -> None:
        """Write a response head with these fields, which frame the body."""
        lines = [f"HTTP/1.1 {status} Status", *(f"{name}: {value}" for name, value in fields)]
        await self.write("\r\n".join([*lines, "", ""]).encode("latin-1"))

    async def write(self, data: bytes) -> None:
        """Write raw bytes to the connection."""
        self.writer.write(data)
        await self.writer.drain()

    async def chunk(self, data: bytes) -> None:
        """Write one chunk of a chunked body."""
        await self.write(b"%x\r\n%b\r\n" % (len(data), data))

    async def last_chunk(self, trailers: Fields | None = None) -> None:
        """Write the last chunk of a chunked body, with trailer fields."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in trailers or [])
        await self.write(b"0\r\n" + lines.encode("latin-1") + b"\r\n")

    def close(self) -> None:
        """Close the connection after this exchange."""
        self.keep_alive = False


Handler = Callable[[Exchange], Awaitable[None]]


class App:
    """The sample upstream, an HTTP server with handlers by path.

    Attributes:
        port: The port on 127.0.0.1 on which the app listens.
        requests: All requests that the app has received.
        routes: Handlers by path; the longest prefix that ends in `/` matches when the whole path does not.
        connections: Connections accepted so far.
    """

    def __init__(self, routes: dict[str, Handler]) -> None:
        self.port = 0
        self.requests: list[Request] = []
        self.routes = dict(routes)
        self.connections = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped: asyncio.Event | None = None
        self._gates: dict[str, asyncio.Event] = {}
        self._started = threading.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._transports: weakref.WeakSet[asyncio.WriteTransport] = weakref.WeakSet()

    def seen(self, path: str) -> list[Request]:
        """Return the requests that the app has received for one path."""
        return [request for request in self.requests if request.path == path]

    async def gate(self, name: str) -> None:
        """Wait, in a handler, until the test calls `open_gate(name)`."""
        await self._gates.setdefault(name, asyncio.Event()).wait()

    def open_gate(self, name: str) -> None:
        """Let all handlers that wait for the gate `name` go on. Can be called from any thread."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(lambda: self._gates.setdefault(name, asyncio.Event()).set())

    def run(self, port: int = 0) -> None:
        """Serve until `stop` is called; runs in the app's thread."""
        asyncio.run(self._serve(port))

    def wait_started(self) -> None:
        """Wait until the app listens and `port` is set."""
        assert self._started.wait(PATIENCE), "the sample app did not start"

    def stop(self) -> None:
        """End `run` and cut all connections. Can be called from any thread."""
        assert self._loop is not None
        assert self._stopped is not None
        self._loop.call_soon_threadsafe(self._stopped.set)

    async def _serve(self, port: int) -> None:
        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._connected, "127.0.0.1", port, limit=MAX_HEAD_BYTES, backlog=2048)
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stopped.wait()
        stop_listening(server)
        own = asyncio.current_task()
        while others := asyncio.all_tasks() - {own}:  # tasks of open connections, and of those being accepted
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(others)
        server.close()
        for transport in self._transports:
            transport.abort()  # closing would wait for ever for a visitor that does not read
        await asyncio.sleep(0)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._transports.add(writer.transport)
        task = asyncio.ensure_future(self._converse(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                while await self._exchange(reader, writer):
                    pass
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        request = parse_request(await reader.readuntil(b"\r\n\r\n"))
        self.requests.append(request)
        exchange = Exchange(self, request, reader, writer)
        await self._route(request.path)(exchange)
        async for _ in exchange.blocks():
            pass
        return exchange.keep_alive

    def _route(self, path: str) -> Handler:
        prefixes = (path[: end + 1] for end in range(len(path) - 1, 0, -1) if path[end] == "/")
        found = next((self.routes[prefix] for prefix in [path, *prefixes] if prefix in self.routes), None)
        return found if found is not None else not_found


async def not_found(exchange: Exchange) -> None:
    """Answer with the app's own 404 page."""
    await exchange.respond(404, f"the app has no {exchange.request.path}\n")


def parse_request(raw: bytes) -> Request:
    """Split a request head into its parts, without checking whether they are valid."""
    lines = raw[:-4].decode("latin-1").split("\r\n")
    method, target, _version = lines[0].split(" ")
    return Request(method, target, raw, [split_field(line) for line in lines[1:]], [])


def split_field(line: str) -> tuple[str, str]:
    """Split `Name: value`, and convert the name to lower case."""
    name, _, value = line.partition(":")
    return name.lower(), value.strip()


@contextmanager
def running(app: App, port: int = 0) -> Iterator[App]:
    """Context manager: serves `app` in a thread."""
    thread = threading.Thread(target=app.run, args=(port,), name="sample-app", daemon=True)
    thread.start()
    app.wait_started()
    try:
        yield app
    finally:
        app.stop()
        thread.join(PATIENCE)
