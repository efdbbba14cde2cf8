"""Measures what a hostile visitor or agent costs the others: `python -m tests.bench.abuse`.

A relay and three agents run on 127.0.0.1. A probe requests one small file of the agent `victim` a hundred times a
second, first alone and then beside each scenario of abuse. For each scenario the table shows the rise of the probe's
99th percentile, the relay's CPU, and the relay's memory before, at its peak, and after.

A scenario is a function `(target, seconds) -> text` in `SCENARIOS`. It runs in a process of its own, uses only
loopback, ends after `seconds` at the latest, and returns one line about what it did. To add one, write the function and
put it into `SCENARIOS`.
"""

import asyncio
import contextlib
import dataclasses
import logging
import multiprocessing
import os
import selectors
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from websockets.frames import Frame, Opcode

from tests.bench import loads, procs
from tests.bench.lab import READY_SECONDS, Lab, open_lab
from tests.bench.loads import LoadFailed, LoadResult, build_load, load_command, parse_load
from tests.bench.peers import NO_CONFIG, ROOT
from tests.bench.plan import Command, Door
from tests.bench.procs import Proc, free_port
from tests.support.scripted_agent import ScriptedAgent
from tunnelctl.link.dial import DialFailed
from tunnelctl.wire.frames import CONTROL, DATA, HEAD, frame, pack_head

PROBE_INTERVAL = 0.01
"""Seconds between two requests of the probe."""
SETTLE_SECONDS = 3.0
"""Seconds between the end of a scenario and the last reading of the relay's memory."""
MAX_SECONDS = 60.0
"""Seconds that a scenario may run at most."""
MAX_IDLE = 10_000
"""Connections that the scenario of idle connections opens."""
NICE = 10
"""Niceness of the scenarios and of the agents that serve them: outside a benchmark they would run on other machines,
and take no CPU from the relay and the victim."""
CLIENT = "127.0.0.2"
"""The address from which scenarios connect, which differs from that of the probe. Limits per address do not count
loopback: to see them, give another address of this machine (as of eth0) by `--client`."""


@dataclasses.dataclass(frozen=True, slots=True)
class Target:
    """The relay and the tunnels that a scenario runs against.

    Attributes:
        port: The relay's port on 127.0.0.1.
        files: Host of a tunnel to nginx, which serves the files `loads.SMALL` and `/1m`.
        sink: Host of a tunnel to a server that reads and counts uploads.
        client: The address from which scenarios connect.
    """

    port: int
    files: str
    sink: str
    client: str = CLIENT

    def connect(self) -> socket.socket:
        """Open a connection to the relay from the address `client`."""
        return socket.create_connection(("127.0.0.1", self.port), 10, source_address=(self.client, 0))

    def get(self, path: str = loads.SMALL) -> bytes:
        """Return the bytes of a GET request for a file."""
        return f"GET {path} HTTP/1.1\r\nHost: {self.files}\r\n\r\n".encode()


# The scenarios


def one_byte_chunks(target: Target, seconds: float) -> str:
    """One visitor uploads 6 MB of one-byte chunks to a tunnel."""
    return _send_body(target, target.sink, b"1\r\nx\r\n", 6_000_000, seconds)


def one_byte_chunks_nowhere(target: Target, seconds: float) -> str:
    """Four visitors send one-byte chunks, again and again, to a name that does not exist."""
    return _repeat(lambda: _send_body(target, "nowhere.localhost", b"1\r\nx\r\n", 6_000_000, seconds), 4, seconds)


def chunk_extensions(target: Target, seconds: float) -> str:
    """One visitor uploads chunks of one byte with an extension of 200 bytes each."""
    return _send_body(target, target.sink, b"1;" + b"e" * 200 + b"\r\nx\r\n", 24_000_000, seconds)


def tiny_segments(target: Target, seconds: float) -> str:
    """One visitor uploads a body of known length, one byte in each TCP segment."""
    with target.connect() as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(f"POST /upload HTTP/1.1\r\nHost: {target.sink}\r\nContent-Length: 10000000\r\n\r\n".encode())
        end, sent = time.monotonic() + seconds, 0
        try:
            while time.monotonic() < end:
                sock.sendall(b"x")
                sent += 1
        except OSError as error:
            return f"{sent} segments, then {error.strerror}"
    return f"{sent} segments"


