"""The live screen as a person sees it: the program at a terminal, narrow, resized, without colour, and with Ctrl-C."""

import asyncio
import os
import re
import signal
import subprocess
import sys

import pytest

from tests.support.raw_http import fetch
from tests.support.terminal import Terminal, at_terminal
from tests.support.waiting import turns
from tests.support.world import world
from tunnelctl import __version__

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX terminals and signals")

COMMAND = [sys.executable, "-m", "tunnelctl"]
AT_90 = """\
tunnel                                                                    (Ctrl+C to quit)

Session Status                online
Account                       local
Version                       VERSION
Relay                         http://127.0.0.1:PORT (from --relay)
Latency                       #ms
Web Interface                 http://127.0.0.1:#
Forwarding                    http://d.localhost:PORT -> http://localhost:#
Who is let in                 anyone who has the address

Connections                   ttl     opn     rt1     rt5     p50     p90
                              1       0       #       #       #ms #ms

HTTP Requests
-------------

#:#:# ZONE GET     /status/418                        418 I'm a Teapot
"""
AT_60 = """\
tunnel                                      (Ctrl+C to quit)

Session Status  online
Account         local
Version         VERSION
Relay           http://127.0.0.1:PORT (from --relay)
Latency         #ms
Web Interface   http://127.0.0.1:#
Forwarding      http://d.localhost:PORT ->
                http://localhost:#
Who is let in   anyone who has the address

Connections     ttl 1  opn 0
                rt1 #  rt5 #
                p50 #ms p90 #ms

HTTP Requests
-------------

#:#:# GET     /status/418              418 I'm a Teapot
"""
AT_40 = """\
tunnel                  (Ctrl+C to quit)

Session Status  online
Account         local
Version         VERSION
Relay           http://127.0.0.1:PORT
                (from --relay)
Latency         #ms
Web Interface   http://127.0.0.1:#
Forwarding      http://d.localhost:PORT
                ->
                http://localhost:#
Who is let in   anyone who has the
                address

Connections     ttl 1  opn 0
                rt1 #  rt5 #
                p50 #ms p90 #ms

HTTP Requests
-------------

#:#:# GET     /status/4… 418 I'm a T…
"""


@pytest.fixture
def environment(tmp_path):
    own = ("TUNNELCTL_", "NO_COLOR", "COLUMNS", "LINES")  # the last two would fix the size
    kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    return {**kept, "XDG_CONFIG_HOME": str(tmp_path), "HOME": str(tmp_path), "TERM": "xterm-256color"}


def demo(w, app, name="demo"):
    return [*COMMAND, "http", str(app.port), f"--relay=http://127.0.0.1:{w.port}", f"--subdomain={name}"]


async def visit(w, target, name="demo"):
    return await fetch(w.port, "GET", target, host=f"{name}.localhost:{w.port}")


def marked(terminal: Terminal, port: int) -> str:
    """The last whole screen, with marks for all that differs from run to run."""
    text = "\n".join(terminal.frame).rstrip() + "\n"
    text = text.replace(__version__, "VERSION").replace(f":{port}", ":PORT")
    text = re.sub(r"^\d+:\d+:\d+(\.\d+ \S+)?", lambda found: "#:#:# ZONE" if found[1] else "#:#:#", text, flags=re.M)
    text = re.sub(r"(?<=http://127\.0\.0\.1:)\d+|(?<=http://localhost:)\d+|(?<=rt[15] )[\d.]+", "#", text)
    text = re.sub(r"<?[\d.]+m?s\b *", "#ms ", text)
    text = re.sub(r"(?<=1       0       )[\d.]+ +[\d.]+ +", "#       #       ", text)
    return re.sub(r" +$", "", text, flags=re.M)


async def test_a_person_sees_ngroks_lines_and_they_fit_when_the_window_is_resized(environment, tmp_path, app):
    async with world(tmp_path / "data") as w, at_terminal(demo(w, app, "d"), env=environment) as seat:
        await seat.until(lambda seen: "Session Status                online" in seen.frame)
        await visit(w, "/status/418", "d")
        for width, expected in ((90, AT_90), (60, AT_60), (40, AT_40), (90, AT_90)):
            seat.resize(width, 30)
            await seat.until(lambda seen, expected=expected: marked(seen, w.port) == expected)
        assert seat.terminal.has_colour
        seat.process.terminate()
        assert await seat.process.wait() == 0


