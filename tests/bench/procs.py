"""Starts and stops the bench's processes, and reads their CPU and memory from /proc.

Only processes that were started here are ever signalled. Figures count whole process trees with reaped children, as
sshd forks for every connection and nginx for every worker.
"""

import contextlib
import dataclasses
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
CONNECT_SECONDS = 2.0
"""Seconds for one try to connect to a peer that starts. A hung peer must not use up the whole limit in one try."""
STOP_SECONDS = 2.0
"""Seconds that a process may take to end after SIGTERM, before SIGKILL."""

_given_ports: set[int] = set()


class NotReady(Exception):
    """Raised when a process was not ready in time; the message names it and has the end of its log."""


@dataclasses.dataclass(frozen=True, slots=True)
class ProcStat:
    """The parsed line of /proc/PID/stat: the parent, and CPU seconds with those of reaped children."""

    parent: int
    cpu_seconds: float


@dataclasses.dataclass(frozen=True, slots=True)
class MachineTime:
    """CPU seconds of all cores since boot: busy with any process's work, and stolen by the hypervisor."""

    busy: float
    stolen: float


def parse_stat(text: str) -> ProcStat:
    """Parse /proc/PID/stat (proc(5)), in which the command name may contain spaces and brackets."""
    fields = text[text.rindex(")") + 2 :].split()
    return ProcStat(parent=int(fields[1]), cpu_seconds=sum(map(int, fields[11:15])) / TICKS_PER_SECOND)


def parse_machine_time(text: str) -> MachineTime:
    """Parse the first line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, text.split()[1:9])
    busy = user + nice + system + irq + softirq
    return MachineTime(busy=busy / TICKS_PER_SECOND, stolen=steal / TICKS_PER_SECOND)


def machine_time() -> MachineTime:
    """Return the CPU seconds that the whole machine has used so far."""
    with Path("/proc/stat").open() as file:
        return parse_machine_time(file.readline())


def _stat_of(pid: int) -> ProcStat | None:
    try:
        return parse_stat(Path(f"/proc/{pid}/stat").read_text())
    except OSError:
        return None


def tree_of(roots: Sequence[int]) -> list[int]:
    """Return the process ids of `roots` and of all their living descendants."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (stat := _stat_of(int(entry))):
            children.setdefault(stat.parent, []).append(int(entry))
    found: list[int] = []
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.append(pid)
            waiting.extend(children.get(pid, ()))
    return found


def cpu_seconds(roots: Sequence[int]) -> float:
    """Return the CPU seconds that these process trees have used so far, with reaped children."""
    return sum(stat.cpu_seconds for pid in tree_of(roots) if (stat := _stat_of(pid)))


def pss_kib(roots: Sequence[int], kind: str = "Pss") -> int:
    """Return the proportional memory of process trees in KiB: a page that n processes share counts one n-th.

    Args:
        kind: `Pss` for all memory; `Pss_Anon` without pages of files, whose share changes when others map them.
    """
    total = 0
    for pid in tree_of(roots):
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        if found := re.search(rf"^{kind}:\s+(\d+) kB", rollup, re.MULTILINE):
            total += int(found[1])
    return total


def free_port() -> int:
    """Return a port of 127.0.0.1 on which no process listens, and which this run has not used before."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port not in _given_ports:
            _given_ports.add(port)
            return port


class Proc:
    """A running command whose output goes to a log file."""

    def __init__(self, command: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> None:
        self.log = log
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment(env or {}),
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process id of the command itself, the root of its process tree."""
        return self._popen.pid

    @property
    def has_ended(self) -> bool:
        """Whether the command has ended."""
        return self._popen.poll() is not None

    def last_words(self) -> str:
        """Return the end of the command's log, which mostly says why a process has failed."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return " | ".join(line.strip() for line in lines[-3:])[-400:]

    def stop(self) -> None:
        """End the process tree by SIGTERM, then by SIGKILL, with children whose parent has ended before them."""
        tree = tree_of([self.pid])
        _signal_all(tree, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(STOP_SECONDS)
        _signal_all(tree, signal.SIGKILL)
        self._popen.wait()

    def kill(self) -> None:
        """Send SIGKILL to the process tree, to simulate a crash."""
        _signal_all(tree_of([self.pid]), signal.SIGKILL)
        self._popen.wait()


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment, without a developer's settings for the measured programs, and with `extra`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TUNNELCTL_", "TUNNELRELAY_"))}
    return {**kept, **extra}


def _signal_all(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def is_listening(port: int) -> bool:
    """Whether a process accepts TCP connections at a port of 127.0.0.1."""
    try:
        socket.create_connection(("127.0.0.1", port), CONNECT_SECONDS).close()
    except OSError:
        return False
    return True


def has_status(status: int, port: int, host: str, path: str) -> bool:
    """Whether a GET request for `path` at a port is answered with this status."""
    request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    try:
        with socket.create_connection(("127.0.0.1", port), CONNECT_SECONDS) as connection:
            connection.sendall(request.encode())
            return connection.recv(64).startswith(b"HTTP/1.1 %d" % status)
    except OSError:
        return False


def wait_until_listening(port: int, limit: float, proc: Proc) -> None:
    """Wait until the port that a process opens accepts connections.

    Raises:
        NotReady: The port does not accept connections after `limit` seconds, or the process has ended.
    """
    end = time.monotonic() + limit
    while not is_listening(port):
        if proc.has_ended or time.monotonic() > end:
            raise NotReady(f"nothing listens on port {port}; {proc.last_words() or 'nothing was logged'}")
        time.sleep(0.002)


def seconds_until_answer(port: int, host: str, path: str, limit: float, status: int = 200) -> float:
    """Wait until a GET request for `path` is answered with `status`. Returns the seconds it took.

    Raises:
        NotReady: There was no such response within `limit` seconds.
    """
    start = time.monotonic()
    while not has_status(status, port, host, path):
        if time.monotonic() - start > limit:
            raise NotReady(f"no answer with status {status} from {host} after {limit:g} s")
        time.sleep(0.002)
    return time.monotonic() - start
