"""The command line of the bench: `python tests/bench/run.py --help`."""

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

import click
from rich.console import Console

from tests.bench import machine, report
from tests.bench.lab import open_lab
from tests.bench.loads import build_load
from tests.bench.peers import PEERS, YARDSTICK, missing_programs
from tests.bench.plan import Peer
from tests.bench.report import Report
from tests.bench.runner import Options, Sample, run_rounds
from tests.bench.scenarios import LIVES, LOADS, NAMES, LifeScenario, LoadScenario

QUIET_SECONDS = 6.0
"""Seconds that a measurement waits for other work on the machine to end; a quick run waits less."""
QUICK_QUIET_SECONDS = 0.3


def _listed(known: Sequence[str]) -> Callable[[click.Context, click.Parameter, str | None], tuple[str, ...]]:
    """Return a click callback that splits a comma-separated list of known names; without a value it gives all names."""

    def split(_context: click.Context, _option: click.Parameter, value: str | None) -> tuple[str, ...]:
        names = tuple(value.split(",")) if value else tuple(known)
        if unknown := [name for name in names if name not in known]:
            raise click.BadParameter(f"unknown: {', '.join(unknown)}; known are {', '.join(known)}")
        return names

    return split


@click.command()
@click.option("--quick", is_flag=True, help="Windows of one second, one round unless --rounds says otherwise.")
@click.option("--rounds", type=click.IntRange(1, 20), help="Rounds over all peers; medians count. [3]")
@click.option("--only", callback=_listed(NAMES), help=f"Scenarios, comma-separated: {', '.join(NAMES)}.")
@click.option(
    "--peers", callback=_listed([peer.name for peer in PEERS]), help="Peers, comma-separated; all by default."
)
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write everything there.")
@click.option("--markdown", is_flag=True, help="Print a Markdown table in place of the terminal's.")
def main(
    *,
    quick: bool,
    rounds: int | None,
    only: tuple[str, ...],
    peers: tuple[str, ...],
    json_file: Path | None,
    markdown: bool,
) -> None:
    """Measure our tunnel beside others, on this machine, as ratios to nginx proxied twice."""
    signal.signal(signal.SIGTERM, _leave)
    talk = Console(stderr=True)
    options = Options(rounds=rounds or (1 if quick else 3), is_quick=quick)
    chosen, missing = _present([peer for peer in PEERS if peer.name in peers])
    loads_wanted, lives_wanted, missing_tools = _possible(only)
    samples: list[Sample] = []
    with tempfile.TemporaryDirectory(prefix="tunnel-bench-", ignore_cleanup_errors=True) as folder:
        quiet = QUICK_QUIET_SECONDS if quick else QUIET_SECONDS
        with open_lab(Path(folder), quiet) as lab:
            for sample in run_rounds(lab, chosen, loads_wanted, lives_wanted, options, talk.print):
                samples.append(sample)
                talk.print(f"  {sample.scenario} {sample.failure}".rstrip(), highlight=False, markup=False)
    result = Report(
        facts=machine.facts(),
        options=f"{options.rounds} round{'s' * (options.rounds > 1)}, {'1 s' if quick else '2-5 s'} windows, medians",
        peers=[peer.name for peer in chosen],
        samples=samples,
        missing=[*missing_tools, *missing],
        notes=[f"{peer.name}: {peer.note}." for peer in chosen],
    )
    if json_file:
        json_file.write_text(report.as_json(result))
    if markdown:
        click.echo(report.markdown(result), nl=False)
    else:
        report.print_report(result, Console())


def _present(peers: Sequence[Peer]) -> tuple[list[Peer], list[str]]:
    """Return the peers whose programs are on this machine, and a line of text for each other peer."""
    lacks = {peer.name: missing_programs(peer) for peer in peers}
    if lacks.get(YARDSTICK) or missing_programs(next(peer for peer in PEERS if peer.name == YARDSTICK)):
        raise click.ClickException("the bench needs nginx, as file server and as yardstick: apt install nginx-light")
    lines = [f"{peer.name} ({', '.join(lacks[peer.name])}): {peer.hint}" for peer in peers if lacks[peer.name]]
    return [peer for peer in peers if not lacks[peer.name]], lines


def _possible(only: Sequence[str]) -> tuple[list[LoadScenario], list[LifeScenario], list[str]]:
    """Return the scenarios whose load tools are on this machine, and a line of text for each missing tool."""
    loads_wanted = [scenario for scenario in LOADS if scenario.name in only]
    missing = []
    if shutil.which("wrk") is None:
        raise click.ClickException("the bench needs wrk: apt install wrk")
    if not build_load():
        left_out = [scenario.name for scenario in loads_wanted if scenario.needs_load]
        missing.append(f"cc, for {', '.join(left_out)}: apt install gcc libc6-dev")
        loads_wanted = [scenario for scenario in loads_wanted if not scenario.needs_load]
    return loads_wanted, [scenario for scenario in LIVES if scenario.name in only], missing


def _leave(_number: int, _frame: FrameType | None) -> None:
    """Signal handler that ends the run on SIGTERM as Ctrl-C does, so that all processes are stopped."""
    raise SystemExit(128 + signal.SIGTERM)


if __name__ == "__main__":
    os.environ.setdefault("COLUMNS", str(max(shutil.get_terminal_size().columns, 140)))
    main()
