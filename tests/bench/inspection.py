"""Measures what the agent's inspector costs: a small request through an inspected tunnel and through one that is not.

Both tunnels are on one relay, and their measurements alternate, so that other work on the machine affects both.
"""

import statistics

from tests.bench import loads, procs
from tests.bench.lab import READY_SECONDS, Lab, open_session
from tests.bench.login import PAIRS, side_by_side
from tests.bench.peers import agent_command, door_of_name
from tests.bench.plan import Peer
from tests.bench.procs import Proc
from tests.bench.traffic import Window

PLAIN = "plain"


def inspection(lab: Lab, peer: Peer, seconds: float) -> Window:
    """Measure CPU per ten thousand requests without inspection and with it, and their ratio."""
    with open_session(lab, peer, lab.files_port) as session:
        port = session.door.port
        plain = door_of_name(port, PLAIN)
        command = agent_command(port, lab.files_port, PLAIN, "--inspect=false")
        session.clients.append(Proc(command.words, session.folder / "plain.log", command.env))
        procs.seconds_until_answer(port, plain.host, loads.SMALL, READY_SECONDS)
        pairs = [side_by_side(session, [(plain, ""), (session.door, "")], seconds) for _ in range(PAIRS)]
    off, on = (statistics.median(pair[i][0] for pair in pairs) for i in (0, 1))
    noise = max(window[1].noise for pair in pairs for window in pair)
    errors = sum(window[2] for pair in pairs for window in pair)
    return Window({"off": off, "on": on, "times": on / off}, errors, noise)
