"""`make demo` for people, `make demo CHECK=1` for machines."""

import signal
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tests.demo.check import check
from tests.demo.stage import ALLOWED_DOMAIN, Stage, staged
from tests.support.tools import ROOT

POLL_SECONDS = 0.3


def main() -> int:
    """Runs the demo; the exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console(stderr=True)
    try:
        return run_check(console) if "--check" in sys.argv else run(console)
    except AssertionError as failure:
        console.print(Text("the demo failed: ", style="bold red").append(str(failure), style="default"))
        return 1


def run_check(console: Console) -> int:
    """Signs in headlessly; 0 only when the app's page came through after the login, and not before."""
    with tempfile.TemporaryDirectory() as data_dir, staged(Path(data_dir), only_free_ports=True) as stage:
        for step in check(stage.url):
            console.print(f"[green]ok[/]  {step}", highlight=False)
    return 0


def run(console: Console) -> int:
    """Shows the demo until Ctrl-C."""
    data_dir = ROOT / ".tunnelctl-demo"
    data_dir.mkdir(mode=0o700, exist_ok=True)
    starting = console.status("starting an app, a provider, a relay and a tunnel")
    starting.start()
    try:
        with staged(data_dir, only_free_ports=False) as stage:
            starting.stop()
            console.print(panel(stage))
            return wait(stage, console)
    except KeyboardInterrupt:
        console.print("stopped: the tunnel, the relay, the provider and the app have ended")
        return 0
    finally:
        starting.stop()


def wait(stage: Stage, console: Console) -> int:
    """Until Ctrl-C, or until one of the processes falls."""
    while (fallen := stage.fallen) is None:
        time.sleep(POLL_SECONDS)
    console.print(f"[bold red]{fallen.name} ended by itself[/]")
    console.print(fallen.output, highlight=False, markup=False)
    return 1


def panel(stage: Stage) -> Panel:
    """What to open and how to log in."""
    rows = Table.grid(padding=(0, 2))
    rows.add_row("Open", Text(stage.url, style=f"bold cyan link {stage.url}"))
    rows.add_row("Sign in", Text.from_markup("click [bold]alice[/]: her page comes up, with her name on it"))
    rows.add_row("", Text.from_markup(f"click [bold]mallory[/]: turned away, not from {ALLOWED_DOMAIN}"))
    rows.add_row("A program", Text(f"curl -i {stage.url}   gets 401 and JSON, never a redirect"))
    rows.add_row("Stop", Text("Ctrl-C"))
    command = Text(f"$ {stage.command}", style="dim")
    return Panel(Group(rows, Text(), command), title="One command, a public address, a login in front", padding=(1, 2))


if __name__ == "__main__":
    sys.exit(main())
