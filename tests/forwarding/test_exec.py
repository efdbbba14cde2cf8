"""`tunnel exec` as real processes: each way to fail has its exit code and cause, and no process is left."""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.apps import App, Exchange, running
from tests.support.ports import free_port, is_free
from tests.support.stack import Stack, stacked, until
from tests.support.waiting import PATIENCE
from tunnelctl.cli.exits import RunExit
from tunnelctl.forwarding import errors

HIT = 'curl -fs "$TUNNELCTL_LOCAL_URL/" > /dev/null'
APP = "import http.server, sys; http.server.test(http.server.SimpleHTTPRequestHandler, port=int(sys.argv[1]))"


async def ok(exchange: Exchange) -> None:
    await exchange.respond(200, "ok")


async def broken(exchange: Exchange) -> None:
    await exchange.respond(503, "starting")


async def moved(exchange: Exchange) -> None:
    await exchange.respond(302, "", [("Location", "/setup")])


@dataclass(frozen=True)
class Ended:
    """How a run ended."""

    code: int
    out: str
    err: str


class Runs:
    """Starts runs against one relay, with settings of no user."""

    def __init__(self, relay: str, home: Path) -> None:
        self.relay = relay
        self._environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "TMPDIR": str(home),
            "TUNNELCTL_AUTHTOKEN": "ta_of-the-run-0123456789",
            "NGROK_API_KEY": "ak_of-the-run-0123456789",
        }
        self._home = home

    def start(self, upstream: int, *words: str) -> "subprocess.Popen[str]":
        relay = () if any(word.startswith("--relay") for word in words) else (f"--relay={self.relay}",)
        command = [sys.executable, "-m", "tunnelctl", "exec", str(upstream), *relay, *words]
        return subprocess.Popen(
            command,
            env=self._environ,
            cwd=self._home,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, upstream: int, *words: str, script: str = HIT) -> Ended:
        command = () if "--" in words else ("--", "sh", "-c", script)
        process = self.start(upstream, *words, *command)
        out, err = process.communicate(timeout=PATIENCE)
        return Ended(process.returncode, out, err)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with stacked(tmp_path_factory.mktemp("relay")) as stack:
        yield stack


@pytest.fixture
def runs(stack: Stack, tmp_path: Path) -> Runs:
    return Runs(f"http://127.0.0.1:{stack.port}", tmp_path)


@pytest.fixture(scope="module")
def app() -> Iterator[App]:
    with running(App({"/": ok, "/broken": broken, "/moved": moved})) as app:
        yield app


def up(port: int, *, then: str = "") -> str:
    return f"--up={then}exec {shlex.join([sys.executable, '-c', APP, str(port)])}"


def test_a_run_that_is_good_ends_with_0_and_prints_only_what_the_command_prints(runs: Runs, app: App) -> None:
    ended = runs.run(app.port, "--basic-auth=ann:correct-horse", script=f'{HIT} && echo "$TUNNELCTL_URL"; env >&2')
    assert (ended.code, ended.out.startswith("http://"), ended.out.count("\n")) == (0, True, 1)
    assert "of-the-run" not in ended.err
    assert "TUNNELCTL_AUTHTOKEN" not in ended.err


def test_the_app_is_started_and_ended(runs: Runs) -> None:
    port = free_port()
    assert runs.run(port, up(port)).code == 0
    assert is_free(port)


FAILURES = {
    "1 the relay refuses": (["--relay=http://127.0.0.1:{free}", "--ready-timeout=0.5"], HIT, 110, "connection refused"),
    "4 no relay": (["--relay=http://127.0.0.1:{app}"], HIT, 110, "is no relay"),
    "13 the app answers 5xx": (["--ready-path=/broken", "--ready-timeout=1"], HIT, 113, "app: GET /broken gave 503"),
    "14 the ready path": (["--ready-path=/moved", "--ready-timeout=1"], HIT, 113, "app: GET /moved gave 302 to /setup"),
    "18 rules keep the run out": (["--cidr-deny=0.0.0.0/0"], HIT, 118, "login: the endpoint's rules keep this run out"),
    "19 the port is in use": (["--up=true"], HIT, 117, "listens at localhost:{app} already"),
    "24 no request": ([], "true", 115, "0 of 1 requests reached the app"),
    "24 too few": (["--require-hits=2"], HIT, 115, "1 of 2 requests reached the app"),
    "25 refused at the relay": (
        ["--basic-auth=ann:correct-horse", "--subdomain=refused"],
        "curl -s -H 'Host: refused.localhost' http://127.0.0.1:{relay}/; true",
        115,
        "0 of 1 requests",
    ),
    "27 the command is killed": ([], "kill -9 $$", 137, ""),
    "28 the command fails": ([], "exit 7", 7, ""),
    "29 a misspelt flag": (["--sub-domain=x"], HIT, 116, "--sub-domain"),
    "29 a wrong value": (["--subdomain=not a name"], HIT, 116, "--subdomain"),
    "29 an empty variable": (["--oidc="], HIT, 116, "--oidc"),
}
"""Row of the truth table to flags, script, exit code and a part of the message."""


