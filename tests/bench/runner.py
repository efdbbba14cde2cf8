"""Runs the scenarios in rounds over all peers, so that changes of the machine's speed affect all of them alike."""

import dataclasses
import statistics
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence

from tests.bench import loads
from tests.bench.lab import Lab, Session, open_session
from tests.bench.loads import LoadFailed
from tests.bench.peers import OURS
from tests.bench.plan import Peer
from tests.bench.procs import NotReady
from tests.bench.scenarios import LifeScenario, LoadScenario
from tests.bench.traffic import Window

NOISY_CORES = 0.2
"""A window in which other processes took more than this many cores is measured again."""
WARM_UP_SECONDS = 1.0
QUICK_SECONDS = 1.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The figures of one measured window of one peer, or why there are none.

    Attributes:
        failure: Why the measurement failed; empty when there are figures.
        noise: Cores that other processes or the hypervisor took meanwhile; None when it was not measured.
    """

    peer: str
    scenario: str
    round: int
    figures: Mapping[str, float]
    errors: int = 0
    noise: float | None = None
    failure: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How long and how often each scenario is measured."""

    rounds: int
    is_quick: bool

    @property
    def tries(self) -> int:
        """How often a window is measured at most while other processes disturb it."""
        return 1 if self.is_quick else 3

    def seconds(self, wanted: float) -> float:
        """Return the length of a scenario's window in seconds."""
        return min(wanted, QUICK_SECONDS) if self.is_quick else wanted


def run_rounds(
    lab: Lab,
    peers: Sequence[Peer],
    loads_wanted: Sequence[LoadScenario],
    lives_wanted: Sequence[LifeScenario],
    options: Options,
    tell: Callable[[str], None],
) -> Iterable[Sample]:
    """Run all rounds, and yield the samples as they come. Every second round takes the peers in reverse order."""
    for number in range(1, options.rounds + 1):
        for peer in peers if number % 2 else tuple(reversed(peers)):
            tell(f"round {number} of {options.rounds}: {peer.name}")
            lives = [life for life in lives_wanted if _applies(life, peer, number)]
            try:
                yield from _loads_of(lab, peer, loads_wanted, options, number)
                for life in lives:
                    yield _life_of(lab, peer, life, options, number)
            except NotReady as error:
                # A peer that does not start would use up its whole time limit in each of the other scenarios too.
                yield _failure(peer, "the rest of this round", number, error)


def _applies(life: LifeScenario, peer: Peer, number: int) -> bool:
    if not life.in_rounds and number > 1:
        return False
    return (peer.name == OURS or not life.only_ours) and (peer.can_multiply or not life.needs_many)


def _loads_of(lab: Lab, peer: Peer, wanted: Sequence[LoadScenario], options: Options, number: int) -> Iterable[Sample]:
    for needs_sink in (False, True):
        left = [scenario for scenario in wanted if scenario.needs_sink == needs_sink]
        while left:
            yield from _one_session(lab, peer, left, options, number)


def _one_session(lab: Lab, peer: Peer, left: list[LoadScenario], options: Options, number: int) -> Iterable[Sample]:
    """Measure the scenarios in `left`, and remove each from the list. A failure ends the session; the rest stays."""
    try:
        with open_session(lab, peer, lab.sink_port if left[0].needs_sink else lab.files_port) as session:
            loads.run_wrk(session.door, loads.SMALL, 16, WARM_UP_SECONDS)
            while left:
                window = _quietest(session, left[0], options)
                yield _sample(peer, left.pop(0).name, number, window)
    except (LoadFailed, OSError, subprocess.SubprocessError) as error:
        yield _failure(peer, left.pop(0).name, number, error)


def _quietest(session: Session, scenario: LoadScenario, options: Options) -> Window:
    """Measure a scenario until a window is quiet enough. Returns that window, or the quietest of all tries."""
    best: Window | None = None
    for _ in range(options.tries):
        window = scenario.measure(session, options.seconds(scenario.seconds))
        if best is None or _noise(window) < _noise(best):
            best = window
        if _noise(best) <= NOISY_CORES:
            break
    if best is None:
        raise LoadFailed("nothing was tried")
    return best


def _life_of(lab: Lab, peer: Peer, life: LifeScenario, options: Options, number: int) -> Sample:
    try:
        return _sample(peer, life.name, number, life.measure(lab, peer, options.seconds(life.seconds)))
    except (LoadFailed, OSError, subprocess.SubprocessError) as error:
        return _failure(peer, life.name, number, error)


def _noise(window: Window) -> float:
    return window.noise or 0.0


def _sample(peer: Peer, scenario: str, number: int, window: Window) -> Sample:
    return Sample(
        peer=peer.name,
        scenario=scenario,
        round=number,
        figures=window.figures,
        errors=window.errors,
        noise=window.noise,
    )


def _failure(peer: Peer, scenario: str, number: int, error: Exception) -> Sample:
    return Sample(peer=peer.name, scenario=scenario, round=number, figures={}, failure=str(error))


def medians(samples: Iterable[Sample]) -> dict[tuple[str, str], float]:
    """Return the median of every figure over the rounds, by peer and `SCENARIO.FIGURE`."""
    values: dict[tuple[str, str], list[float]] = {}
    for sample in samples:
        for name, value in sample.figures.items():
            values.setdefault((sample.peer, f"{sample.scenario}.{name}"), []).append(value)
    return {key: statistics.median(found) for key, found in values.items()}
