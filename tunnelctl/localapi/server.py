"""The HTTP server of the local API: a few connections from this machine, on the agent's own event loop.

`http1.request_reader` parses requests as strictly as those of visitors: only whole heads, one Host field, and an
unambiguous end of the body. Each connection is a task of the server and handles one request at a time. The server knows
nothing about tunnels; see `api`.
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
"""Maximum concurrent connections. A wrapper has one or two; a further one is closed without a response."""
MAX_BODY = 256 * 1024
"""Maximum bytes of a request's body, as a definition has about a page. A larger one gets a 413."""
IDLE_SECONDS = 60.0
"""Maximum seconds that a connection waits for its next request."""
REQUEST_SECONDS = 10.0
"""Maximum seconds from a request's first byte to its last."""
ANSWER_SECONDS = 30.0
"""Maximum seconds for a client to read a response, and for the work before it: adding a tunnel waits for the relay."""
LINGER_SECONDS = 1.0
"""Seconds for which bytes after a refused request are discarded, so that a reset does not cut off the refusal."""

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
    """The events of the local API, for the log. By default each does nothing; subclasses override some."""

    def serving(self, address: str) -> None:
        """The API is available at this `host:port`."""

    def taken(self, address: str) -> None:
        """The default address is taken, and another one is tried."""

    def began(self, id_: str, path: str) -> None:
        """A request arrived; `path` is as sent, without the query."""

    def ended(self, id_: str, path: str, status: int, seconds: float) -> None:
        """A request was answered; if the response is a stream, it begins. Status 0: the client went away before."""


class LocalServer:
    """Serves one listening socket while the context is open; leaving it closes all connections.

    Args:
        answer: Called with each request. May raise ApiError.
        watcher: Gets the events of requests.

    Attributes:
        address: Address of the socket as `host:port`.
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
        """Number of open connections."""
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
        except Exception as error:  # our own bug: the agent continues, and the client gets an error
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
        self._transport.set_write_buffer_limits(high=0)  # makes `drain` wait until everything is sent

    async def run(self) -> None:
        """Serve requests until the client disconnects or sends something invalid."""
        try:
            while (head := await self._next_head()) is not None:
                async with asyncio.timeout(REQUEST_SECONDS):
                    body = await self._body(head)
                if not await self._respond(head, body):
                    return
        except HttpError as error:
            await self._refuse(error)
        except (TimeoutError, OSError):
            pass  # a slow client, or one that has gone
        finally:
            self._transport.abort()  # everything has been sent, or never will be

    async def _next_head(self) -> RequestHead | None:
        """Return the next request's head; None when the client has disconnected."""
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
                await asyncio.sleep(0)  # one turn of the loop decodes only some chunks
            elif not await self._more():
                raise HttpError("bad_request", "the body ends early")

    async def _more(self) -> bool:
        data = await self._reader.read(MAX_AHEAD)
        self._requests.feed(data)
        return bool(data)

    async def _respond(self, head: RequestHead, body: bytes) -> bool:
        """Handle one request. Return False when the connection carries no further request."""
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
        """Run the work for a client and return its result.

        If the client disconnects meanwhile, cancel the work and return None.
        """
        serving = asyncio.ensure_future(work)
        listening = asyncio.ensure_future(self._reader.read(MAX_AHEAD))
        try:
            await asyncio.wait({serving, listening}, return_when=asyncio.FIRST_COMPLETED)
            if not serving.done() and listening.result():
                await asyncio.wait({serving})  # the next request has arrived, so the client is still there
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
        """Send a body while it is generated. Return False on failure: the client notices that the end is missing."""
        try:
            async for piece in stream:
                if piece:
                    await self._write(b"%x\r\n%b\r\n" % (len(piece), piece) if is_chunked else piece)
        except (TimeoutError, OSError):
            raise
        except Exception:  # our own bug: the agent continues
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
    """Return the ends of a connection; None when it is already disconnected."""
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