def pipelining(target: Target, seconds: float) -> str:
    """Eight connections pipeline requests to a tunnel: they send without waiting for responses, which they read."""
    return _flood(target, connections=8, batch=target.get() * 200, seconds=seconds)


def pipelining_nowhere(target: Target, seconds: float) -> str:
    """Eight connections pipeline requests for a name that does not exist."""
    request = b"GET / HTTP/1.1\r\nHost: nowhere.localhost\r\n\r\n"
    return _flood(target, connections=8, batch=request * 200, seconds=seconds)


def gets(target: Target, seconds: float) -> str:
    """64 connections of one address request a small file, each again when it has the response."""
    return _flood(target, connections=64, batch=target.get(), seconds=seconds, waits=True)


def gets_of_many_connections(target: Target, seconds: float) -> str:
    """500 connections of one address request a small file, each again when it has the response."""
    return _flood(target, connections=500, batch=target.get(), seconds=seconds, waits=True)


def new_connections(target: Target, seconds: float) -> str:
    """Four threads open a connection for each request."""

    def once() -> str:
        with target.connect() as sock:
            sock.sendall(target.get().replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            while sock.recv(65536):
                pass
        return ""

    return _repeat(once, 4, seconds)


def idle_connections(target: Target, seconds: float) -> str:
    """10,000 connections send one request each, and then stay open without another."""
    with contextlib.ExitStack() as stack:
        socks: list[socket.socket] = []
        end = time.monotonic() + seconds
        for _ in range(MAX_IDLE):
            try:
                sock = stack.enter_context(target.connect())
                sock.sendall(b"GET / HTTP/1.1\r\nHost: nowhere.localhost\r\n\r\n")
            except OSError as error:
                return f"{len(socks)} connections, then {error}"
            socks.append(sock)
        opened = time.monotonic()
        time.sleep(max(0.0, end - opened))
    return f"{len(socks)} connections"


def visitors_that_do_not_read(target: Target, seconds: float) -> str:
    """1,000 connections request 1 MB, send 256 KB of further requests, and read nothing."""
    with contextlib.ExitStack() as stack:
        end = time.monotonic() + seconds
        for _ in range(1000):
            sock = stack.enter_context(target.connect())
            sock.setblocking(False)
            with contextlib.suppress(OSError):
                sock.send(target.get("/1m") + target.get() * (256 * 1024 // len(target.get())))
        time.sleep(max(0.0, end - time.monotonic()))
    return "1000 connections"


def agent_empty_frames(target: Target, seconds: float) -> str:
    """One agent sends batches of 0.4 MB of empty websocket frames, and connects again when it is cut off."""
    return _flood_link(target, Frame(Opcode.BINARY, b"").serialize(mask=True), seconds)


def agent_pings(target: Target, seconds: float) -> str:
    """One agent sends batches of 0.4 MB of websocket pings, and connects again when it is cut off."""
    return _flood_link(target, Frame(Opcode.PING, b"").serialize(mask=True), seconds)


def agent_messages(target: Target, seconds: float) -> str:
    """One agent sends batches of 0.4 MB of protocol messages without effect, and connects again when it is cut off."""
    unbind = frame(CONTROL, 0, b'{"type":"unbind","tunnel":9}')
    return _flood_link(target, Frame(Opcode.BINARY, unbind).serialize(mask=True), seconds)


def agent_one_byte_data(target: Target, seconds: float) -> str:
    """One agent sends a response with one byte in each DATA frame, to a visitor who reads all of it."""

    async def run() -> str:
        agent = ScriptedAgent()
        await agent.connect(target.port)
        await agent.bind("tiny")
        reader, writer = await asyncio.open_connection("127.0.0.1", target.port, local_addr=(CLIENT, 0))
        writer.write(b"GET / HTTP/1.1\r\nHost: tiny.localhost\r\n\r\n")
        asked = await agent.next()
        head = frame(HEAD, asked.stream.id, pack_head(200, b"Content-Type: text/plain\r\n"))
        agent.link.transport.write(Frame(Opcode.BINARY, head).serialize(mask=True))
        drained, sent, end = asyncio.create_task(_drain(reader)), 0, time.monotonic() + seconds
        one = frame(DATA, asked.stream.id, b"x")
        while time.monotonic() < end and not agent.closed and not drained.done():
            count = min(1000, asked.stream.credit)
            asked.stream.credit -= count
            agent.link.transport.write(Frame(Opcode.BINARY, one * count).serialize(mask=True))
            sent += count
            await asyncio.sleep(0.001)
        writer.close()
        await agent.close()
        await drained
        return f"{sent} frames"

    return asyncio.run(run())


SCENARIOS: dict[str, Callable[[Target, float], str]] = {
    "chunks": one_byte_chunks,
    "chunks-nowhere": one_byte_chunks_nowhere,
    "extensions": chunk_extensions,
    "segments": tiny_segments,
    "pipelining": pipelining,
    "pipelining-nowhere": pipelining_nowhere,
    "gets": gets,
    "gets-many": gets_of_many_connections,
    "new-connections": new_connections,
    "not-reading": visitors_that_do_not_read,
    "idle": idle_connections,
    "agent-empty": agent_empty_frames,
    "agent-pings": agent_pings,
    "agent-messages": agent_messages,
    "agent-bytes": agent_one_byte_data,
}


# Helpers of the scenarios


def _send_body(target: Target, host: str, chunk: bytes, size: int, seconds: float) -> str:
    """Upload a chunked body of `size` bytes, as fast as the relay reads it, and read the response."""
    block = chunk * (65_536 // len(chunk))
    end, sent = time.monotonic() + seconds, 0
    with target.connect() as sock:
        sock.settimeout(seconds)
        try:
            sock.sendall(f"POST /upload HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
            while sent < size and time.monotonic() < end:
                sock.sendall(block)
                sent += len(block)
            sock.sendall(b"0\r\n\r\n")
            answer = sock.recv(65536)
        except OSError as error:
            with contextlib.suppress(OSError):
                answer = sock.recv(65536)
                return f"{sent} bytes, then {error.strerror or error}: {answer[9:12].decode()}"
            return f"{sent} bytes, then {error.strerror or error}"
    return f"{sent} bytes: {answer[9:12].decode() or 'closed'}"


def _flood(target: Target, *, connections: int, batch: bytes, seconds: float, waits: bool = False) -> str:
    """Send a batch of bytes again and again on each of several connections, and read all responses.

    Args:
        waits: Whether a connection sends the next batch only when it has read something.
    """
    end, answers = time.monotonic() + seconds, 0
    selector = selectors.DefaultSelector()
    with contextlib.ExitStack() as stack:
        stack.callback(selector.close)
        for _ in range(connections):
            sock = stack.enter_context(target.connect())
            sock.sendall(batch)
            sock.setblocking(False)
            selector.register(sock, selectors.EVENT_READ | (0 if waits else selectors.EVENT_WRITE))
        while time.monotonic() < end and selector.get_map():
            for key, events in selector.select(0.1):
                try:
                    if events & selectors.EVENT_READ:
                        data = key.fileobj.recv(262_144)  # type: ignore[union-attr]  # always a socket
                        if not data:
                            raise ConnectionResetError
                        answers += data.count(b"HTTP/1.1 ")
                        if waits:
                            key.fileobj.send(batch)  # type: ignore[union-attr]  # always a socket
                    if events & selectors.EVENT_WRITE:
                        key.fileobj.send(batch)  # type: ignore[union-attr]  # always a socket
                except BlockingIOError:
                    continue
                except OSError:
                    selector.unregister(key.fileobj)
        open_still = len(selector.get_map() or ())
    return f"{answers / seconds:.0f} answers a second, {open_still} of {connections} connections open at the end"


def _repeat(work: Callable[[], str], threads: int, seconds: float) -> str:
    """Call `work` again and again in several threads for some seconds."""
    end = time.monotonic() + seconds
    counts, last = [0] * threads, [""] * threads

    def run(index: int) -> None:
        while time.monotonic() < end:
            try:
                last[index] = work()
            except OSError as error:
                last[index] = str(error)
            counts[index] += 1

    running = [threading.Thread(target=run, args=(index,)) for index in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return f"{sum(counts)} times {last[0]}".strip()


def _flood_link(target: Target, unit: bytes, seconds: float) -> str:
    """Open an agent's link and send batches of 0.4 MB of `unit`; open the next link when the relay has closed it."""
    logging.disable()  # the agent's end would log the end of each link

    block = unit * (400_000 // len(unit))

    async def once(end: float) -> int:
        agent = ScriptedAgent()
        await agent.connect(target.port)
        sent = 0
        while time.monotonic() < end and not agent.closed:
            if not agent.link.transport.get_write_buffer_size():
                agent.link.transport.write(block)
                sent += len(block)
            await asyncio.sleep(0.001)
        agent.link.transport.abort()
        return sent

    async def run() -> str:
        end, sent, links = time.monotonic() + seconds, 0, 0
        while time.monotonic() < end:
            try:
                sent += await once(end)
            except DialFailed as failed:
                return f"{sent} bytes on {links} links, then {failed.message}"
            links += 1
        return f"{sent} bytes on {links} links"

    return asyncio.run(run())


async def _drain(reader: asyncio.StreamReader) -> None:
    """Read from a stream until its end, and discard all bytes."""
    with contextlib.suppress(OSError):
        while await reader.read(65_536):
            pass


# The measurement


@dataclasses.dataclass(slots=True)
class Stage:
    """A running relay with its agents, and the door of the victim's tunnel, whose latency is measured."""

    relay: Proc
    victim: Door
    target: Target

    def probe(self, seconds: float, meanwhile: Callable[[], None] = lambda: None) -> LoadResult:
        """Measure latencies of the victim's visitors in milliseconds, each from the time at which the request was due.

        Args:
            meanwhile: Called again and again until the probe has ended.

        Raises:
            LoadFailed: No request was answered, or the probe did not end.
        """
        command = load_command("probe", self.victim, loads.SMALL, PROBE_INTERVAL, seconds)
        end = time.monotonic() + seconds + loads.MAX_OVERRUN
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
            while running.poll() is None:
                meanwhile()
                time.sleep(0.1)
                if time.monotonic() > end:
                    running.kill()
                    raise LoadFailed("the probe did not end in time")
            assert running.stdout is not None
            return parse_load(running.stdout.read())

    def memory_mb(self) -> float:
        """Return the relay's memory in MB, without pages that it shares with other processes."""
        return procs.pss_kib([self.relay.pid], "Pss_Anon") / 1024

    def cpu(self) -> float:
        """Return the CPU seconds that the relay has used so far."""
        return procs.cpu_seconds([self.relay.pid])


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The measurement of one scenario.

    Attributes:
        probe: The victim's latencies during the scenario; None when none of its requests was answered.
        cores: The relay's CPU seconds per second.
        before_mb, most_mb, after_mb: The relay's memory before, at its peak, and after.
        progress: The line of text that the scenario has returned.
    """

    name: str
    probe: LoadResult | None
    cores: float
    before_mb: float
    most_mb: float
    after_mb: float
    progress: str


def measure(stage: Stage, name: str, seconds: float, settle: float) -> Result:
    """Run one scenario in a process of its own while the victim is probed.

    Args:
        settle: Seconds between the start of the scenario and that of the probe.
    """
    memory = [stage.memory_mb()]
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        pool.submit(os.nice, NICE).result()  # this also starts the process before the measurement begins
        abuse = pool.submit(SCENARIOS[name], stage.target, settle + seconds)
        time.sleep(settle)
        start, cpu = time.monotonic(), stage.cpu()
        try:
            probe = stage.probe(seconds, lambda: memory.append(stage.memory_mb()))
        except LoadFailed:
            probe = None
        cores = (stage.cpu() - cpu) / (time.monotonic() - start)
        progress = abuse.result(MAX_SECONDS + loads.MAX_OVERRUN)
    time.sleep(SETTLE_SECONDS)
    return Result(
        name=name,
        probe=probe,
        cores=cores,
        before_mb=memory[0],
        most_mb=max(memory),
        after_mb=stage.memory_mb(),
        progress=progress,
    )


@contextlib.contextmanager
def open_stage(lab: Lab, tree: Path, client: str = CLIENT) -> Iterator[Stage]:
    """Context manager: a relay and three agents of the code in the working tree `tree`, which all answer."""
    folder, port = lab.fresh_folder("abuse"), free_port()
    names = {"victim": lab.files_port, "files": lab.files_port, "sink": lab.sink_port if lab.sink else lab.files_port}
    started: list[Proc] = []

    def start(name: str, module: str, *words: str) -> Proc:
        command = _of_tree(tree, module, *words)
        proc = Proc(command.words, folder / f"{name}.log", command.env)
        started.append(proc)
        return proc

    try:
        data = ("--data-dir", str(folder / "data"), "--admin", f"127.0.0.1:{free_port()}")
        relay = start("relay", "tunnelrelay", "serve", "--http", f"127.0.0.1:{port}", "--domain", "localhost", *data)
        procs.wait_until_listening(port, READY_SECONDS, relay)
        for name, upstream in names.items():
            words = ("http", f"http://127.0.0.1:{upstream}", "--relay", f"http://127.0.0.1:{port}")
            agent = start(name, "tunnelctl", *words, "--subdomain", name, "--log", "false")
            if name != "victim":
                os.setpriority(os.PRIO_PROCESS, agent.pid, NICE)
        for name in names:
            path = loads.SINK if name == "sink" and lab.sink else loads.SMALL
            procs.seconds_until_answer(port, f"{name}.localhost", path, READY_SECONDS)
        yield Stage(relay, Door(port, "victim.localhost"), Target(port, "files.localhost", "sink.localhost", client))
    finally:
        for proc in reversed(started):
            proc.stop()


def _of_tree(tree: Path, module: str, *words: str) -> Command:
    """Return the command that runs a module of a working tree, by that tree's own interpreter if it has one."""
    python = tree / ".venv" / "bin" / "python"
    env = {"PYTHONPATH": f"{tree}{os.pathsep}{tree / 'server'}", "XDG_CONFIG_HOME": NO_CONFIG}
    return Command((str(python), "-m", module, *words), env)


def _table(quiet: LoadResult, results: list[Result]) -> Table:
    table = Table(title=f"quiet: p50 {quiet.p50_ms:.1f} ms, p99 {quiet.p99_ms:.1f} ms")
    for column in (
        "scenario",
        "p50 ms",
        "p99 ms",
        "p99 / quiet",
        "errors",
        "relay cores",
        "MB before, most, after",
        "",
    ):
        table.add_column(column)
    for one in results:
        probe, memory = one.probe, f"{one.before_mb:.0f} {one.most_mb:.0f} {one.after_mb:.0f}"
        figures = ("none", "none", "none", "all")
        if probe is not None:
            ratio = f"{probe.p99_ms / quiet.p99_ms:.1f}"
            figures = (f"{probe.p50_ms:.1f}", f"{probe.p99_ms:.1f}", ratio, str(probe.errors))
        table.add_row(one.name, *figures, f"{one.cores:.2f}", memory, one.progress)
    return table


@click.command()
@click.option("--only", default=",".join(SCENARIOS), help="Scenarios, comma-separated.", show_default=True)
@click.option(
    "--seconds", type=click.FloatRange(1, MAX_SECONDS), default=5.0, help="Length of each.", show_default=True
)
@click.option("--tree", type=click.Path(exists=True, file_okay=False, path_type=Path), default=ROOT, help="Whose code.")
@click.option(
    "--client", default=CLIENT, help="Address of this machine that the peers connect from.", show_default=True
)
@click.option(
    "--settle",
    type=click.FloatRange(0, MAX_SECONDS),
    default=0.0,
    help="Seconds before the probe: leaves the opening of a scenario's connections out.",
    show_default=True,
)
def main(*, only: str, seconds: float, tree: Path, client: str, settle: float) -> None:
    """Measure what hostile visitors and agents cost the others."""
    names = only.split(",")
    if unknown := [name for name in names if name not in SCENARIOS]:
        raise click.BadParameter(f"unknown: {', '.join(unknown)}; known are {', '.join(SCENARIOS)}")
    if not build_load():
        raise click.ClickException("the probe needs a C compiler: apt install gcc libc6-dev")
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="abuse-", ignore_cleanup_errors=True))
        lab = stack.enter_context(open_lab(Path(folder), 0.0))
        stage = stack.enter_context(open_stage(lab, tree, client))
        stage.probe(1.0)
        quiet = stage.probe(seconds)
        results = [measure(stage, name, seconds, settle) for name in names]
    console = Console(width=max(160, Console().width))
    console.print(_table(quiet, results))


if __name__ == "__main__":
    main()
