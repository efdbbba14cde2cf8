"""A small HTTP proxy that supports only CONNECT, such as may be between an agent and its relay."""

import asyncio
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class HttpProxy:
    """An HTTP proxy for CONNECT, whose behaviour a test can change.

    Attributes:
        port: The port on 127.0.0.1 on which the proxy listens.
        asked: Targets of the CONNECT requests, in order.
        heads: Heads of the requests, in order.
        password: The `user:password` that the proxy requires; "" for none.
        answer: The response to send instead of connecting; None to connect, b"" to send nothing and stay open.
        target: Where the proxy connects for every request; None for the target of the request.
    """

    def __init__(self, *, password: str = "", answer: bytes | None = None) -> None:
        self.port = 0
        self.asked: list[str] = []
        self.heads: list[bytes] = []
        self.password = password
        self.answer = answer
        self.target: tuple[str, int] | None = None
        self.tasks: set[asyncio.Task[None] | None] = set()

    def url(self, scheme: str = "http", credentials: str = "") -> str:
        """Return the proxy's URL, with credentials if given."""
        return f"{scheme}://{credentials}{'@' if credentials else ''}127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tasks.add(asyncio.current_task())
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head)
            target = head.split(b" ")[1].decode()
            self.asked.append(target)
            basic = b"Proxy-Authorization: Basic " + b64encode(self.password.encode())
            if self.password and basic not in head.split(b"\r\n"):
                writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n")
            elif self.answer is not None:
                writer.write(self.answer)
                if not self.answer:
                    await reader.read()
            else:
                await self._carry(target, reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _carry(self, target: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = target.rpartition(":")
        far_reader, far_writer = await asyncio.open_connection(*(self.target or (host.strip("[]"), int(port))))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        async with asyncio.TaskGroup() as group:
            group.create_task(_pump(reader, far_writer))
            group.create_task(_pump(far_reader, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


@asynccontextmanager
async def http_proxy(tls: ssl.SSLContext | None = None, **settings: object) -> AsyncIterator[HttpProxy]:
    """Context manager: a running proxy, which clients reach over TLS when a context is given."""
    proxy = HttpProxy(**settings)  # type: ignore[arg-type]  # settings of any kind
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, ssl=tls)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        tasks = [task for task in proxy.tasks if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