@pytest.mark.parametrize(("flags", "script", "code", "text"), FAILURES.values(), ids=FAILURES)
def test_each_failure_has_its_code_and_its_cause(
    stack: Stack, runs: Runs, app: App, flags: list[str], script: str, code: int, text: str
) -> None:
    places = {"free": free_port(), "app": app.port, "relay": stack.port}
    filled = [flag.format(**places) if "{" in flag else flag for flag in flags]
    ended = runs.run(app.port, *filled, script=script.replace("{relay}", str(stack.port)))

    assert (ended.code, ended.out if code >= 110 and code != 115 else "") == (code, "")
    assert text.format(**places) in ended.err.replace("\n", " ")


def test_row12_an_app_that_never_listens(runs: Runs) -> None:
    ended = runs.run(free_port(), "--ready-timeout=0.5")
    assert ended.code == 113
    assert "app: nothing listens" in ended.err


def test_row20_an_app_that_ends_before_it_is_ready(runs: Runs) -> None:
    ended = runs.run(free_port(), "--up=echo it cannot start; exit 3")
    assert ended.code == 117
    assert "ended with 3" in ended.err
    assert "it cannot start" in ended.err


def test_row21_an_app_that_ends_while_the_command_runs(runs: Runs) -> None:
    port = free_port()
    ends_the_app = f"app=$(pgrep -f 'http.server.test.* {port}$'); kill $app; while kill -0 $app; do sleep 0.02; done"
    script = f"{HIT}; {ends_the_app} 2> /dev/null; exit"
    assert runs.run(port, up(port), script=f"{script} 0").code == 117
    assert runs.run(port, up(port), script=f"{script} 4").code == 4


def test_row26_a_command_that_cannot_be_started(runs: Runs, app: App, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("text")
    assert runs.run(app.port, "--", "./none").code == 127
    assert runs.run(app.port, "--", "./text").code == 126


def test_row11_a_name_that_is_taken_over_ends_the_command(stack: Stack, runs: Runs, app: App) -> None:
    process = runs.start(app.port, "--subdomain=taken", "--", "sh", "-c", "echo ready; sleep 600")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    stack.tunnel(app.port, "--subdomain=taken")
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 112
    assert "taken over" in err


def test_row5_a_refused_credential(tmp_path: Path, app: App) -> None:
    with stacked(tmp_path / "data", "--multi-tenant=true") as other:
        ended = Runs(f"http://127.0.0.1:{other.port}", tmp_path).run(app.port)
    assert ended.code == 111
    assert "refuses the credential" in ended.err
    assert "ta_of-the-run" not in ended.err


# Nothing survives


def processes_with(marker: str) -> list[int]:
    """The processes that have this text among their arguments."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if marker.encode() in entry.read_bytes():
                found.append(int(entry.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
@pytest.mark.parametrize("which", ["guard", "worker"])
def test_no_process_survives_whichever_of_the_two_is_killed(runs: Runs, which: str, number: signal.Signals) -> None:
    port = free_port()
    marker = f"of-run-{port}"
    daemon = f"setsid sh -c 'sleep 600; : {marker}' > /dev/null 2>&1 &"
    script = f"{daemon} (sleep 600; : {marker}) & echo ready; sleep 600; : {marker}"
    process = runs.start(port, up(port, then=f": {marker}; "), "--", "sh", "-c", script)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(process.pid if which == "guard" else int(children[0]), number)

    process.communicate(timeout=PATIENCE)
    served = f"port=int(sys.argv[1]))\0{port}"
    until(lambda: not processes_with(marker) + processes_with(served), "all processes of the run to end")
    assert process.returncode == (-9 if (which, number) == ("guard", 9) else 128 + (9 if number == 9 else 15))


def test_the_codes_of_the_command_are_those_of_the_errors() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.TunnelError)]
    assert sorted(kind.exit_code for kind in kinds if kind is not errors.TunnelError) == sorted(map(int, RunExit))
