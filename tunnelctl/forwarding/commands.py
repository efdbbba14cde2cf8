"""The commands of a run: the app that `--up` starts, and COMMAND itself, each in a process group of its own."""

import asyncio
import contextlib
import os
import signal
import sys
from collections import deque
from collections.abc import Mapping, Sequence

from tunnelctl.forwarding.guard import GRACE_SECONDS, Worker

MAX_LINES = 5
"""Last lines of the app's output that an error shows."""

OUTPUT_SECONDS = 0.5
"""Maximum seconds for output that is still in the pipe when the app has ended. Its own children may keep it open."""


class RunningCommand:
    """A command in a process group of its own.

    Attributes:
        ended: Done when the command has ended, with its exit code as a shell reports it.
        last_lines: The last lines of its output, if that is collected.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.last_lines: deque[str] = deque(maxlen=MAX_LINES)
        self._process = process
        self._copying = asyncio.create_task(self._copy())
        self.ended = asyncio.create_task(self._wait())

    @property
    def has_ended(self) -> bool:
        """Whether the command has ended; `ended` is done a moment later, when its output is complete."""
        return self._process.returncode is not None

    async def stop(self) -> None:
        """End the group: politely first, and after `GRACE_SECONDS` in any case."""
        self._send(signal.SIGTERM)
        try:
            async with asyncio.timeout(GRACE_SECONDS):
                await asyncio.shield(self.ended)
        except TimeoutError:
            pass
        finally:
            self._send(signal.SIGKILL)  # also those of the group that have survived the command
        await self.ended
        self._copying.cancel()

    async def _wait(self) -> int:
        code = await self._process.wait()
        await asyncio.wait({self._copying}, timeout=OUTPUT_SECONDS)
        return code if code >= 0 else 128 - code

    async def _copy(self) -> None:
        """Copy the app's output to stderr, and keep its last lines."""
        output = self._process.stdout
        if output is None:
            return
        rest = b""
        while data := await output.read(64 * 1024):
            sys.stderr.buffer.write(data)
            sys.stderr.buffer.flush()
            *lines, rest = (rest[-4096:] + data).split(b"\n")
            self.last_lines.extend(line.decode(errors="replace") for line in lines[-MAX_LINES:])

    def _send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


async def start_command(worker: Worker, command: Sequence[str], environ: Mapping[str, str]) -> RunningCommand:
    """Start COMMAND, with the standard streams of this process.

    Raises:
        OSError: It cannot be started.
    """
    return RunningCommand(await asyncio.create_subprocess_exec(*command, env=environ, preexec_fn=worker.enter_group))


async def start_app(worker: Worker, command: str, environ: Mapping[str, str]) -> RunningCommand:
    """Start the app's command by the shell. Its output goes to stderr, and it has no input."""
    return RunningCommand(
        await asyncio.create_subprocess_shell(
            command,
            env=environ,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            preexec_fn=worker.enter_group,
        )
    )
