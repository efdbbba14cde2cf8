"""A relay of a run's own, for where there is none: a process beside this one, on loopback, with temporary data.

It is the real relay, `tunnelrelay serve`, and needs the packages of the extra `tunnelctl[server]`. It ends with this
process, however that ends (`until_stdin_closes`).
"""

import asyncio
import contextlib
import json
import os
import sys
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tunnelctl.forwarding.errors import RelayUnreachable

EMBEDDED = "embedded"
"""Stands for a relay of the run's own where the URL of a relay is expected."""
START_SECONDS = 30.0
"""Maximum seconds until the relay listens. It usually takes less than one."""
STOP_SECONDS = 5.0
"""Seconds in which a stopped relay must end before it is killed."""
MAX_LINES = 20
"""Lines of the relay's output that are kept to say why it did not start."""
COMMAND = (
    "-m", "tunnelctl.forwarding.until_stdin_closes", "tunnelrelay", "serve", "--http=127.0.0.1:0", "--admin=off",
    "--data-dir={dir}", "--drain-seconds=0", "--log-format=json",
)  # fmt: skip
READY = "relay ready"
"""Message of the relay's log record that says where it listens."""


@asynccontextmanager
async def at_a_relay(relay: str) -> AsyncIterator[str]:
    """Return the relay's URL; that of a new relay, which runs while the block runs, for `embedded`."""
    if relay != EMBEDDED:
        yield relay
        return
    async with embedded_relay() as url:
        yield url


@asynccontextmanager
async def embedded_relay() -> AsyncIterator[str]:
    """Run a relay while the block runs, and return its URL.

    Raises:
        RelayUnreachable: It did not start; the message is the relay's own.
    """
    environ = {name: text for name, text in os.environ.items() if not name.startswith(("TUNNELRELAY_", "TUNNELCTL_"))}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *COMMAND,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environ,
        start_new_session=True,  # Ctrl-C is for the run, which stops the relay last
    )
    assert process.stdout is not None
    reading: asyncio.Task[None] | None = None
    try:
        try:
            async with asyncio.timeout(START_SECONDS):
                url = await _url(process.stdout)
        except TimeoutError:
            raise RelayUnreachable(f"the embedded relay did not start in {START_SECONDS:g} s") from None
        reading = asyncio.create_task(_discard(process.stdout))
        yield url
    finally:
        await _stop(process)
        if reading is not None:
            await reading


async def _url(output: asyncio.StreamReader) -> str:
    """Read the relay's output until it says its URL."""
    lines: deque[str] = deque(maxlen=MAX_LINES)
    async for line in output:
        text = line.decode(errors="replace").strip()
        with contextlib.suppress(ValueError):
            record = json.loads(text)
            if isinstance(record, dict) and record.get("msg") == READY:
                return str(record["relay"])
        lines.append(text)
    said = {label: text for label, _, text in (line.partition(": ") for line in lines)}
    why = said.get("error", "it said nothing")
    raise RelayUnreachable(f"the embedded relay did not start: {why}", said.get("hint", ""))


async def _discard(output: asyncio.StreamReader) -> None:
    """Read the rest of the output, so that the relay does not wait for a reader."""
    while await output.read(64 * 1024):
        pass


async def _stop(process: asyncio.subprocess.Process) -> None:
    """Close the relay's standard input, by which it ends; kill it if it does not."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
