"""`tunnelrelay serve` as a process: what it inherits from the shell that starts it, and what it writes."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys

import pytest

from tests.support.processes import environment
from tests.support.tools import ROOT
from tests.support.waiting import PATIENCE
from tunnelctl.cli.exits import Exit

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and pipes")


def command(tmp_path, *flags):
    where = ["--http=127.0.0.1:0", "--admin=off", f"--data-dir={tmp_path}"]
    return [sys.executable, "-m", "tunnelrelay", "serve", *where, *flags]


@contextlib.asynccontextmanager
async def relay(tmp_path, *flags, ignored=()):
    def ignore():
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)

    process = await asyncio.create_subprocess_exec(
        *command(tmp_path, *flags), env=environment({}), cwd=ROOT, stderr=subprocess.PIPE, preexec_fn=ignore
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def until_ready(process):
    lines = []
    while b"relay ready" not in (lines[-1] if lines else b""):
        line = await process.stderr.readline()
        assert line, lines
        lines.append(line)
    return lines


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_it_stops_in_order_on_each_signal_that_asks_for_it(tmp_path, number):
    async with relay(tmp_path) as process:
        await until_ready(process)
        process.send_signal(number)
        rest = await process.stderr.read()
        assert await process.wait() == 0
    assert b"relay stopping" in rest


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
async def test_a_signal_that_was_ignored_at_the_start_stays_ignored(tmp_path, number):
    async with relay(tmp_path, ignored=[number]) as process:
        await until_ready(process)
        process.send_signal(number)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


async def test_it_ends_when_nothing_reads_its_log_any_more(tmp_path):
    async with relay(tmp_path) as process:
        await until_ready(process)
        process._transport.get_pipe_transport(2).close()
        assert await process.wait() == Exit.OUTPUT_CLOSED


async def test_every_line_of_a_json_log_is_json_the_first_administrators_link_too(tmp_path):
    async with relay(tmp_path, "--log-format=json") as process:
        lines = await until_ready(process)
        while b"no administrator yet" not in lines[-1]:
            lines.append(await process.stderr.readline())
        process.terminate()
        lines += (await process.stderr.read()).splitlines()
    records = [json.loads(line) for line in lines]
    (link,) = [record["link"] for record in records if record["msg"].startswith("no administrator yet")]
    assert link.startswith("http://")


@pytest.mark.parametrize("closed", ["<&- >&- 2>&-", "2>&-"])
async def test_it_runs_with_its_standard_streams_closed(tmp_path, closed):
    line = " ".join(command(tmp_path))
    process = await asyncio.create_subprocess_shell(f"exec {line} {closed}", env=environment({}), cwd=ROOT)
    control = tmp_path / "control.sock"
    while not await asyncio.to_thread(control.exists):
        assert process.returncode is None
        await asyncio.sleep(0)
    assert not any("socket" in os.readlink(f"/proc/{process.pid}/fd/{number}") for number in range(3))
    process.terminate()
    async with asyncio.timeout(PATIENCE):
        await process.wait()
    assert process.returncode == 0
