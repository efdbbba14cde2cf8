"""Runs real processes, such as the relay and the agent as a user starts them, and keeps their output.

Everything here blocks and uses threads, so that plain tests, async tests and the demo can all use it.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from tests.support import forkserver
from tests.support.forkserver import Forked, forked
from tests.support.tools import ROOT
from tests.support.waiting import PATIENCE


class Child:
    """A child process and all lines that it has written.

    Attributes:
        name: Name for failure messages, such as `relay` or `agent`.
        out: Lines of stdout in order, without line ends.
        err: Lines of stderr in order, without line ends.
        lines: Lines of both in the order of arrival; its length is a mark for `wait_for(after=...)`.
    """

    def __init__(
        self, name: str, args: Sequence[str], *, env: Mapping[str, str] | None = None, forked: Forked | None = None
    ) -> None:
        """Start the command `args`, unless it is given as a program that was `forked` already."""
        self.name = name
        self.args = list(args)
        self.out: list[str] = []
        self.err: list[str] = []
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._process = forked or subprocess.Popen(
            self.args,
            cwd=ROOT,
            env=environment(env or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C in a terminal must reach only the test, which stops its children in order
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._readers = [self._read(self._process.stdout, self.out), self._read(self._process.stderr, self.err)]

    def _read(self, stream: IO[str], lines: list[str]) -> threading.Thread:
        thread = threading.Thread(target=self._collect, args=(stream, lines), daemon=True)
        thread.start()
        return thread

    def _collect(self, stream: IO[str], lines: list[str]) -> None:
        with stream:
            for line in stream:
                with self._news:
                    lines.append(line.rstrip("\n"))
                    self.lines.append(lines[-1])
                    self._news.notify_all()
        with self._news:
            self._news.notify_all()

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, the negative signal number of a killed child, or None while it runs."""
        return self._process.poll()

    @property
    def output(self) -> str:
        """All that the child has written, for failure messages."""
        return f"--- {self.name} {self.args[1:]} rc={self.returncode}\n" + "\n".join(
            [f"out| {line}" for line in self.out] + [f"err| {line}" for line in self.err]
        )

    def wait_for(self, found: Callable[[str], bool], timeout: float = PATIENCE, *, after: int = 0) -> str:
        """Wait for a line on stdout or stderr for which `found` is true. Returns it.

        Args:
            found: Whether a line is the one that is waited for.
            timeout: Seconds to wait.
            after: How many of `lines` to skip.

        Raises:
            AssertionError: The process has ended, or the time is over; the message has all its output.
        """
        deadline = time.monotonic() + timeout
        with self._news:
            while True:
                line = next((line for line in self.lines[after:] if found(line)), None)
                if line is not None:
                    return line
                ended = self.returncode is not None and not any(thread.is_alive() for thread in self._readers)
                if ended or time.monotonic() > deadline:
                    raise AssertionError(f"{self.name}: the awaited line never came\n{self.output}")
                self._news.wait(0.1)

    def wait_for_record(self, msg: str, timeout: float = PATIENCE, *, after: int = 0) -> dict[str, Any]:
        """Wait for a JSON log record with this `msg`. Returns it."""
        line = self.wait_for(lambda line: record_of(line).get("msg") == msg, timeout, after=after)
        return record_of(line)

    def records(self) -> list[dict[str, Any]]:
        """Return all JSON log records that the child has written so far."""
        return [record for line in list(self.lines) if (record := record_of(line))]

    def wait(self, timeout: float = PATIENCE) -> int:
        """Wait until the process has ended and its output is read. Returns the exit code.

        Raises:
            AssertionError: The process still runs after `timeout` seconds; it is killed.
        """
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not end within {timeout} s\n{self.output}") from None
        for thread in self._readers:
            thread.join(PATIENCE)
        return code

    def stop(self, signum: signal.Signals = signal.SIGTERM, timeout: float = PATIENCE) -> int:
        """Send the process a signal to end, as Ctrl-C or systemd would, and wait for it. Returns the exit code."""
        if self.returncode is None:
            self._process.send_signal(signum)
        return self.wait(timeout)

    def kill(self) -> None:
        """Kill the process with SIGKILL."""
        if self.returncode is None:
            self._process.kill()
        self._process.wait(PATIENCE)

    def kill_group(self) -> None:
        """Kill the process and all processes of its group with SIGKILL."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(PATIENCE)

    def rss(self) -> int:
        """Return the process's resident memory in bytes."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def forget_peak(self) -> None:
        """Reset the peak of `peak_rss` (proc(5), clear_refs)."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def peak_rss(self) -> int:
        """Return the peak of resident memory in bytes since the process's start or the last `forget_peak`."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for a child: without a developer's settings of the two programs, with both packages on
    PYTHONPATH."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TUNNELCTL_", "TUNNELRELAY_"))}
    kept["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "server")])
    kept["PYTHONUNBUFFERED"] = "1"
    return {**kept, "NO_COLOR": "1", **extra}


def record_of(line: str) -> dict[str, Any]:
    """Parse a line as a JSON object; {} when it is none."""
    if not line.startswith("{"):
        return {}
    try:
        record = json.loads(line)
    except json.JSONDecodeError:
        return {}
    return record if isinstance(record, dict) else {}


def python(
    name: str,
    module: str,
    *args: str,
    env: Mapping[str, str] | None = None,
    anew: bool = False,
    files: tuple[int, int] | None = None,
) -> Child:
    """Start `python -m module args...`, by forking a process that has imported the programs.

    Args:
        files: Soft and hard limit of open files, without `anew`; None for those of this process.
        anew: Whether to start a new interpreter, so that `ps` shows the arguments; it takes a second longer.
    """
    line = [sys.executable, "-m", module, *args]
    return Child(name, line, env=env, forked=None if anew else forked(module, args, environment(env or {}), files))


def run(
    module: str, *args: str, env: Mapping[str, str] | None = None, timeout: float = 60, anew: bool = False
) -> Child:
    """Run `python -m module args...` to its end. Returns the ended child."""
    child = python(module, module, *args, env=env, anew=anew)
    child.wait(timeout)
    return child


def commands() -> Path:
    """Return a folder for PATH with the commands `tunnel` and `tunnelrelay`, which start fast."""
    return forkserver.commands(environment({}))
