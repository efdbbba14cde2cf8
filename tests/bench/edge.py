"""Measures what an edge with a login costs on the hot path, with a live session and with one tunnel or two.

In the same minutes it measures an open tunnel, and one whose login is set by its agent's flags. A second tunnel is a
second agent, so that each link carries fewer requests at once. The edges are created by the relay's own services in its
data directory, before the measured relay starts.
"""

import asyncio
import statistics
from pathlib import Path

import msgspec

from tests.bench import loads, procs
from tests.bench.lab import READY_SECONDS, Lab, Session, planned_session, wait_for_answer
from tests.bench.login import CLIENT, GUARDED, PAIRS, SECRET, guard_flags, log_in, provider, side_by_side
from tests.bench.peers import agent_command, door_of_name, edge_agent_command
from tests.bench.plan import Command, Peer
from tests.bench.procs import Proc
from tests.bench.traffic import Window
from tunnelctl.wire.messages import OidcSpec
from tunnelrelay.app.relay import Relay
from tunnelrelay.config.config import load_config
from tunnelrelay.services.actor import Actor
from tunnelrelay.services.edge_settings import EdgeSecrets, EdgeSettings
from tunnelrelay.services.edges import EdgeDraft

EDGES = {"lone": 1, "edge": 2}
"""The number of tunnels that serve each edge, by the edge's name."""
OPERATOR = Actor(user_id="", name="bench", owner="local", is_admin=True, via="command")


def edge_policy(lab: Lab, peer: Peer, seconds: float) -> Window:
    """Measure CPU per ten thousand requests at an open tunnel, at an agent's own login and at edges, and the ratios."""
    with provider(lab) as issuer, planned_session(lab, peer, lab.files_port) as session:
        asyncio.run(_set_up(session.folder / "data", issuer))
        session.start_server()
        session.start_clients(session.plan.clients)
        wait_for_answer(session)
        port = session.door.port
        _start(session, "guarded", agent_command(port, lab.files_port, GUARDED, *guard_flags(issuer)))
        for name, count in EDGES.items():
            for number in range(count):
                _start(session, f"{name}{number}", edge_agent_command(port, lab.files_port, name))
        doors = [(session.door, "")]
        for door in (door_of_name(port, name) for name in (GUARDED, *EDGES)):
            procs.seconds_until_answer(port, door.host, loads.SMALL, READY_SECONDS, status=401)
            doors.append((door, log_in(door)))
        rounds = [side_by_side(session, doors, seconds) for _ in range(PAIRS)]
    plain, agents, lone, two = (statistics.median(each[i][0] for each in rounds) for i in range(4))
    figures = {"open": plain, "agent": agents, "lone": lone, "two": two, "times": lone / plain, "beside": lone / agents}
    windows = [window for each in rounds for window in each]
    return Window(figures, sum(window[2] for window in windows), max(window[1].noise for window in windows))


def _start(session: Session, name: str, command: Command) -> None:
    session.clients.append(Proc(command.words, session.folder / f"{name}.log", command.env))


async def _set_up(data_dir: Path, issuer: str) -> None:
    """Create the edges, each with a login, in a relay's data directory."""
    login = OidcSpec(issuer=issuer, client_id=CLIENT, client_secret="")

    def with_login(settings: EdgeSettings) -> EdgeSettings:
        policy = msgspec.structs.replace(settings.policy, oidc=login)
        return msgspec.structs.replace(settings, policy=policy)

    flags = {"http": "127.0.0.1:0", "domain": "localhost", "admin": "off", "data_dir": str(data_dir)}
    async with Relay(load_config(flags=flags, env={})) as relay:
        edges = relay.parts.services.edges
        for name in EDGES:
            edge = await edges.create(OPERATOR, EdgeDraft(host=f"{name}.localhost"))
            await edges.set_policy(OPERATOR, edge.id, with_login, EdgeSecrets(client_secret=SECRET))
