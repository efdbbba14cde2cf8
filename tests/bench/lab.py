"""The environment of a run: a folder, the upstreams, and the peers in front of them. All processes end with it."""

import contextlib
import dataclasses
import os
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from tests.bench import loads, procs
from tests.bench.loads import load_program
from tests.bench.peers import nginx_command
from tests.bench.plan import Command, Door, Peer, Plan
from tests.bench.procs import Proc, free_port

T = TypeVar("T")

FILES_CONF = "sendfile on; tcp_nopush on; open_file_cache max=100;\n  "
FILES_CONF += "server {{ listen 127.0.0.1:{port} backlog=2048; root {root}; }}"
READY_SECONDS = 15.0
"""Seconds that a peer may take from its start to its first response; ssh needs 0.2, node programs 0.4."""
QUIET_CORES = 0.08
"""A measurement starts when all other work on the machine takes less than this many cores."""
QUIET_SLICE = 0.2
"""Seconds over which the other work on the machine is measured."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """The CPU that one measured window took.

    Attributes:
        cpu: CPU seconds of the peer's servers and clients.
        foreign: Cores taken by processes that are not part of the bench.
        stolen: Cores that the hypervisor withheld.
        wall: Duration of the window in seconds.
    """

    cpu: float
    foreign: float
    stolen: float
    wall: float

    @property
    def noise(self) -> float:
        """Cores that the bench did not have, as other processes or the hypervisor took them."""
        return self.foreign + self.stolen


@dataclasses.dataclass(slots=True)
class Lab:
    """The environment of a run: its folder, the two upstreams, and how long it waits for a quiet machine."""

    folder: Path
    quiet_seconds: float
    files: Proc
    files_port: int
    sink: Proc | None
    sink_port: int
    _starts: int = 0

    def wait_for_quiet(self) -> None:
        """Wait until other processes take little CPU, at most `quiet_seconds`; the sample records what they take."""
        end = time.monotonic() + self.quiet_seconds
        while time.monotonic() < end:
            before = procs.machine_time().busy
            time.sleep(QUIET_SLICE)
            if (procs.machine_time().busy - before) / QUIET_SLICE < QUIET_CORES:
                return

    def upstream_pids(self) -> list[int]:
        """Return the process ids of the upstreams, whose CPU counts neither for a peer nor as foreign."""
        return [self.files.pid] + ([self.sink.pid] if self.sink else [])

    def fresh_folder(self, name: str) -> Path:
        """Create a new folder for one start of a peer."""
        self._starts += 1
        folder = self.folder / f"{self._starts:03}-{name}"
        folder.mkdir(mode=0o700)
        return folder


@dataclasses.dataclass(slots=True)
class Session:
    """A running peer: its processes, and the doors of its tunnels."""

    lab: Lab
    plan: Plan
    folder: Path
    servers: list[Proc]
    clients: list[Proc]

    @property
    def door(self) -> Door:
        """The door of the peer's first tunnel."""
        return self.plan.doors[0]

    def start_server(self) -> None:
        """Start the peer's servers, and wait until clients can connect to them."""
        self.servers = [self._start(command, "server") for command in self.plan.servers]
        procs.wait_until_listening(self.plan.server_port, READY_SECONDS, self.servers[-1])

    def start_clients(self, commands: Sequence[Command]) -> None:
        """Start commands of the peer's clients, which run beside the upstream, without waiting for them."""
        self.clients += [self._start(command, "client") for command in commands]

    def measure(self, action: Callable[[], T]) -> tuple[T, Spent]:
        """Run a load and measure the CPU of this peer and of all other processes meanwhile."""
        self.lab.wait_for_quiet()
        before, own, start = self._counters(), self.cpu(), time.monotonic()
        result = action()
        wall, spent, after = time.monotonic() - start, self.cpu() - own, self._counters()
        machine, bench, stolen = (b - a for a, b in zip(before, after, strict=True))
        foreign = max(0.0, machine - bench - spent) / wall
        return result, Spent(cpu=spent, foreign=foreign, stolen=stolen / wall, wall=wall)

    def cpu(self) -> float:
        """Return the CPU seconds that the peer's servers and clients have used so far."""
        return procs.cpu_seconds([proc.pid for proc in (*self.servers, *self.clients)])

    def server_kib(self, kind: str) -> int:
        """Return the memory of the peer's servers in KiB, of a kind that `pss_kib` knows."""
        return procs.pss_kib([proc.pid for proc in self.servers], kind)

    def stop(self) -> None:
        """Stop the peer's clients, then its servers."""
        for proc in (*self.clients, *self.servers):
            proc.stop()

    def _start(self, command: Command, side: str) -> Proc:
        return Proc(command.words, self.folder / f"{side}.log", command.env)

    def _counters(self) -> tuple[float, float, float]:
        machine = procs.machine_time()
        tools = sum(os.times()[:4])
        return machine.busy, tools + procs.cpu_seconds(self.lab.upstream_pids()), machine.stolen


