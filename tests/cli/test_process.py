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

import pytest

pytestmark = [
    pytest.mark.timeout(30),
    pytest.mark.skipif(sys.platform == "win32", reason="POSIX terminals and signals"),
]

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
    line = await process.stderr.readline()
    process.send_signal(number)
    out, _ = await process.communicate()
    assert process.returncode == 0
    assert b'msg="failed to reconnect session"' in line
    assert b"refused" in line
    assert out == b""


async def test_json_records_on_stdout_and_nothing_on_stderr(environment, nobody):
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "http", "3000", nobody, "--log=stdout", "--log-format=json",
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    record = json.loads(await process.stdout.readline())
    process.terminate()
    out, err = await process.communicate()
    assert (record["lvl"], record["msg"]) == ("warn", "failed to reconnect session")
    assert all({"t", "lvl", "msg"} <= json.loads(line).keys() for line in out.splitlines())
    assert err == b""


async def test_a_reader_that_goes_away_does_not_end_the_agent(environment, nobody):
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "http", "3000", nobody, "--log=stdout", "--log-level=debug",
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    await process.stdout.readline()
    process._transport.get_pipe_transport(1).close()
    process.terminate()
    assert await process.wait() == 0
    assert b"Traceback" not in await process.stderr.read()


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
