"""A pipe that a process writes to, and that a test reads for as long as it likes."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Pipe:
    """See the module.

    Attributes:
        lines: What comes out of it.
        write_end: For the process, as its stdout or stderr.
    """

    def __init__(self, lines: asyncio.StreamReader, write_end: int, transport: asyncio.ReadTransport) -> None:
        self.lines = lines
        self.write_end = write_end
        self._transport = transport

    def close(self) -> None:
        """Read nothing more: the process that writes to it hears of that."""
        self._transport.close()


@asynccontextmanager
async def pipe() -> AsyncIterator[Pipe]:
    """A pipe, closed at both ends afterwards."""
    read_end, write_end = os.pipe()
    lines = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), os.fdopen(read_end, "rb", buffering=0)
    )
    try:
        yield Pipe(lines, write_end, transport)
    finally:
        transport.close()
        os.close(write_end)
