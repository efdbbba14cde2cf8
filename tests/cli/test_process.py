"""`tunnel` as a process: exit codes, signals, streams, the terminal."""

import asyncio
import contextlib
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from tests.support.pipes import pipe
from tests.support.raw_http import fetch
from tests.support.waiting import turns
from tests.support.world import world
from tunnelctl.cli.exits import Exit

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX terminals and signals")

COMMAND = [sys.executable, "-m", "tunnelctl"]


@pytest.fixture
def environment(tmp_path):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TUNNELCTL_")}
    return {**kept, "XDG_CONFIG_HOME": str(tmp_path), "HOME": str(tmp_path), "TERM": "xterm-256color"}


@contextlib.asynccontextmanager
async def answering(status, body=b""):
    """A server that answers everything with this status."""

    async def handle(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (status, len(body), body))
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"--relay=http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def run(environment, *arguments):
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_a_ci_job_without_an_identity_ends_with_3_and_says_why(environment):
    """A run for a pull request from a fork, for one: GitHub gives it no address to ask for tokens."""
    job = environment | {"GITHUB_ACTIONS": "true"}

    code, out, err = await run(job, "http", "3000", "--authtoken=oidc", "--relay=http://127.0.0.1:1")

    assert (code, out) == (Exit.NOT_ALLOWED, "")
    assert "GitHub gave this job no identity" in err
    assert "forks" in err


async def line_with(stream, words):
    """The next line that has these words."""
    while words not in (line := await stream.readline()):
        assert line, f"the log ended without {words}"
    return line


