"""The table of all scenarios of the bench, in the order in which they are measured. START HERE.

There are two kinds: a `LoadScenario` puts load on a running tunnel, which the scenarios next to it in the table use
too; a `LifeScenario` starts and ends what it measures. metrics.py has the names and targets of the figures.
"""

import dataclasses
from collections.abc import Callable

from tests.bench import edge, inspection, lifecycle, login, traffic
from tests.bench.lab import Lab, Session
from tests.bench.plan import Peer
from tests.bench.traffic import Window


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LoadScenario:
    """A scenario that loads a running tunnel.

    Attributes:
        seconds: Length of the window; `--quick` measures one second.
        needs_sink: Whether the upstream is our own sink (load.c) instead of nginx with files.
        needs_load: Whether load.c makes the load.
    """

    name: str
    measure: Callable[[Session, float], Window]
    seconds: float
    needs_sink: bool = False
    needs_load: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LifeScenario:
    """A scenario about a tunnel as a whole, such as its start.

    Attributes:
        only_ours: Whether only our tunnel can be measured.
        needs_many: Whether the scenario opens many tunnels, which not every peer can.
        in_rounds: Whether every round measures the scenario; otherwise it is measured once.
    """

    name: str
    measure: Callable[[Lab, Peer, float], Window]
    seconds: float = 0.0
    only_ours: bool = False
    needs_many: bool = False
    in_rounds: bool = True


LOADS: tuple[LoadScenario, ...] = (
    LoadScenario(name="small1", measure=traffic.small(1), seconds=2),
    LoadScenario(name="small16", measure=traffic.small(16), seconds=4),
    LoadScenario(name="small64", measure=traffic.small(64), seconds=4),
    LoadScenario(name="newconn", measure=traffic.small(16, "-H", "Connection: close"), seconds=3),
    LoadScenario(name="dl1", measure=traffic.downloads(1), seconds=3),
    LoadScenario(name="dl8", measure=traffic.downloads(8), seconds=3),
    LoadScenario(name="beside_bulk", measure=traffic.beside_bulk, seconds=5, needs_load=True),
    LoadScenario(name="beside_stalled", measure=traffic.beside_stalled, seconds=3, needs_load=True),
    LoadScenario(name="ul1", measure=traffic.uploads(1), seconds=3, needs_sink=True, needs_load=True),
    LoadScenario(name="ul8", measure=traffic.uploads(8), seconds=3, needs_sink=True, needs_load=True),
    LoadScenario(name="ws64", measure=traffic.websocket_echo(64), seconds=3, needs_sink=True, needs_load=True),
)

LIVES: tuple[LifeScenario, ...] = (
    LifeScenario(name="session", measure=login.session_check, seconds=3, only_ours=True),
    LifeScenario(name="edge", measure=edge.edge_policy, seconds=3, only_ours=True),
    LifeScenario(name="inspect", measure=inspection.inspection, seconds=3, only_ours=True),
    LifeScenario(name="start", measure=lifecycle.start),
    LifeScenario(name="recover", measure=lifecycle.recover_after(1.0)),
    LifeScenario(name="recover_late", measure=lifecycle.recover_after(5.0)),
    LifeScenario(name="memory", measure=lifecycle.memory, needs_many=True, in_rounds=False),
    LifeScenario(name="version", measure=lifecycle.version, only_ours=True, in_rounds=False),
)

NAMES: tuple[str, ...] = (*(load.name for load in LOADS), *(life.name for life in LIVES))
