"""Real processes: the relay and the agent as a user starts them, with their output kept.

Everything here is blocking and thread-based, so that plain tests, async tests and the demo can use it alike.
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
    """One child process and every line it wrote.

    Attributes:
        name: For failures: `relay`, `agent`.
        out: Lines of stdout, in order, without their ends.
        err: The same of stderr.
        lines: Both, as they came in; its length is a mark for `wait_for(after=...)`.
    """

    def __init__(
        self, name: str, args: Sequence[str], *, env: Mapping[str, str] | None = None, forked: Forked | None = None
    ) -> None:
        """Start `args`, unless they have been `forked` already."""
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
            start_new_session=True,  # Ctrl-C in a terminal is ours to pass on, in our order
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
        """Process id."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Exit code, minus the signal's number when killed, None while it runs."""
        return self._process.poll()

    @property
    def output(self) -> str:
        """All it wrote, for failures."""
        return f"--- {self.name} {self.args[1:]} rc={self.returncode}\n" + "\n".join(
            [f"out| {line}" for line in self.out] + [f"err| {line}" for line in self.err]
        )

    def wait_for(self, found: Callable[[str], bool], timeout: float = PATIENCE, *, after: int = 0) -> str:
        """The first line for which `found` says so, whether on stdout or stderr.

        Args:
            found: Looks at one line.
            timeout: Seconds.
            after: Skip this many of `lines`.

        Raises:
            AssertionError: The process ended, or the time is up; carries all its output.
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
        """The first JSON log record whose `msg` is `msg`."""
        line = self.wait_for(lambda line: record_of(line).get("msg") == msg, timeout, after=after)
        return record_of(line)

    def records(self) -> list[dict[str, Any]]:
        """Every JSON record written so far, on either stream."""
        return [record for line in list(self.lines) if (record := record_of(line))]

    def wait(self, timeout: float = PATIENCE) -> int:
        """The exit code, once the process has ended and its output is read.

        Raises:
            AssertionError: Still running after `timeout` seconds; the process is killed.
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
        """Asks the process to end, as Ctrl-C or systemd would, and waits for it."""
        if self.returncode is None:
            self._process.send_signal(signum)
        return self.wait(timeout)

    def kill(self) -> None:
        """SIGKILL: no goodbye."""
        if self.returncode is None:
            self._process.kill()
        self._process.wait(PATIENCE)

    def kill_group(self) -> None:
        """SIGKILL for it and every process that it started and did not put into a session of its own."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(PATIENCE)

    def rss(self) -> int:
        """Resident memory in bytes."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def forget_peak(self) -> None:
        """From now on `peak_rss` tells the peak since now (proc(5), clear_refs)."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def peak_rss(self) -> int:
        """Highest resident memory in bytes since the start or `forget_peak`."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Our environment without a developer's own settings for the two programs, with both packages importable."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TUNNELCTL_", "TUNNELRELAY_"))}
    kept["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "server")])
    kept["PYTHONUNBUFFERED"] = "1"
    return {**kept, "NO_COLOR": "1", **extra}


def record_of(line: str) -> dict[str, Any]:
    """A line as a JSON object, {} when it is none."""
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
    """`python -m module args...` with this interpreter.

    Args:
        files: Soft and hard limit of open files, for a program that is not started `anew`; None for this process's.
        anew: Start the interpreter too, so that `ps` shows the arguments; it takes a second longer.
    """
    line = [sys.executable, "-m", module, *args]
    return Child(name, line, env=env, forked=None if anew else forked(module, args, environment(env or {}), files))


def run(
    module: str, *args: str, env: Mapping[str, str] | None = None, timeout: float = 60, anew: bool = False
) -> Child:
    """Runs `python -m module args...` to its end."""
    child = python(module, module, *args, env=env, anew=anew)
    child.wait(timeout)
    return child


def commands() -> Path:
    """A folder for PATH with `tunnel` and `tunnelrelay`, which start at once."""
    return forkserver.commands(environment({}))
