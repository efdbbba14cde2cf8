"""A pipe for the output of a process, which the test can stop reading at any time."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Pipe:
    """A pipe for the output of a process, which the test can stop reading at any time.

    Attributes:
        lines: The read end of the pipe.
        write_end: The write end, a file descriptor for the process's stdout or stderr.
    """

    def __init__(self, lines: asyncio.StreamReader, write_end: int, transport: asyncio.ReadTransport) -> None:
        self.lines = lines
        self.write_end = write_end
        self._transport = transport

    def close(self) -> None:
        """Close the read end, which the writing process notices as a broken pipe."""
        self._transport.close()


@asynccontextmanager
async def pipe() -> AsyncIterator[Pipe]:
    """Context manager: a `Pipe` whose ends are closed afterwards."""
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