async def test_the_summary_stays_and_the_terminal_is_as_it_was_after_ctrl_c(environment, tmp_path, app):
    async with (
        world(tmp_path / "data", hold_seconds=0.1) as w,
        at_terminal(demo(w, app), env=environment) as seat,
    ):
        assert seat.has_echo
        await seat.until(lambda seen: "Session Status                online" in seen.frame)
        assert not seat.has_echo
        visiting = asyncio.create_task(visit(w, "/held"))
        await turns(lambda: app.seen("/held"))
        seat.type("typed\x03")
        await seat.until(lambda seen: any("stopping, 1 request in flight (Ctrl+C" in line for line in seen.lines))
        seat.type("\x03")
        assert await seat.process.wait() == 0
        seen = await seat.until(lambda seen: not seen.is_alternate and "1 request in" in "\n".join(seen.lines))
        assert seen.lines[0].startswith(f"http://demo.localhost:{w.port} -> http://localhost:{app.port}: 1 request in ")
        assert not any("typed" in line for line in seen.frame)
        assert (seat.has_echo, seen.is_cursor_hidden) == (True, False)
        assert (await visiting).status == 503


async def test_beside_a_log_in_a_file_both_are_told_where_the_local_api_is(environment, tmp_path, app):
    log = tmp_path / "log"
    async with world(tmp_path / "data") as w, at_terminal([*demo(w, app), f"--log={log}"], env=environment) as seat:
        seen = await seat.until(lambda seen: any(line.startswith("Web Interface") for line in seen.frame))
        (shown,) = (line.split()[-1] for line in seen.frame if line.startswith("Web Interface"))
        await seat.until(lambda seen: "Session Status                online" in seen.frame)
    assert f'"starting web service" obj=web addr={shown.removeprefix("http://")}' in log.read_text()


async def test_no_color_takes_the_colours_and_leaves_the_screen(environment, tmp_path, app):
    environment["NO_COLOR"] = "1"
    async with world(tmp_path / "data") as w, at_terminal(demo(w, app), env=environment) as seat:
        seen = await seat.until(lambda seen: "Session Status                online" in seen.frame)
        assert not seen.has_colour


@pytest.mark.parametrize("name", ["dumb", "unknown"])
async def test_a_terminal_that_cannot_be_drawn_on_gets_lines_of_text(environment, tmp_path, app, name):
    environment["TERM"] = name
    async with world(tmp_path / "data") as w, at_terminal(demo(w, app), env=environment, width=200) as seat:
        await seat.until(lambda seen: f"http://demo.localhost:{w.port}" in seen.lines)
        seen = await seat.until(lambda seen: any("started tunnel" in line for line in seen.lines))
        assert "\x1b" not in seen.raw


async def test_off_a_terminal_nothing_is_drawn_and_stdout_has_the_address_alone(environment, tmp_path, app):
    environment |= {"FORCE_COLOR": "1", "CLICOLOR_FORCE": "1"}
    async with world(tmp_path / "data") as w:
        process = await asyncio.create_subprocess_exec(
            *demo(w, app), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert await process.stdout.readline() == f"http://demo.localhost:{w.port}\n".encode()
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
        assert (process.returncode, out) == (0, b"")
        assert b"\x1b" not in err


async def test_under_ngroks_name_the_screen_is_called_so(environment, tmp_path, app):
    async with world(tmp_path / "data") as w:
        command = [sys.executable, "-m", "tunnelctl.cli.shim", *demo(w, app)[len(COMMAND) :]]
        async with at_terminal(command, env=environment) as seat:
            seen = await seat.until(lambda seen: "Session Status                online" in seen.frame)
            assert seen.frame[0].split() == ["ngrok", "(Ctrl+C", "to", "quit)"]
            assert any(re.fullmatch(r"Version {23}3\.\d+\.\d+", line) for line in seen.frame)