@pytest.fixture
def nobody():
    """The flag for a relay whose port is taken, and where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"--relay=http://127.0.0.1:{taken.getsockname()[1]}"


async def test_a_server_that_is_no_relay_is_exit_code_4(environment):
    async with answering(b"404 Not Found") as relay:
        code, out, err = await run(environment, "http", "3000", relay, "--log=false")
    assert code == 4
    assert err.startswith("error: there is no relay at http://127.0.0.1:")
    assert "hint: is --relay the address" in err
    assert not out


async def test_a_token_that_is_not_taken_is_exit_code_3_with_the_relays_words(environment):
    body = json.dumps({"error": {"message": "this token was revoked", "hint": "ask Ann"}}).encode()
    async with answering(b"401 Unauthorized", body) as relay:
        code, _, err = await run(environment, "http", "3000", relay, "--authtoken=x", "--log=false")
    assert code == 3
    assert "this token was revoked" in err
    assert "hint: ask Ann" in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_asked_to_stop_while_the_relay_is_away_is_exit_code_0(environment, nobody, number):
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "http", "3000", nobody, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    line = await line_with(process.stderr, b'msg="failed to reconnect session"')
    process.send_signal(number)
    out, _ = await process.communicate()
    assert process.returncode == 0
    assert b"refused" in line
    assert out == b""


async def test_json_records_on_stdout_and_nothing_on_stderr(environment, nobody):
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "http", "3000", nobody, "--log=stdout", "--log-format=json",
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    record = json.loads(await line_with(process.stdout, b"failed to reconnect session"))
    process.terminate()
    out, err = await process.communicate()
    assert record["lvl"] == "warn"
    assert all({"t", "lvl", "msg"} <= json.loads(line).keys() for line in out.splitlines())
    assert err == b""


@pytest.mark.parametrize("log", ["--log=stdout", "--log=stderr"])
async def test_an_agent_whose_logs_reader_goes_away_ends_as_a_shell_reports_sigpipe(environment, nobody, log):
    """It writes nothing at that moment, and is not asked to stop either."""
    async with pipe() as read:
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, log.removeprefix("--log="): read.write_end}
        process = await asyncio.create_subprocess_exec(
            *COMMAND, "http", "3000", nobody, log, env=environment, **streams
        )
        await read.lines.readline()
        read.close()
        assert await process.wait() == Exit.OUTPUT_CLOSED
    if process.stderr is not None:
        assert b"Traceback" not in await process.stderr.read()


async def test_a_script_that_has_read_the_address_may_leave_and_the_log_says_so(environment, tmp_path, app):
    """`read -r url < <(tunnel http 3000)`"""
    async with world(tmp_path / "data") as w, pipe() as read:
        process = await asyncio.create_subprocess_exec(
            *COMMAND, "http", str(app.port), f"--relay=http://127.0.0.1:{w.port}", "--subdomain=demo",
            env=environment, stdout=read.write_end, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert await read.lines.readline() == f"http://demo.localhost:{w.port}\n".encode()
        read.close()
        while b"no reader any more" not in await process.stderr.readline():
            assert process.returncode is None
        assert (await fetch(w.port, "GET", "/status/200", host=f"demo.localhost:{w.port}")).status == 200
        process.terminate()
        assert await process.wait() == 0


def test_what_is_left_on_the_terminal_is_the_address_and_how_many_requests(environment, tmp_path, nobody):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "http", "3000", nobody], env=environment, stdin=theirs, stdout=theirs, stderr=theirs
    )
    shown = b""
    while b"reconnecting" not in shown:
        shown += os.read(ours, 65536)
    process.send_signal(signal.SIGINT)
    while b"0 requests in" not in shown:
        shown += os.read(ours, 65536)
    assert process.wait() == 0
    assert b"no address was served: 0 requests in" in shown.partition(b"\x1b[?1049l")[2]
    os.close(ours)
    os.close(theirs)


async def test_a_json_log_on_stderr_ends_with_a_record_and_no_lines_of_text(environment):
    async with answering(b"404 Not Found") as relay:
        code, _, err = await run(environment, "http", "3000", relay, "--log=stderr", "--log-format=json")
    records = [json.loads(line) for line in err.splitlines()]
    assert code == 4
    assert (records[-1]["lvl"], records[-1]["msg"]) == ("crit", "command failed")
    assert "there is no relay at" in records[-1]["err"]


@pytest.mark.parametrize("where", [["--log=stderr"], ["--log=stdout"], ["--log=stdout", "--log-format=json"], []])
async def test_a_warning_about_what_was_typed_stands_in_the_log(environment, where):
    async with answering(b"404 Not Found") as relay:
        _, out, err = await run(environment, "http", "3000", relay, "--authtoken=sesame12", *where)
    log = out if "--log=stdout" in where else err
    assert "--authtoken is on the command line" in log.splitlines()[0]
    assert "sesame12" not in out + err


async def test_a_warning_stands_on_stderr_too_when_that_shows_no_log(environment, tmp_path):
    async with answering(b"404 Not Found") as relay:
        for where in (f"--log={tmp_path / 'log'}", "--log=false"):
            _, _, err = await run(environment, "http", "3000", relay, "--authtoken=sesame12", where)
            assert err.startswith("warning: --authtoken is on the command line")
    assert "--authtoken is on the command line" in (tmp_path / "log").read_text()


async def test_a_log_that_is_a_named_pipe_without_a_reader_any_more_ends_it_too(environment, nobody, tmp_path):
    pipe = tmp_path / "log"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "http", "3000", nobody, f"--log={pipe}", env=environment, stderr=subprocess.PIPE
    )
    heard = asyncio.Event()
    asyncio.get_running_loop().add_reader(reader, heard.set)
    await heard.wait()
    asyncio.get_running_loop().remove_reader(reader)
    os.close(reader)
    assert await process.wait() == Exit.OUTPUT_CLOSED
    assert b"Traceback" not in await process.stderr.read()


async def lines_of(process, *messages):
    """Reads the JSON log on stdout up to the last of these messages, in any order. Returns their records."""
    found = {}
    while found.keys() != set(messages):
        record = json.loads(await process.stdout.readline())
        if record["msg"] in messages:
            found[record["msg"]] = record
    return found


@contextlib.asynccontextmanager
async def logging(environment, *arguments):
    """The command as a process with a JSON log on stdout."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *arguments, "--log=stdout", "--log-format=json",
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_start_none_has_a_session_and_waits(environment, tmp_path):
    async with world(tmp_path / "data") as w:
        async with logging(environment, "start", "--none", f"--relay=http://127.0.0.1:{w.port}") as process:
            said = await lines_of(process, "client session established", "tunnel session started")
            assert {one["obj"] for one in said.values()} == {"tunnels.session"}
            (session,) = w.relay.parts.acceptor.sessions
            assert session.tunnels == {}
            process.terminate()
            out, err = await process.communicate()
        assert (process.returncode, err) == (0, b"")
        assert [json.loads(line)["msg"] for line in out.splitlines()] == ["received stop request"]


