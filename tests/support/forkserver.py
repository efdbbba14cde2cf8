"""Starts Python programs for tests fast: forks them off a process that has imported what they need.

A relay takes 0.8 s of CPU to import and 0.2 s to start, and most journeys start one. A forked program is a process like
any other, with its own session, arguments, environment, working directory, streams and exit code. Only `ps` shows the
fork server's command line: a test of `ps` starts its program with `processes.python(..., anew=True)`.

Shells and other programs start forked programs by the commands `tunnel` and `tunnelrelay` in a folder for PATH, which
talk to the server through `fork_command`.
"""

import atexit
import contextlib
import gc
import json
import os
import resource
import runpy
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import IO

from tests.support.fork_command import MAX_ORDER, Order
from tests.support.tools import ROOT

COMMANDS = {"tunnel": "tunnelctl", "tunnelrelay": "tunnelrelay"}
"""The Python module that each command runs."""
IMPORTED = (
    "tunnelctl.cli.api",
    "tunnelctl.cli.config",
    "tunnelctl.cli.http",
    "tunnelctl.cli.main",
    "tunnelctl.cli.oidc",
    "tunnelctl.cli.start",
    "tunnelctl.cli.tcp",
    "tunnelctl.cli.tunnel_command",
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
    """A forked program, with the interface of `subprocess.Popen`.

    Attributes:
        pid: The program's process id, which is also that of its process group and session.
        stdout, stderr: The read ends of the program's output streams.
    """

    def __init__(self, pid: int, stdout: int, stderr: int) -> None:
        self.pid = pid
        self.stdout: IO[str] = os.fdopen(stdout, errors="replace")
        self.stderr: IO[str] = os.fdopen(stderr, errors="replace")
        self._returncode: int | None = None
        self._ended = threading.Event()

    def poll(self) -> int | None:
        """Return the exit code, the negative signal number of a killed program, or None while it runs."""
        return self._returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until the program has ended. Returns its exit code.

        Raises:
            subprocess.TimeoutExpired: The program still runs after `timeout` seconds.
        """
        if not self._ended.wait(timeout):
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        assert self._returncode is not None
        return self._returncode

    def send_signal(self, number: int) -> None:
        """Send the program a signal, if it still runs."""
        if self._returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def end(self, returncode: int) -> None:
        """Note that the program has ended, with its exit code."""
        self._returncode = returncode
        self._ended.set()


class ForkServer:
    """The test's side of the fork server: starts the server, sends orders, and receives how children ended.

    Attributes:
        folder: Folder with the commands `tunnel` and `tunnelrelay` that use this server.
    """

    def __init__(self, env: Mapping[str, str], inside: Sequence[str] = ()) -> None:
        """Start the fork server.

        Args:
            env: The server's environment; each child gets an environment of its own.
            inside: The command line that runs a command in another network namespace; empty for this one.
        """
        self.folder = Path(tempfile.mkdtemp())
        address = self.folder / "server.sock"
        _write_commands(self.folder, address)
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as commands:
            commands.bind(str(address))
            commands.listen()
            passed = [theirs.fileno(), commands.fileno()]
            self._process = subprocess.Popen(
                [*inside, sys.executable, "-m", __name__, *map(str, passed)],
                cwd=ROOT,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                pass_fds=passed,
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
        """Fork a program that runs `python -m module args...`; `forked` describes the arguments."""
        order = Order(
            module=module,
            args=list(args),
            env=dict(env),
            cwd=str(ROOT),
            files=files or resource.getrlimit(resource.RLIMIT_NOFILE),
        )
        (out, their_out), (err, their_err) = os.pipe(), os.pipe()
        with self._ordering:
            streams = [os.open(os.devnull, os.O_RDONLY), their_out, their_err]
            try:
                socket.send_fds(self._orders, [json.dumps(order).encode()], streams)
            finally:
                for stream in streams:
                    os.close(stream)
            with self._news:
                self._news.wait_for(lambda: self._pids or self._is_over)
                assert self._pids, "the fork server has ended"
                child = Forked(self._pids.pop(), out, err)
                self._children[child.pid] = child
                if child.pid in self._ended:
                    self._forget(child.pid)
        return child

    def stop(self) -> None:
        """End the server; programs that it has forked go on."""
        with contextlib.suppress(OSError):
            self._orders.shutdown(socket.SHUT_RDWR)
        self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

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
    """Start `python -m module args...` by forking, in the repository's folder and in a session of its own.

    Args:
        files: Soft and hard limit of open files; None for those of this process.
    """
    return _server(_python(env)).start(module, args, env, files)


def commands(env: Mapping[str, str]) -> Path:
    """Return a folder for PATH with the commands `tunnel` and `tunnelrelay`, which start forked programs.

    A command passes its environment, working directory, streams and signals on to the forked program, which is killed
    when the command is. The fork server runs with the PYTHON variables of `env`.
    """
    return _server(_python(env)).folder


def _python(env: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return the environment variables that Python reads only at its start."""
    return tuple(sorted((name, value) for name, value in env.items() if name.startswith("PYTHON")))


@cache
def _server(python: tuple[tuple[str, str], ...]) -> ForkServer:
    server = ForkServer({**os.environ, **dict(python)})
    atexit.register(server.stop)
    return server


def _write_commands(folder: Path, address: Path) -> None:
    for name, module in COMMANDS.items():
        command = folder / name
        command.write_text(
            f"#!{sys.executable} -IS\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n"
            f"from tests.support.fork_command import main\nsys.exit(main({str(address)!r}, {module!r}))\n"
        )
        command.chmod(0o755)


class _Server:
    """The fork server's loop: forks a child for every order that comes from the tests or from a command."""

    def __init__(self, tests: socket.socket, commands: socket.socket) -> None:
        self._tests = tests
        self._commands = commands
        self._wake, self._woken = socket.socketpair()
        self._clients: dict[int, socket.socket] = {}
        """The connection that has ordered each child, by the child's process id; it is told how the child ended."""

    def serve(self) -> Order | None:
        """Serve orders. Returns the order in a forked child; None in the server when the tests have ended."""
        for end in (self._wake, self._woken):
            end.setblocking(False)
        signal.signal(signal.SIGCHLD, _noticed)
        signal.set_wakeup_fd(self._woken.fileno(), warn_on_full_buffer=False)
        with selectors.DefaultSelector() as selector:
            for end in (self._tests, self._commands, self._wake):
                selector.register(end, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    client = key.fileobj
                    assert isinstance(client, socket.socket)
                    if client is self._wake:
                        self._reap()
                    elif client is self._commands:
                        selector.register(client.accept()[0], selectors.EVENT_READ)
                    else:
                        data, streams, _, _ = socket.recv_fds(client, MAX_ORDER, 3)
                        if data and self._fork(client, streams):
                            for each in [one.fileobj for one in selector.get_map().values()]:
                                assert isinstance(each, socket.socket)
                                each.close()
                            return _as_ordered(data, streams)
                        if not data and client is self._tests:
                            return None
                        if not data:
                            selector.unregister(client)
                            self._leave(client)

    def _fork(self, client: socket.socket, streams: list[int]) -> bool:
        """Fork. Returns True in the child and False in the server."""
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._woken.close()
            return True
        for stream in streams:
            os.close(stream)
        self._clients[pid] = client
        _tell(client, {"pid": pid})
        return False

    def _leave(self, client: socket.socket) -> None:
        """Kill the children of a command that has ended, and close its connection."""
        for pid in [pid for pid, one in self._clients.items() if one is client]:
            os.kill(pid, signal.SIGKILL)  # the child is not reaped yet, so no other process can have this id
        client.close()

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wake.recv(MAX_ORDER)
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                _tell(self._clients.pop(pid), {"pid": pid, "status": status})


def _tell(client: socket.socket, news: dict[str, int]) -> None:
    with contextlib.suppress(OSError):  # the client has ended
        client.send(json.dumps(news).encode())


def _as_ordered(data: bytes, streams: list[int]) -> Order:
    """Set session, streams, environment, folder, limits and arguments of this process as the order says."""
    order: Order = json.loads(data)
    os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(order["env"])
    os.chdir(order["cwd"])
    resource.setrlimit(resource.RLIMIT_NOFILE, order["files"])
    sys.argv[1:] = order["args"]
    return order


def _noticed(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: a signal only has to be caught, so that Python writes to the wake-up descriptor."""


def import_all() -> None:
    """Import the modules that children need, before the first is forked."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # libraries warn about each other's versions
        for name in IMPORTED:
            import_module(name)
    gc.collect()
    gc.freeze()  # garbage collections in the children then skip all that was imported


def _main() -> None:
    import_all()
    order = _Server(*(socket.socket(fileno=int(end)) for end in sys.argv[1:])).serve()
    if order is not None:
        runpy.run_module(order["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main()
