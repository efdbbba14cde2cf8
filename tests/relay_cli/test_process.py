"""`tunnelrelay serve` as a process: what it inherits from the shell that starts it, and what it writes."""

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys

import pytest

from tests.support.pipes import pipe
from tests.support.processes import commands, environment
from tests.support.raw_http import fetch
from tests.support.tools import ROOT
from tests.support.waiting import PATIENCE
from tunnelctl.cli.exits import Exit

LOOK_EVERY = 0.02
"""Seconds between two looks for a file: looking without a pause took as much CPU as the relay's start."""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and pipes")


def command(tmp_path, *flags, anew=False):
    """The command line; `anew` where a test is about what Python itself inherits."""
    program = [sys.executable, "-m", "tunnelrelay"] if anew else [str(commands() / "tunnelrelay")]
    return [*program, "serve", "--http=127.0.0.1:0", "--admin=off", f"--data-dir={tmp_path}", *flags]


@contextlib.asynccontextmanager
async def relay(tmp_path, *flags, ignored=(), more=(), stderr=subprocess.PIPE):
    def ignore():
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)

    process = await asyncio.create_subprocess_exec(
        *command(tmp_path, *flags, anew=bool(ignored)),
        env=environment(dict(more)),
        cwd=ROOT,
        stderr=stderr,
        preexec_fn=ignore if ignored else None,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def until_ready(log):
    lines = []
    while b"relay ready" not in (lines[-1] if lines else b""):
        line = await log.readline()
        assert line, lines
        lines.append(line)
    return lines


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_it_stops_in_order_on_each_signal_that_asks_for_it(tmp_path, number):
    async with relay(tmp_path) as process:
        await until_ready(process.stderr)
        process.send_signal(number)
        rest = await process.stderr.read()
        assert await process.wait() == 0
    assert b"relay stopping" in rest


async def test_signals_that_were_ignored_at_the_start_stay_ignored(tmp_path):
    ignored = [signal.SIGINT, signal.SIGHUP, signal.SIGQUIT]
    async with relay(tmp_path, ignored=ignored) as process:
        await until_ready(process.stderr)
        for number in ignored:
            process.send_signal(number)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


async def test_it_ends_when_nothing_reads_its_log_any_more(tmp_path):
    async with pipe() as read, relay(tmp_path, stderr=read.write_end) as process:
        await until_ready(read.lines)
        read.close()
        assert await process.wait() == Exit.OUTPUT_CLOSED


async def test_every_line_of_a_json_log_is_json_the_first_administrators_link_too(tmp_path):
    async with relay(tmp_path, "--log-format=json") as process:
        lines = await until_ready(process.stderr)
        while b"no administrator yet" not in lines[-1]:
            lines.append(await process.stderr.readline())
        process.terminate()
        lines += (await process.stderr.read()).splitlines()
    records = [json.loads(line) for line in lines]
    (link,) = [record["link"] for record in records if record["msg"].startswith("no administrator yet")]
    assert link.startswith("http://")


@pytest.mark.parametrize("closed", ["<&- >&- 2>&-", "2>&-"])
async def test_it_runs_with_its_standard_streams_closed(tmp_path, closed):
    line = " ".join(command(tmp_path, anew=True))
    process = await asyncio.create_subprocess_shell(f"exec {line} {closed}", env=environment({}), cwd=ROOT)
    control = tmp_path / "control.sock"
    while not await asyncio.to_thread(control.exists):
        assert process.returncode is None
        await asyncio.sleep(LOOK_EVERY)
    assert not any("socket" in os.readlink(f"/proc/{process.pid}/fd/{number}") for number in range(3))
    process.terminate()
    async with asyncio.timeout(PATIENCE):
        await process.wait()
    assert process.returncode == 0


@pytest.mark.parametrize("kind", ["file", "abstract"])
async def test_the_service_manager_is_told_when_it_serves_and_when_it_stops(tmp_path, kind):
    """`Type=notify` of the unit in the guide."""
    address = f"{tmp_path}/notify" if kind == "file" else f"@{tmp_path}/notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address.replace("@", "\0", 1) if kind == "abstract" else address)
        manager.settimeout(PATIENCE)
        async with relay(tmp_path / "data", more={"NOTIFY_SOCKET": address}) as process:
            assert await asyncio.to_thread(manager.recv, 4096) == b"READY=1"
            ready = await until_ready(process.stderr)
            process.terminate()
            assert await asyncio.to_thread(manager.recv, 4096) == b"STOPPING=1"
            assert await process.wait() == 0
    assert ready


async def test_it_serves_though_the_service_manager_has_gone(tmp_path):
    async with relay(tmp_path, more={"NOTIFY_SOCKET": f"{tmp_path}/none"}) as process:
        assert await until_ready(process.stderr)


@pytest.mark.parametrize(("is_journal", "form"), [(True, "text"), (False, "text"), (True, "json")])
async def test_lines_for_the_journal_have_no_time_of_their_own(tmp_path, is_journal, form):
    """The journal writes the time; programs that read JSON go by the record's."""
    ours, journal = socket.socketpair()
    status = os.fstat(journal.fileno())
    stream = f"{status.st_dev}:{status.st_ino if is_journal else status.st_ino + 1}"
    process = await asyncio.create_subprocess_exec(
        *command(tmp_path, f"--log-format={form}"),
        env=environment({"JOURNAL_STREAM": stream}),
        cwd=ROOT,
        stderr=journal,
    )
    journal.close()
    reader, writer = await asyncio.open_connection(sock=ours)
    try:
        line = b""
        while b"relay ready" not in line:
            line = await reader.readline()
            assert line
        http = re.search(rb"127\.0\.0\.1:(\d+)", line)
        await fetch(int(http[1]), "GET", "/some/path", host="nothing.localhost")
        visit = b""
        while b"/some/path" not in visit:
            visit = await reader.readline()
    finally:
        process.terminate()
        await process.wait()
        writer.close()
    begins = {
        ("text", True): rb"info ",
        ("text", False): rb"20\d\d-\d\d-\d\dT\S+ info ",
        ("json", True): rb'\{"time":"20',
    }
    assert re.match(begins[form, is_journal], line)
    assert re.match(begins[form, is_journal], visit)
