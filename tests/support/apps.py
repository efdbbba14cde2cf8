"""The sample upstream: an HTTP/1.1 server of bare asyncio streams, so that it can do what frameworks refuse to do.

It runs in a thread with a loop of its own (`running`), beside plain tests, async tests and worlds alike, and keeps
the head of every request it saw. What it answers is in `app_routes`; a test adds its own: `app.routes["/x"] = handler`.
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
    """What the upstream was sent.

    Attributes:
        raw: The head byte for byte.
        fields: Names lower-cased, in order.
        trailers: Filled once the body has been read.
    """

    method: str
    target: str
    raw: bytes
    fields: Fields
    trailers: Fields

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    def get(self, name: str, default: str = "") -> str:
        """The first value of a field."""
        return next((value for known, value in self.fields if known == name.lower()), default)

    def get_all(self, name: str) -> list[str]:
        """Every value of a field."""
        return [value for known, value in self.fields if known == name.lower()]


class Exchange:
    """One request being answered: read `blocks`, then `respond`, or write the pieces by hand."""

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
        """The request's body as it comes; asks for it first when the sender waits for `100 Continue`."""
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
        """The whole body."""
        return b"".join([block async for block in self.blocks()])

    async def respond(self, status: int, body: bytes | str = b"", fields: Fields | None = None) -> None:
        """Answers with a body of known length; reads what was left of the request first."""
        async for _ in self.blocks():
            pass
        data = body.encode() if isinstance(body, str) else body
        has_length = status not in {204, 304} and status >= 200
        await self.start(status, [*(fields or []), *([("Content-Length", str(len(data)))] if has_length else [])])
        if self.request.method != "HEAD" and has_length:
            await self.write(data)

    async def start(self, status: int, fields: Fields) -> None:
        """Writes a response head, framed by whatever `fields` say."""
        lines = [f"HTTP/1.1 {status} Status", *(f"{name}: {value}" for name, value in fields)]
        await self.write("\r\n".join([*lines, "", ""]).encode("latin-1"))

    async def write(self, data: bytes) -> None:
        """Writes raw bytes."""
        self.writer.write(data)
        await self.writer.drain()

    async def chunk(self, data: bytes) -> None:
        """Writes one chunk."""
        await self.write(b"%x\r\n%b\r\n" % (len(data), data))

    async def last_chunk(self, trailers: Fields | None = None) -> None:
        """Ends a chunked body."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in trailers or [])
        await self.write(b"0\r\n" + lines.encode("latin-1") + b"\r\n")

    def close(self) -> None:
        """The connection ends after this exchange."""
        self.keep_alive = False


Handler = Callable[[Exchange], Awaitable[None]]


class App:
    """The upstream.

    Attributes:
        port: Where it listens on 127.0.0.1.
        requests: Heads of all requests seen.
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
        """Requests for one path."""
        return [request for request in self.requests if request.path == path]

    async def gate(self, name: str) -> None:
        """Waits, in a handler, until the test says `open_gate(name)`."""
        await self._gates.setdefault(name, asyncio.Event()).wait()

    def open_gate(self, name: str) -> None:
        """Lets every handler that waits for `name` go on; callable from any thread."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(lambda: self._gates.setdefault(name, asyncio.Event()).set())

    def run(self, port: int = 0) -> None:
        """Serves until `stop`; the thread's body."""
        asyncio.run(self._serve(port))

    def wait_started(self) -> None:
        """Returns once `port` is known."""
        assert self._started.wait(PATIENCE), "the sample app did not start"

    def stop(self) -> None:
        """Ends `run`, cutting every connection; callable from any thread."""
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
        while others := asyncio.all_tasks() - {own}:  # conversations, and connections that are being accepted
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(others)
        server.close()
        for transport in self._transports:
            transport.abort()  # one whose visitor reads no more waits for ever to be closed
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
    """The app's own 404."""
    await exchange.respond(404, f"the app has no {exchange.request.path}\n")


def parse_request(raw: bytes) -> Request:
    """A request head into its parts, with no opinion on what is allowed."""
    lines = raw[:-4].decode("latin-1").split("\r\n")
    method, target, _version = lines[0].split(" ")
    return Request(method, target, raw, [split_field(line) for line in lines[1:]], [])


def split_field(line: str) -> tuple[str, str]:
    """`Name: value` with the name in lower case."""
    name, _, value = line.partition(":")
    return name.lower(), value.strip()


@contextmanager
def running(app: App, port: int = 0) -> Iterator[App]:
    """`app`, serving in a thread for as long as the context lasts."""
    thread = threading.Thread(target=app.run, args=(port,), name="sample-app", daemon=True)
    thread.start()
    app.wait_started()
    try:
        yield app
    finally:
        app.stop()
        thread.join(PATIENCE)
