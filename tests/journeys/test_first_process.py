"""Both programs as process 1, as a container without an init of its own starts them.

The kernel drops every signal to such a process that it has no handler for, and gives it the orphans of all others.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.processes import Child
from tests.support.stack import Stack, until
from tests.support.tools import missing, require_tool

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")


@contextlib.contextmanager
def first_process(name: str, *args: str) -> Iterator[tuple[Child, int]]:
    """A module's program as process 1 of a namespace, and its process id outside.

    The test is skipped (fails in CI) where there can be no namespace.
    """
    unshare = [require_tool("unshare", "util-linux"), "--pid", "--fork", "--mount-proc", "--kill-child"]
    tried = subprocess.run([*unshare, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        missing(f"this machine makes no process namespaces: {tried.stderr.strip()}")
    child = Child(name, [*unshare, sys.executable, "-m", *args])
    try:
        until(lambda: children(child.pid), "the program to begin", child=child)
        yield child, children(child.pid)[0]
    finally:
        child.kill()


def children(pid: int) -> list[int]:
    """Processes that this one is the parent of, those among them that have ended and wait to be asked for."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def leave_an_orphan(pid: int, fifo: Path) -> None:
    """In the namespace of process 1, a process without a parent, which ends when something is written to `fifo`."""
    os.mkfifo(fifo)
    script = f"sh -c 'read line < {fifo}' &"
    nsenter = require_tool("nsenter", "util-linux")
    subprocess.run([nsenter, "--target", str(pid), "--pid", "sh", "-c", script], check=True)
    until(lambda: children(pid), "an orphan")


def test_the_relay_as_process_1_takes_in_orphans_and_ends_on_sigterm(tmp_path: Path) -> None:
    where = ("--http=127.0.0.1:0", "--admin=off", f"--data-dir={tmp_path / 'data'}")
    with first_process("relay", "tunnelrelay", "serve", *where, "--log-format=json") as (relay, pid):
        relay.wait_for_record("relay ready")
        leave_an_orphan(pid, tmp_path / "fifo")
        (tmp_path / "fifo").write_text("go\n")
        until(lambda: not children(pid), "orphans to be reaped")

        os.kill(pid, signal.SIGTERM)

        assert relay.wait() == 0
        assert "relay stopping" in [record["msg"] for record in relay.records()]


def test_the_agent_as_process_1_takes_in_orphans_and_ends_on_sigterm(stack: Stack, tmp_path: Path) -> None:
    with first_process("agent", "tunnelctl", "http", "9", f"--relay=http://127.0.0.1:{stack.port}") as (agent, pid):
        agent.wait_for(lambda line: line.startswith("http://"))
        leave_an_orphan(pid, tmp_path / "fifo")
        (tmp_path / "fifo").write_text("go\n")
        until(lambda: not children(pid), "orphans to be reaped")

        os.kill(pid, signal.SIGTERM)

        assert agent.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_agent_as_process_1_ends_though_there_is_no_relay(number: signal.Signals) -> None:
    relay = f"--relay=http://127.0.0.1:{free_port()}"
    with first_process("agent", "tunnelctl", "http", "9", relay) as (agent, pid):
        agent.wait_for(lambda line: "failed to reconnect session" in line)

        os.kill(pid, number)

        assert agent.wait() == 0