@contextlib.contextmanager
def open_lab(folder: Path, quiet_seconds: float) -> Iterator[Lab]:
    """Context manager: the environment of a run, with nginx as upstream, and our sink (load.c) if it is compiled."""
    _raise_file_limit()
    root = folder / "www"
    root.mkdir()
    for name, size in loads.FILE_SIZES.items():
        (root / name).write_bytes(os.urandom(size))
    (folder / "upload.lua").write_text(loads.UPLOAD_SCRIPT)
    ports = free_port(), free_port()
    with contextlib.ExitStack() as stack:
        files = _upstream(stack, nginx_command(folder, "files", FILES_CONF.format(port=ports[0], root=root)), folder)
        sink = None
        if load_program().exists():
            sink = _upstream(stack, Command((str(load_program()), "serve", str(ports[1]))), folder)
            procs.wait_until_listening(ports[1], READY_SECONDS, sink)
        procs.wait_until_listening(ports[0], READY_SECONDS, files)
        yield Lab(folder, quiet_seconds, files, ports[0], sink, ports[1])


@contextlib.contextmanager
def open_session(lab: Lab, peer: Peer, upstream: int, tunnels: int = 1) -> Iterator[Session]:
    """Context manager: a peer with servers and clients started, whose first tunnel answers."""
    with planned_session(lab, peer, upstream, tunnels) as session:
        session.start_server()
        session.start_clients(session.plan.clients)
        wait_for_answer(session)
        yield session


@contextlib.contextmanager
def planned_session(lab: Lab, peer: Peer, upstream: int, tunnels: int = 1) -> Iterator[Session]:
    """Context manager: a peer of which nothing is started yet; what the block starts is stopped at its end."""
    folder = lab.fresh_folder(peer.name)
    session = Session(lab, peer.make_plan(folder, upstream, tunnels), folder, [], [])
    try:
        yield session
    finally:
        session.stop()


def wait_for_answer(session: Session) -> float:
    """Wait until the peer's first tunnel answers. Returns the seconds it took.

    Raises:
        NotReady: The tunnel did not answer in time; the message has the end of the logs of servers and clients.
    """
    try:
        return procs.seconds_until_answer(session.door.port, session.door.host, loads.SMALL, READY_SECONDS)
    except procs.NotReady as error:
        words = "; ".join(filter(None, (proc.last_words() for proc in (*session.servers, *session.clients))))
        raise procs.NotReady(f"{error}; {words or 'nothing was logged'}") from error


def _upstream(stack: contextlib.ExitStack, command: Command, folder: Path) -> Proc:
    proc = Proc(command.words, folder / "upstream.log", command.env)
    stack.callback(proc.stop)
    return proc


def _raise_file_limit() -> None:
    """Raise the limit of open files, as many tunnels and connections need more than the usual soft limit of 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 20000 if hard == resource.RLIM_INFINITY else min(20000, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
