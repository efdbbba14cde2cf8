"""Scenarios about a tunnel as a whole: its start, a crash of its server, memory while idle, and `--version`."""

import subprocess
import time
from collections.abc import Callable

from tests.bench import procs
from tests.bench.lab import READY_SECONDS, Lab, Session, open_session, planned_session, wait_for_answer
from tests.bench.loads import SMALL
from tests.bench.peers import ours
from tests.bench.plan import Peer
from tests.bench.traffic import Window

SETTLE_SECONDS = 1.0
"""Seconds before memory is read, in which allocators and handshakes come to rest."""
TUNNELS = 100
"""Idle tunnels whose memory is measured: enough to drown the noise of a single page."""
MANY_SECONDS = 60.0
"""Seconds in which all `TUNNELS` must answer; ssh starts a process on each side for every tunnel."""
VERSION_RUNS = 5
"""Runs of `tunnel --version`; the median counts, as the first run reads from disk."""


def start(lab: Lab, peer: Peer, _seconds: float) -> Window:
    """Measure the time from the start of a peer's client, with its server running, to the tunnel's first response."""
    with planned_session(lab, peer, lab.files_port) as session:
        session.start_server()
        lab.wait_for_quiet()
        begun = time.monotonic()
        session.start_clients(session.plan.clients)
        wait_for_answer(session)
        return Window({"seconds": time.monotonic() - begun})


def recover_after(down: float) -> Callable[[Lab, Peer, float], Window]:
    """Return a scenario that kills a peer's server and starts it again after `down` seconds.

    It measures the time from the moment at which the new server listens to the tunnel's first response.
    """

    def measure(lab: Lab, peer: Peer, _seconds: float) -> Window:
        with open_session(lab, peer, lab.files_port) as session:
            for server in session.servers:
                server.kill()
            time.sleep(down)
            session.start_server()
            return Window({"seconds": wait_for_answer(session)})

    return measure


def memory(lab: Lab, peer: Peer, _seconds: float) -> Window:
    """Measure a server's memory with one idle tunnel, and what each further tunnel adds (PSS; KB of 1,024 bytes).

    Only anonymous memory counts as added: pages of files do not belong to a tunnel, and the server's share of them
    falls when the clients' processes map the same files.
    """
    with planned_session(lab, peer, lab.files_port, TUNNELS) as session:
        first, *others = session.plan.clients
        session.start_server()
        session.start_clients([first])
        wait_for_answer(session)
        time.sleep(SETTLE_SECONDS)
        whole, one = session.server_kib("Pss"), session.server_kib("Pss_Anon")
        session.start_clients(others)
        _wait_for_all(session)
        time.sleep(SETTLE_SECONDS)
        many = session.server_kib("Pss_Anon")
    return Window({"relay": whole / 1024, "tunnel": (many - one) / (TUNNELS - 1)})


def version(_lab: Lab, _peer: Peer, _seconds: float) -> Window:
    """Measure how long `tunnel --version` takes."""
    runs = sorted(_timed_version() for _ in range(VERSION_RUNS))
    return Window({"seconds": runs[VERSION_RUNS // 2]})


def _timed_version() -> float:
    begun = time.monotonic()
    command = ours("tunnelctl", "--version")
    env = procs.environment(command.env)
    subprocess.run(command.words, env=env, check=True, capture_output=True, timeout=READY_SECONDS)
    return time.monotonic() - begun


def _wait_for_all(session: Session) -> None:
    """Send a request through every tunnel, so that each is up and has served one request."""
    end = time.monotonic() + MANY_SECONDS
    for door in session.plan.doors:
        procs.seconds_until_answer(door.port, door.host, SMALL, max(0.1, end - time.monotonic()))
