"""A relay and an agent that are started with few open files: what they raise, what the relay says, whom it refuses."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.support import processes
from tests.support.app_routes import sample_app
from tests.support.ports import free_port
from tests.support.processes import Child
from tests.support.raw_http import RawConnection, connect, request_bytes
from tests.support.scripted_agent import ScriptedAgent, scripted_agent
from tests.support.stack import is_listening, until
from tests.support.waiting import PATIENCE
from tunnelctl.link.dial import DialFailed
from tunnelrelay.ingress.files import LINKS_SHARE, OWN_FILES, VISITORS_SHARE

pytest.importorskip("resource", reason="this system has no limit of open files")

HOST = "demo.localhost"
GET = request_bytes("GET", "/", host=HOST)


@contextmanager
def limited(name: str, soft: int, hard: int, *args: str) -> Iterator[Child]:
    """A program of ours, started with these limits."""
    child = processes.python(name, *args, files=(soft, hard))
    try:
        yield child
    finally:
        child.stop()


@contextmanager
def relay_with(folder: Path, soft: int, hard: int) -> Iterator[tuple[Child, int]]:
    port = free_port()
    flags = (f"--http=127.0.0.1:{port}", f"--admin=127.0.0.1:{free_port()}", f"--data-dir={folder / 'data'}")
    with limited("relay", soft, hard, "tunnelrelay", "serve", *flags, "--log-format=json") as child:
        until(lambda: is_listening(port), "the relay to listen", child=child)
        yield child, port


def limits_of(child: Child) -> list[str]:
    """Soft and hard, as the system has them."""
    lines = Path(f"/proc/{child.pid}/limits").read_text().splitlines()
    return next(line.split()[3:5] for line in lines if line.startswith("Max open files"))


def told(child: Child) -> str:
    return next((line for line in child.lines if "few visitors can be connected at once" in line), "")


@pytest.mark.parametrize(("soft", "hard"), [(256, 1024), (256, 256), (300, 700)])
def test_a_relay_takes_the_files_it_may_have_and_says_when_they_are_few(tmp_path: Path, soft: int, hard: int) -> None:
    with relay_with(tmp_path, soft, hard) as (child, _port):
        assert limits_of(child) == [str(hard), str(hard)]
        visitors = int((hard - OWN_FILES) * VISITORS_SHARE)
        until(lambda: told(child) != "", "the warning", child=child)
        record = json.loads(told(child))
        assert (record["visitors"], record["open_files"]) == (visitors, hard)
        assert "LimitNOFILE" in record["hint"]


def test_an_agent_takes_the_files_it_may_have(tmp_path: Path) -> None:
    with relay_with(tmp_path, 1024, 1024) as (_, port), sample_app() as app:
        flags = (f"--relay=http://127.0.0.1:{port}", "--log=stdout", "--log-format=json")
        with limited("agent", 64, 512, "tunnelctl", "http", str(app.port), *flags) as child:
            child.wait_for_record("started tunnel")
            assert limits_of(child) == ["512", "512"]


async def test_with_256_files_idle_visitors_make_room_and_busy_ones_are_kept(tmp_path: Path) -> None:
    """The relay never runs out of files: its links and its own pages go on."""
    with relay_with(tmp_path, 256, 256) as (child, port):
        async with scripted_agent(port) as agent, AsyncExitStack() as stack:

            async def visitor() -> RawConnection:
                return await stack.enter_async_context(connect(port))

            for _ in range(300):
                await visitor()
            last = await visitor()
            await last.send(GET)
            (await agent.next()).answer(body=b"there")
            assert (await last.response()).body == b"there"

            room = int((256 - OWN_FILES) * VISITORS_SHARE)
            busy = []
            for _ in range(room):
                busy.append(await visitor())
                await busy[-1].send(GET)
            asked = [await agent.next() for _ in busy]
            late = await visitor()
            with suppress(ConnectionError):
                await late.send(GET)
                assert await late.rest() == b""
            for each in asked:
                each.answer()
            assert [(await each.response()).status for each in busy] == [200] * room
        assert sum("all visitor connections are taken" in line for line in child.lines) >= 1
        assert not [line for line in child.lines if "Too many open files" in line or "Traceback" in line]


async def test_with_256_files_agents_beyond_their_part_are_told_to_come_later(tmp_path: Path) -> None:
    links = int((256 - OWN_FILES) * LINKS_SHARE)
    with relay_with(tmp_path, 256, 256) as (child, port):
        agents = []
        refused = None
        for _ in range(links + 1):
            agents.append(ScriptedAgent(""))
            try:
                await agents[-1].connect(port)
            except DialFailed as error:
                refused = error
                agents.pop()
                break
        assert refused is not None
        assert (refused.status, refused.wait > 0) == (503, True)
        assert 0 < len(agents) <= links
        await agents.pop().close()
        async with asyncio.timeout(PATIENCE):
            while True:  # the relay notices that it went
                try:
                    async with scripted_agent(port) as agent, connect(port) as one:
                        await one.send(GET)
                        (await agent.next()).answer()
                        assert (await one.response()).status == 200
                        break
                except DialFailed:
                    await asyncio.sleep(0)
        for each in agents:
            await each.close()
        assert not [line for line in child.lines if "Too many open files" in line or "Traceback" in line]
