"""The place a run happens in: its folder, the upstreams, and peers started before them; every process ends with it."""

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
"""How long a peer may take from its start to its first answer; ssh needs 0.2, node programs 0.4."""
QUIET_CORES = 0.08
"""A window starts when all other work on the machine takes less than this many cores."""
QUIET_SLICE = 0.2
"""Seconds over which that work is looked at."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What one measured window cost.

    Attributes:
        cpu: seconds of the peer's servers and clients.
        foreign: cores taken by processes that are no part of the bench.
        stolen: cores the hypervisor withheld.
        wall: seconds the window took.
    """

    cpu: float
    foreign: float
    stolen: float
    wall: float

    @property
    def noise(self) -> float:
        """Cores the bench did not have."""
        return self.foreign + self.stolen


@dataclasses.dataclass(slots=True)
class Lab:
    """The folder, the two upstreams and the patience of a run."""

    folder: Path
    quiet_seconds: float
    files: Proc
    files_port: int
    sink: Proc | None
    sink_port: int
    _starts: int = 0

    def wait_for_quiet(self) -> None:
        """Waits until others leave the cores alone, at most `quiet_seconds`: the window then records the noise."""
        end = time.monotonic() + self.quiet_seconds
        while time.monotonic() < end:
            before = procs.machine_time().busy
            time.sleep(QUIET_SLICE)
            if (procs.machine_time().busy - before) / QUIET_SLICE < QUIET_CORES:
                return

    def upstream_pids(self) -> list[int]:
        """The upstreams' roots, whose CPU is nobody's."""
        return [self.files.pid] + ([self.sink.pid] if self.sink else [])

    def fresh_folder(self, name: str) -> Path:
        """A new folder for one start of a peer."""
        self._starts += 1
        folder = self.folder / f"{self._starts:03}-{name}"
        folder.mkdir(mode=0o700)
        return folder


@dataclasses.dataclass(slots=True)
class Session:
    """A peer that is up: its processes, and its tunnels' doors."""

    lab: Lab
    plan: Plan
    folder: Path
    servers: list[Proc]
    clients: list[Proc]

    @property
    def door(self) -> Door:
        """The first tunnel's door."""
        return self.plan.doors[0]

    def start_server(self) -> None:
        """Starts the public side; returns when clients can dial it."""
        self.servers = [self._start(command, "server") for command in self.plan.servers]
        procs.wait_until_listening(self.plan.server_port, READY_SECONDS, self.servers[-1])

    def start_clients(self, commands: Sequence[Command]) -> None:
        """Starts the side beside the upstream, or a part of it; does not wait."""
        self.clients += [self._start(command, "client") for command in commands]

    def measure(self, action: Callable[[], T]) -> tuple[T, Spent]:
        """Runs a load while this peer's CPU and everybody else's is counted."""
        self.lab.wait_for_quiet()
        before, own, start = self._counters(), self.cpu(), time.monotonic()
        result = action()
        wall, spent, after = time.monotonic() - start, self.cpu() - own, self._counters()
        machine, bench, stolen = (b - a for a, b in zip(before, after, strict=True))
        foreign = max(0.0, machine - bench - spent) / wall
        return result, Spent(cpu=spent, foreign=foreign, stolen=stolen / wall, wall=wall)

    def cpu(self) -> float:
        """CPU seconds of the peer's two sides so far."""
        return procs.cpu_seconds([proc.pid for proc in (*self.servers, *self.clients)])

    def server_kib(self, kind: str) -> int:
        """Memory of the public side, of one of the kinds of `pss_kib`."""
        return procs.pss_kib([proc.pid for proc in self.servers], kind)

    def stop(self) -> None:
        """Ends the clients, then the servers."""
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
    """Starts the upstreams in `folder`: nginx with the files, and our sink where it could be compiled."""
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
    """A peer with its servers and clients up and its first tunnel answering."""
    with planned_session(lab, peer, upstream, tunnels) as session:
        session.start_server()
        session.start_clients(session.plan.clients)
        wait_for_answer(session)
        yield session


@contextlib.contextmanager
def planned_session(lab: Lab, peer: Peer, upstream: int, tunnels: int = 1) -> Iterator[Session]:
    """A peer with nothing started yet; whatever is started ends with the block."""
    folder = lab.fresh_folder(peer.name)
    session = Session(lab, peer.make_plan(folder, upstream, tunnels), folder, [], [])
    try:
        yield session
    finally:
        session.stop()


def wait_for_answer(session: Session) -> float:
    """Seconds until the first tunnel answers, with the last words of both sides when it does not."""
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
    """Many tunnels and connections need more descriptors than the usual soft limit of 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 20000 if hard == resource.RLIM_INFINITY else min(20000, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
