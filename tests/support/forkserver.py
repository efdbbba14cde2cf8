"""Starts Python programs of the tests at once: forks them off a process that has imported what they need.

A relay takes 0.8 s of CPU to import and 0.2 s to start, and most journeys start one. What is forked off is a process as
any other: its own session, arguments, environment, working directory, streams and exit code. Only `ps` shows the
fork server's command line: a test of that asks `processes.python` for a program started `anew`.
"""

import atexit
import contextlib
import gc
import json
import os
import resource
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from types import FrameType
from typing import IO, Any

from tests.support.tools import ROOT

MAX_ORDER = 1 << 17
"""Bytes of one order: arguments and environment."""
IMPORTED = (
    "tunnelctl.cli.main",
    "tunnelctl.agent.agent",
    "tunnelrelay.app.process",
    "tunnelrelay.cli.admin",
    "tunnelrelay.cli.audit",
    "tunnelrelay.cli.backup",
    "tunnelrelay.cli.keys",
    "tunnelrelay.cli.main",
    "tunnelrelay.cli.names",
    "tunnelrelay.cli.sessions",
    "tunnelrelay.cli.tokens",
    "tunnelrelay.store.postgresql",
    "aiosqlite",
    "anyio._backends._asyncio",
    "sqlalchemy.dialects.sqlite.aiosqlite",
    "oidc_provider_mock",
    "uvicorn.protocols.http.auto",
    "uvloop",
)


class Forked:
    """A program that was forked off, as `subprocess.Popen` would show it.

    Attributes:
        pid: Its process id, which is its process group's and session's too.
        stdout, stderr: What it writes.
    """

    def __init__(self, pid: int, stdout: int, stderr: int) -> None:
        self.pid = pid
        self.stdout: IO[str] = os.fdopen(stdout, errors="replace")
        self.stderr: IO[str] = os.fdopen(stderr, errors="replace")
        self._returncode: int | None = None
        self._ended = threading.Event()

    def poll(self) -> int | None:
        """Exit code, minus the signal's number when killed, None while it runs."""
        return self._returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, once it has ended.

        Raises:
            subprocess.TimeoutExpired: It still runs after `timeout` seconds.
        """
        if not self._ended.wait(timeout):
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        assert self._returncode is not None
        return self._returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        if self._returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def end(self, returncode: int) -> None:
        """Note that it has ended."""
        self._returncode = returncode
        self._ended.set()


class ForkServer:
    """The process that forks, and what it tells of its children."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                cwd=ROOT,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._news = threading.Condition()
        self._is_over = False
        self._pids: list[int] = []
        self._children: dict[int, Forked] = {}
        self._ended: dict[int, int] = {}
        self._ordering = threading.Lock()
        threading.Thread(target=self._listen, daemon=True).start()

    def start(
        self, module: str, args: Sequence[str], env: Mapping[str, str], files: tuple[int, int] | None = None
    ) -> Forked:
        """See `forked`."""
        order = {
            "module": module,
            "args": list(args),
            "env": dict(env),
            "files": files or resource.getrlimit(resource.RLIMIT_NOFILE),
        }
        (out, their_out), (err, their_err) = os.pipe(), os.pipe()
        with self._ordering:
            try:
                socket.send_fds(self._orders, [json.dumps(order).encode()], [their_out, their_err])
            finally:
                os.close(their_out)
                os.close(their_err)
            with self._news:
                self._news.wait_for(lambda: self._pids or self._is_over)
                assert self._pids, "the fork server has ended"
                child = Forked(self._pids.pop(), out, err)
                self._children[child.pid] = child
                if child.pid in self._ended:
                    self._forget(child.pid)
        return child

    def stop(self) -> None:
        """End the server; what it forked off goes on."""
        with contextlib.suppress(OSError):
            self._orders.shutdown(socket.SHUT_RDWR)
        self._process.wait()

    def _listen(self) -> None:
        with self._orders, contextlib.suppress(ConnectionResetError):
            while news := self._orders.recv(MAX_ORDER):
                self._hear(**json.loads(news))
        with self._news:
            self._is_over = True
            self._news.notify_all()

    def _hear(self, pid: int, status: int | None = None) -> None:
        with self._news:
            if status is None:
                self._pids.append(pid)
            else:
                self._ended[pid] = os.waitstatus_to_exitcode(status)
                if pid in self._children:
                    self._forget(pid)
            self._news.notify_all()

    def _forget(self, pid: int) -> None:
        self._children.pop(pid).end(self._ended.pop(pid))


def forked(module: str, args: Sequence[str], env: Mapping[str, str], files: tuple[int, int] | None = None) -> Forked:
    """`python -m module args...` in the repository, in a session of its own.

    Args:
        files: Soft and hard limit of open files; None for this process's.
    """
    python = {name: value for name, value in env.items() if name.startswith("PYTHON")}
    return _server(tuple(sorted(python.items()))).start(module, args, env, files)


@cache
def _server(python: tuple[tuple[str, str], ...]) -> ForkServer:
    """The fork server for these variables, which Python reads once."""
    server = ForkServer({**os.environ, **dict(python)})
    atexit.register(server.stop)
    return server


def _serve(orders: socket.socket) -> dict[str, Any] | None:
    """Fork for every order. Returns the order in the child, and None in the server when there will be no more."""
    wake, woken = socket.socketpair()
    for end in (wake, woken):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, _noticed)
    signal.set_wakeup_fd(woken.fileno(), warn_on_full_buffer=False)
    with selectors.DefaultSelector() as selector:
        selector.register(orders, selectors.EVENT_READ)
        selector.register(wake, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is wake:
                    with contextlib.suppress(BlockingIOError):
                        wake.recv(MAX_ORDER)
                    _reap(orders)
                    continue
                data, fds, _, _ = socket.recv_fds(orders, MAX_ORDER, 2)
                if not data:
                    return None
                pid = os.fork()
                if pid == 0:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    for end in (wake, woken, orders):
                        end.close()
                    os.setsid()
                    for number, fd in zip((1, 2), fds, strict=True):
                        os.dup2(fd, number)
                        os.close(fd)
                    order: dict[str, Any] = json.loads(data)
                    return order
                for fd in fds:
                    os.close(fd)
                orders.send(json.dumps({"pid": pid}).encode())


def _noticed(_number: int, _frame: FrameType | None) -> None:
    """Only what writes to the wake-up descriptor counts."""


def _reap(orders: socket.socket) -> None:
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            with contextlib.suppress(OSError):  # the tests have ended
                orders.send(json.dumps({"pid": pid, "status": status}).encode())


def _main() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries about one another
        for name in IMPORTED:
            import_module(name)
    gc.collect()
    gc.freeze()  # so that collections in the children pass this by
    order = _serve(socket.socket(fileno=int(sys.argv[1])))
    if order is None:
        return
    os.environ.clear()
    os.environ.update(order["env"])
    resource.setrlimit(resource.RLIMIT_NOFILE, tuple(order["files"]))
    sys.argv[1:] = order["args"]
    runpy.run_module(order["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main()
