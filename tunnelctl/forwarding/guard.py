"""Two processes that end each other's leftovers: a run leaves no process behind, even if one of them is killed.

`guarded` forks. The parent (the guard) only passes signals on and waits; the child (the worker) does the work in a
process group of its own, so that a signal to the shell's group does not reach it. Each command that the worker starts
gets a group too, and writes the group's number into a pipe before it runs: whenever the worker dies, the guard knows
all groups, and ends them. When the guard dies, its end of another pipe closes, and the worker stops.

`PR_SET_PDEATHSIG` is not used: it fires when the parent's thread ends, not its process.
"""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE_SECONDS = 10.0
"""Seconds between the polite signal to a group and the one that cannot be ignored."""
LOOK_SECONDS = 0.02
PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True, slots=True)
class Worker:
    """What the worker has of the guard.

    Attributes:
        guard: File descriptor that becomes readable when the guard has died.
        groups: File descriptor into which each command writes its group's number.
    """

    guard: int
    groups: int

    def enter_group(self) -> None:
        """Move the calling process into a group of its own, and tell the guard; called in a child before `exec`."""
        os.setpgid(0, 0)
        os.write(self.groups, b"%d\n" % os.getpid())
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)


def guarded(work: Callable[[Worker], int]) -> int:
    """Run `work` in a child process, and return its exit code, as a shell reports it.

    Args:
        work: Gets a `Worker`, and returns the exit code.
    """
    alive_read, alive_write = os.pipe()
    groups_read, groups_write = os.pipe()
    _adopt_orphans()
    pid = os.fork()
    if pid == 0:
        os.close(alive_write)
        os.close(groups_read)
        os.setpgid(0, 0)
        _adopt_orphans()
        code = 1
        try:
            code = work(Worker(alive_read, groups_write))
        finally:
            end_leftovers()
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:
                    stream.flush()
            os._exit(code)
    os.close(alive_read)
    os.close(groups_write)
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda got, frame: _send(os.kill, pid, got))
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        with os.fdopen(groups_read, "rb") as groups:  # ends when no process between fork and exec is left
            end_groups([int(line) for line in groups])
        end_leftovers()
    return code if code >= 0 else 128 - code


def end_groups(groups: Iterable[int]) -> None:
    """Stop these process groups: politely, and after `GRACE_SECONDS` in any case."""
    left = [group for group in groups if _send(os.killpg, group, signal.SIGTERM)]
    deadline = time.monotonic() + GRACE_SECONDS
    while left and time.monotonic() < deadline:
        _reap()
        left = [group for group in left if _send(os.killpg, group, 0)]
        time.sleep(LOOK_SECONDS)
    for group in left:
        _send(os.killpg, group, signal.SIGKILL)


def end_leftovers() -> None:
    """Kill the descendants of this process that have left their group, as daemons do. Linux alone can tell."""
    while found := descendants(os.getpid()):
        for pid in found:
            _send(os.kill, pid, signal.SIGKILL)
        _reap()
        time.sleep(LOOK_SECONDS)


def descendants(pid: int) -> list[int]:
    """Return the processes below a process that have not ended; empty where there is no `/proc`."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_bytes().rpartition(b")")[2].split()[:2]
        except OSError:
            continue
        if state != b"Z":
            children.setdefault(int(parent), []).append(int(stat.parent.name))
    found, todo = [], [pid]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def _adopt_orphans() -> None:
    """Become the parent of all descendants whose own parent ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _reap() -> None:
    """Collect ended children, so that their groups are gone."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _send(send: Callable[[int, int], None], target: int, number: int) -> bool:
    """Send a signal; returns whether the process or group exists."""
    try:
        send(target, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