async def test_start_all_keeps_what_is_not_refused_says_why_the_other_ended_and_ends_with_the_last(
    environment, tmp_path, app
):
    config = tmp_path / "tunnels.yml"
    config.write_text(
        f"version: 3\ntunnels:\n  bad: {{addr: {app.port}, subdomain: dashboard}}\n"
        f"  good: {{addr: {app.port}, subdomain: good}}\n"
    )
    async with world(tmp_path / "data") as w:
        relay = f"--relay=http://127.0.0.1:{w.port}"
        async with logging(environment, "start", "--all", relay, f"--config={config}") as process:
            said = await lines_of(process, "started tunnel", "tunnel ended")
            assert (said["started tunnel"]["name"], said["started tunnel"]["let_in"]) == (
                "good",
                "anyone who has the address",
            )
            assert (said["tunnel ended"]["lvl"], said["tunnel ended"]["name"]) == ("eror", "bad")
            assert "dashboard" in said["tunnel ended"]["err"]
            assert (await fetch(w.port, "GET", "/status/200", host=f"good.localhost:{w.port}")).status == 200
            await w.tunnel(app.port, subdomain="good")
            assert await process.wait() == Exit.USAGE
            err = (await process.stderr.read()).decode()
        assert "error: bad: " in err
        assert "error: good: good.localhost was taken over" in err


async def test_a_killed_agent_leaves_nothing_behind(environment, tmp_path, app):
    async with world(tmp_path / "data", hold_seconds=0.1) as w:
        relay = f"--relay=http://127.0.0.1:{w.port}"
        async with logging(environment, "http", str(app.port), relay, "--subdomain=demo") as process:
            await lines_of(process, "started tunnel")
            assert w.relay.registry.find("demo.localhost") is not None
            process.kill()
            await process.wait()
            with pytest.raises(ProcessLookupError):
                os.killpg(process.pid, 0)
            await turns(lambda: not w.relay.parts.acceptor.sessions)
        assert (await fetch(w.port, "GET", "/status/200", host=f"demo.localhost:{w.port}")).status in (404, 503)


def ignores(pid, number):
    status = Path(f"/proc/{pid}/status").read_text()
    (mask,) = [int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigIgn:")]
    return bool(mask >> (number - 1) & 1)


@pytest.mark.parametrize("name", ["SIGHUP", "SIGINT", "SIGTERM", "SIGQUIT"])
async def test_a_signal_that_was_ignored_at_the_start_stays_ignored(environment, nobody, name):
    """As under nohup, and in a background job of a shell that runs a script."""
    ignored = getattr(signal, name)
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "http", "3000", nobody, "--log-level=debug", env=environment, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(ignored, signal.SIG_IGN),
    )  # fmt: skip
    await process.stderr.readline()
    process.send_signal(ignored)
    assert ignores(process.pid, ignored)
    for _ in range(3):  # it goes on dialling
        assert await process.stderr.readline()
    process.kill() if ignored is signal.SIGTERM else process.terminate()
    assert await process.wait() == (-signal.SIGKILL if ignored is signal.SIGTERM else 0)


@pytest.mark.parametrize("closed", ["<&- >&- 2>&-", ">&-", "2>&-", "<&- 2>&-"])
async def test_it_runs_with_any_of_its_standard_streams_closed(environment, tmp_path, closed):
    """And none of its sockets gets the number of a stream: what is meant for stderr would be sent to the relay."""
    dialled = asyncio.Queue()
    server = await asyncio.start_server(lambda reader, writer: dialled.put_nowait((reader, writer)), "127.0.0.1", 0)
    relay = f"--relay=http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    command = " ".join([*COMMAND, "http", "3000", relay, "--log-level=debug"])
    process = await asyncio.create_subprocess_shell(f"exec {command} {closed}", env=environment)
    reader, writer = await dialled.get()
    assert (await reader.readline()).startswith(b"GET /_tunnel/connect ")
    assert not any("socket" in os.readlink(f"/proc/{process.pid}/fd/{number}") for number in range(3))
    process.terminate()
    assert await process.wait() == 0
    writer.close()
    server.close()


async def test_version_into_a_closed_pipe_is_no_traceback(environment):
    reader, writer = os.pipe()
    os.close(reader)
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "--help", env=environment, stdout=writer, stderr=subprocess.PIPE
    )
    os.close(writer)
    _, err = await process.communicate()
    assert b"Traceback" not in err


def test_the_screen_leaves_the_terminal_as_it_was(environment, nobody):
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    process = subprocess.Popen(
        [*COMMAND, "http", "3000", nobody, "--authtoken=sesame"],
        env=environment, stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    shown = b""
    while b"reconnecting" not in shown:
        shown += os.read(ours, 65536)
    echo_while_shown = termios.tcgetattr(theirs)[3] & termios.ECHO
    process.send_signal(signal.SIGINT)
    while b"\x1b[?1049l" not in shown:
        shown += os.read(ours, 65536)
    assert process.wait() == 0
    assert b"\x1b[?1049h" in shown
    assert not echo_while_shown
    assert b"sesame" not in shown
    assert b"--authtoken is on the command line" in shown
    assert termios.tcgetattr(theirs) == before
    os.close(ours)
    os.close(theirs)
