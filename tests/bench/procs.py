"""Processes of the bench: started and ended by pid, and what /proc says about their CPU and memory.

Only processes started here are ever signalled. Figures count a whole process tree, reaped children included, since
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
"""Patience of one readiness attempt: a dead peer refuses at once, a hung one should not eat the whole limit."""
STOP_SECONDS = 2.0
"""How long a process may take to end after SIGTERM before SIGKILL."""

_given_ports: set[int] = set()


class NotReady(Exception):
    """Something did not come up in its time; the message says what, with the end of its log."""


@dataclasses.dataclass(frozen=True, slots=True)
class ProcStat:
    """One line of /proc/PID/stat: the parent and the CPU seconds, those of reaped children included."""

    parent: int
    cpu_seconds: float


@dataclasses.dataclass(frozen=True, slots=True)
class MachineTime:
    """CPU seconds of all cores since boot: busy with anybody's work, and stolen by the hypervisor."""

    busy: float
    stolen: float


def parse_stat(text: str) -> ProcStat:
    """Reads /proc/PID/stat (proc(5)); the command name may hold spaces and brackets."""
    fields = text[text.rindex(")") + 2 :].split()
    return ProcStat(parent=int(fields[1]), cpu_seconds=sum(map(int, fields[11:15])) / TICKS_PER_SECOND)


def parse_machine_time(text: str) -> MachineTime:
    """Reads the first line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, text.split()[1:9])
    busy = user + nice + system + irq + softirq
    return MachineTime(busy=busy / TICKS_PER_SECOND, stolen=steal / TICKS_PER_SECOND)


def machine_time() -> MachineTime:
    """What the whole machine has spent so far."""
    with Path("/proc/stat").open() as file:
        return parse_machine_time(file.readline())


def _stat_of(pid: int) -> ProcStat | None:
    try:
        return parse_stat(Path(f"/proc/{pid}/stat").read_text())
    except OSError:
        return None


def tree_of(roots: Sequence[int]) -> list[int]:
    """The pids of `roots` and all their living descendants."""
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
    """CPU spent so far by the process trees, reaped children included."""
    return sum(stat.cpu_seconds for pid in tree_of(roots) if (stat := _stat_of(pid)))


def pss_kib(roots: Sequence[int], kind: str = "Pss") -> int:
    """Proportional memory of the process trees: pages shared with n processes count one n-th.

    Args:
        kind: `Pss` for all of it; `Pss_Anon` without the pages of files, whose share changes as others map them.
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
    """A port of 127.0.0.1 that nobody listens on, and that this run has not handed out before."""
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
        """The pid of the command itself, the root of its tree."""
        return self._popen.pid

    @property
    def has_ended(self) -> bool:
        """Whether the command is gone."""
        return self._popen.poll() is not None

    def last_words(self) -> str:
        """The end of the log: where nothing comes up, it mostly says why."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return " | ".join(line.strip() for line in lines[-3:])[-400:]

    def stop(self) -> None:
        """Ends the whole tree: SIGTERM, then SIGKILL for what is left, orphans of a root that left first included."""
        tree = tree_of([self.pid])
        _signal_all(tree, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(STOP_SECONDS)
        _signal_all(tree, signal.SIGKILL)
        self._popen.wait()

    def kill(self) -> None:
        """SIGKILL to the whole tree, as a crash would."""
        _signal_all(tree_of([self.pid]), signal.SIGKILL)
        self._popen.wait()


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Ours without a developer's settings for the programs under test."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TUNNELCTL_", "TUNNELRELAY_"))}
    return {**kept, **extra}


def _signal_all(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def is_listening(port: int) -> bool:
    """Whether a TCP connection to the port is accepted."""
    try:
        socket.create_connection(("127.0.0.1", port), CONNECT_SECONDS).close()
    except OSError:
        return False
    return True


def has_status(status: int, port: int, host: str, path: str) -> bool:
    """Whether GET `path` at the port is answered with that status."""
    request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    try:
        with socket.create_connection(("127.0.0.1", port), CONNECT_SECONDS) as connection:
            connection.sendall(request.encode())
            return connection.recv(64).startswith(b"HTTP/1.1 %d" % status)
    except OSError:
        return False


def wait_until_listening(port: int, limit: float, proc: Proc) -> None:
    """Returns when the port that `proc` is to open accepts connections.

    Raises:
        NotReady: it did not within `limit` seconds, or the process ended.
    """
    end = time.monotonic() + limit
    while not is_listening(port):
        if proc.has_ended or time.monotonic() > end:
            raise NotReady(f"nothing listens on port {port}; {proc.last_words() or 'nothing was logged'}")
        time.sleep(0.002)


def seconds_until_answer(port: int, host: str, path: str, limit: float, status: int = 200) -> float:
    """How long it takes from now until GET `path` is answered with `status`.

    Raises:
        NotReady: it was not within `limit` seconds.
    """
    start = time.monotonic()
    while not has_status(status, port, host, path):
        if time.monotonic() - start > limit:
            raise NotReady(f"no answer with status {status} from {host} after {limit:g} s")
        time.sleep(0.002)
    return time.monotonic() - start
