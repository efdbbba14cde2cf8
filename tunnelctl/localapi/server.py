"""The HTTP server of the local API: a few connections of this machine, on the agent's own event loop.

Requests are read by `http1.request_reader`, as visitors' are: whole heads, one Host field, no doubt where a body ends.
Each connection is a task of the server and has one request at a time. Nothing about tunnels is here; see `api`.
"""

import asyncio
import secrets
import socket
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self, TypeVar, cast

from tunnelctl.eventlog import EventLog
from tunnelctl.http1.body import LAST_CHUNK
from tunnelctl.http1.errors import HttpError
from tunnelctl.http1.head import RequestHead
from tunnelctl.http1.request_reader import MAX_AHEAD, RequestReader
from tunnelctl.localapi.address import shown
from tunnelctl.localapi.message import ApiAnswer, ApiError, ApiRequest, ByteStream, Ends, encode_answer

MAX_CONNECTIONS = 100
"""At once. A wrapper holds one or two; the next one is closed unanswered."""
MAX_BODY = 256 * 1024
"""Bytes of a request's body: a definition is a page. 413 beyond."""
IDLE_SECONDS = 60.0
"""How long a connection may wait for its next request."""
REQUEST_SECONDS = 10.0
"""From a request's first byte to its last."""
ANSWER_SECONDS = 30.0
"""For a client to take an answer, and for what is done in between: adding a tunnel waits for the relay."""
LINGER_SECONDS = 1.0
"""How long bytes behind a refused request are thrown away, so that the refusal is read and not cut off by a reset."""

_STATUS = {
    "bad_request": 400,
    "method_not_allowed": 405,
    "body_too_large": 413,
    "target_too_long": 414,
    "expectation_failed": 417,
    "head_too_large": 431,
    "not_implemented": 501,
    "version_not_supported": 505,
}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

log = EventLog(__name__)

Answer = Callable[[ApiRequest], Awaitable[ApiAnswer]]
T = TypeVar("T")


class ApiWatcher:
    """The events of the local API, for the log. Each does nothing: a watcher overrides them."""

    def serving(self, address: str) -> None:
        """The API is served at this `host:port`."""

    def taken(self, address: str) -> None:
        """The default address is taken; another one is tried."""

    def began(self, id_: str, path: str) -> None:
        """A request came; `path` as sent, without the query."""

    def ended(self, id_: str, path: str, status: int, seconds: float) -> None:
        """It was answered, or its answer begins, where that is a stream. Status 0: its client went away first."""


class LocalServer:
    """Serves one listening socket while the context is open. Connections that are open then are closed.

    Args:
        answer: Called with each request. May raise ApiError.
        watcher: Told about requests.

    Attributes:
        address: `host:port` that is listened at.
    """

    def __init__(self, listener: socket.socket, answer: Answer, watcher: ApiWatcher) -> None:
        self._listener = listener
        self._answer = answer
        self._watcher = watcher
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.address = shown(*listener.getsockname()[:2])

    @property
    def open_connections(self) -> int:
        """How many there are now."""
        return len(self._connections)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, sock=self._listener, limit=MAX_AHEAD)
        self._watcher.serving(self.address)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        connections = tuple(self._connections)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.open_connections >= MAX_CONNECTIONS:
            cast(asyncio.Transport, writer.transport).abort()
            return
        task = asyncio.get_running_loop().create_task(_ApiConnection(self._serve, reader, writer).run())
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, request: ApiRequest) -> ApiAnswer:
        id_, began = secrets.token_hex(8), time.monotonic()
        status = 0
        self._watcher.began(id_, request.path)
        try:
            answer = await self._answer_or_refuse(request)
            status = answer.status
            return answer
        finally:
            self._watcher.ended(id_, request.path, status, time.monotonic() - began)

    async def _answer_or_refuse(self, request: ApiRequest) -> ApiAnswer:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._answer(request)
        except ApiError as error:
            return error.answer()
        except Exception as error:  # a fault of ours: the agent goes on, and the client is told
            log.exception("local API request failed", path=request.path)
            return ApiError(500, "internal error", {"err": type(error).__name__}, 107).answer()


class _ApiConnection:
    """One connection, from its first request to its last."""

    def __init__(self, serve: Answer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._serve = serve
        self._reader = reader
        self._writer = writer
        self._requests = RequestReader()
        self._transport = cast(asyncio.Transport, writer.transport)
        self._ends = _ends_of(writer)
        self._transport.set_write_buffer_limits(high=0)  # so that `drain` waits until everything is taken

    async def run(self) -> None:
        """Serve until the client leaves, or says something that is no request."""
        try:
            while (head := await self._next_head()) is not None:
                async with asyncio.timeout(REQUEST_SECONDS):
                    body = await self._body(head)
                if not await self._respond(head, body):
                    return
        except HttpError as error:
            await self._refuse(error)
        except (TimeoutError, OSError):
            pass  # a client that is slow, or gone
        finally:
            self._transport.abort()  # everything was taken, or never will be

    async def _next_head(self) -> RequestHead | None:
        """The next request's head, None when the client has left."""
        if not self._requests.kept:
            async with asyncio.timeout(IDLE_SECONDS):
                if not await self._more():
                    return None
        async with asyncio.timeout(REQUEST_SECONDS):
            while not self._requests.has_head():
                if not await self._more():
                    return None
        return self._requests.take_head()[0]

    async def _body(self, head: RequestHead) -> bytes:
        if not head.has_body:
            return b""
        if head.content_length is not None and head.content_length > MAX_BODY:
            raise HttpError("body_too_large", f"a body of {head.content_length} bytes, at most {MAX_BODY}")
        if head.expects_continue:
            await self._write(CONTINUE)
        body = bytearray()
        while True:
            waiting = len(self._requests.kept)
            for piece in self._requests.take_body():
                body += piece
            if len(body) > MAX_BODY:
                raise HttpError("body_too_large", f"a body of more than {MAX_BODY} bytes")
            if not self._requests.is_in_body:
                return bytes(body)
            if 0 < len(self._requests.kept) < waiting:
                await asyncio.sleep(0)  # one turn takes only so many chunks
            elif not await self._more():
                raise HttpError("bad_request", "the body ends early")

    async def _more(self) -> bool:
        data = await self._reader.read(MAX_AHEAD)
        self._requests.feed(data)
        return bool(data)

    async def _respond(self, head: RequestHead, body: bytes) -> bool:
        """Serve one request. False when the connection carries no other."""
        answer = await self._while_client_stays(self._serve(_request(head, body, self._ends)))
        if answer is None:
            return False
        has_body = head.method != b"HEAD"
        try:
            await self._write(encode_answer(answer, keeps=head.keep_alive, has_body=has_body))
            if answer.stream is None or not has_body:
                return head.keep_alive
            sending = self._write_stream(answer.stream, is_chunked=head.keep_alive)
            return bool(await self._while_client_stays(sending)) and head.keep_alive
        finally:
            if answer.stream is not None:
                await answer.stream.aclose()

    async def _while_client_stays(self, work: Awaitable[T]) -> T | None:
        """What is done for a client. One that leaves meanwhile has given up: the work is cancelled, and None."""
        serving = asyncio.ensure_future(work)
        listening = asyncio.ensure_future(self._reader.read(MAX_AHEAD))
        try:
            await asyncio.wait({serving, listening}, return_when=asyncio.FIRST_COMPLETED)
            if not serving.done() and listening.result():
                await asyncio.wait({serving})  # the next request is here already, so the client is too
            if not serving.done():
                return None
            if listening.done():
                self._requests.feed(listening.result())
            return serving.result()
        finally:
            for task in (serving, listening):
                task.cancel()
            await asyncio.gather(serving, listening, return_exceptions=True)

    async def _write_stream(self, stream: ByteStream, *, is_chunked: bool) -> bool:
        """Send a body while it is made. False when that failed: the client sees that the end is missing."""
        try:
            async for piece in stream:
                if piece:
                    await self._write(b"%x\r\n%b\r\n" % (len(piece), piece) if is_chunked else piece)
        except (TimeoutError, OSError):
            raise
        except Exception:  # a fault of ours: the agent goes on
            log.exception("local API stream failed")
            return False
        if is_chunked:
            await self._write(LAST_CHUNK)
        return True

    async def _write(self, data: bytes) -> None:
        self._writer.write(data)
        async with asyncio.timeout(ANSWER_SECONDS):
            await self._writer.drain()

    async def _refuse(self, error: HttpError) -> None:
        status = _STATUS.get(error.code, 400)
        answer = ApiError(status, "request not understood", {"err": error.detail}).answer()
        try:
            await self._write(encode_answer(answer, keeps=False, has_body=True))
            self._writer.write_eof()
            async with asyncio.timeout(LINGER_SECONDS):
                while await self._reader.read(MAX_AHEAD):
                    pass
        except (TimeoutError, OSError):
            pass


def _ends_of(writer: asyncio.StreamWriter) -> Ends | None:
    """The ends of a connection, None when it was cut off already."""
    peer, local = writer.get_extra_info("peername"), writer.get_extra_info("sockname")
    return Ends(peer[:2], local[:2]) if peer and local else None


def _request(head: RequestHead, body: bytes, ends: Ends | None) -> ApiRequest:
    fields: dict[str, str] = {}
    for name, value in head.fields:
        fields.setdefault(name.lower().decode("latin-1"), value.decode("latin-1"))
    path, _, query = head.target.decode("ascii").partition("?")
    return ApiRequest(
        method=head.method.decode("ascii"),
        path=path,
        query=query,
        host=head.host.decode("latin-1"),
        fields=fields,
        body=body,
        ends=ends,
    )
