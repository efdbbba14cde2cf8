"""Connections and open files: the relay takes what it may have, keeps some for itself, and makes room when full."""

import logging
import socket
import subprocess
import sys
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from tests.ingress.scene import GET, Scene, closed_without_clean_end, reset
from tests.support.waiting import PATIENCE
from tunnelrelay.ingress import files
from tunnelrelay.ingress.files import OWN_FILES, visitors_at_once, warn_when_few
from tunnelrelay.ingress.ingress import FULL_SECONDS, MAX_VISITORS

pytest.importorskip("resource", reason="this system has no limit of open files")

RAISED = """
import resource
from tunnelctl.openfiles import raise_limit
from tunnelrelay.ingress.files import visitors_at_once
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 2048))
raise_limit()
print(*resource.getrlimit(resource.RLIMIT_NOFILE), visitors_at_once())
"""


def test_the_relay_takes_all_the_files_it_may_have():
    done = subprocess.run([sys.executable, "-c", RAISED], capture_output=True, text=True, check=True, timeout=PATIENCE)

    assert done.stdout.split() == ["2048", "2048", str((2048 - OWN_FILES) * 3 // 4)]


@pytest.mark.parametrize("limit", [64, 128, 256, 1024, 4096, 30_000])
def test_visitors_leave_files_for_the_relay_itself(limit: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(files, "open_file_limit", lambda: limit)

    assert 1 <= visitors_at_once() <= MAX_VISITORS
    assert visitors_at_once() == 1 or visitors_at_once() + OWN_FILES < limit


def test_no_limit_of_files_leaves_the_relays_own(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(files, "open_file_limit", lambda: 0)

    assert visitors_at_once() == MAX_VISITORS


@pytest.mark.parametrize(("limit", "warns"), [(1024, True), (4096, True), (65_536, False)])
def test_a_small_limit_is_logged_with_what_to_do(limit: int, warns: bool, monkeypatch, caplog):
    monkeypatch.setattr(files, "open_file_limit", lambda: limit)
    with caplog.at_level(logging.WARNING):
        warn_when_few(visitors_at_once())

    assert ("LimitNOFILE" in caplog.text) is warns


@pytest.fixture
def few(s: Scene, monkeypatch: pytest.MonkeyPatch) -> int:
    """As many connections as the relay has room for."""
    monkeypatch.setattr(s.relay.ingress, "settings", replace(s.relay.ingress.settings, max_visitors=40))
    return 40


@pytest.mark.asyncio(loop_scope="module")
async def test_idle_connections_make_room_for_a_new_one(s: Scene, few: int, caplog):
    async with AsyncExitStack() as stack:
        stack.enter_context(s.later(2 * FULL_SECONDS))  # since it was logged last
        busy = await stack.enter_async_context(s.visitor())
        asked = await s.exchange(busy)
        idle = [await stack.enter_async_context(s.visitor()) for _ in range(few + 20)]
        last = await stack.enter_async_context(s.visitor())
        (await s.exchange(last)).answer()
        assert (await last.response()).status == 200
        assert s.relay.ingress.visitor_count <= few
        asked.answer()
        assert (await busy.response()).status == 200
        assert await closed_without_clean_end(idle[0]) == b""

    assert caplog.text.count("all visitor connections are taken") == 1


@pytest.mark.asyncio(loop_scope="module")
async def test_where_all_are_busy_the_new_one_is_refused_and_none_is_cut(s: Scene, few: int):
    async with AsyncExitStack() as stack:
        before = s.relay.metrics.counts["limited"].get("visitor_connections", 0)
        busy = [await stack.enter_async_context(s.visitor()) for _ in range(few)]
        asked = [await s.exchange(visitor) for visitor in busy]
        async with s.visitor() as late:
            late.writer.write(GET)
            assert await closed_without_clean_end(late) == b""
        assert s.relay.metrics.counts["limited"]["visitor_connections"] == before + 1
        for one in asked:
            one.answer()
        for visitor in busy:
            assert (await visitor.response()).status == 200
            reset(visitor)


@pytest.mark.asyncio(loop_scope="module")
async def test_an_address_with_many_connections_closes_nothing_of_others(s: Scene, few: int, monkeypatch):
    ingress = s.relay.ingress
    async with AsyncExitStack() as stack:
        monkeypatch.setattr(ingress.known, "address_of", lambda peer: "203.0.113.7")
        for _ in range(2 * few):
            await stack.enter_async_context(s.visitor())
        monkeypatch.setattr(ingress.known, "address_of", lambda peer: "203.0.113.8")
        other = await stack.enter_async_context(s.visitor())
        (await s.exchange(other)).answer()

        assert (await other.response()).status == 200
        assert ingress.visitor_count <= few


@pytest.mark.asyncio(loop_scope="module")
async def test_an_address_that_has_its_share_closes_nothing_of_others_when_it_is_refused(
    s: Scene, few: int, monkeypatch
):
    ingress = s.relay.ingress
    before = s.relay.metrics.counts["limited"].get("visitor_connections", 0)
    async with AsyncExitStack() as stack:
        for number in range(few):
            address = "203.0.113.7" if number < 32 else f"203.0.113.{number}"
            monkeypatch.setattr(ingress.known, "address_of", lambda peer, address=address: address)
            visitor = await stack.enter_async_context(s.visitor())
            await s.turns(lambda number=number: ingress.visitor_count == number + 1)
        monkeypatch.setattr(ingress.known, "address_of", lambda peer: "203.0.113.7")
        async with s.visitor() as one_more:
            assert await closed_without_clean_end(one_more) == b""
        assert s.relay.metrics.counts["limited"]["visitor_connections"] == before + 1
        assert ingress.visitor_count == few
        (await s.exchange(visitor)).answer()
        assert (await visitor.response()).status == 200


@pytest.mark.asyncio(loop_scope="module")
async def test_a_visitor_that_waits_for_its_turn_is_not_closed_for_another(s: Scene, few: int, monkeypatch):
    ingress = s.relay.ingress
    async with AsyncExitStack() as stack:
        waiting = await stack.enter_async_context(s.visitor())
        visit = await s.visit(waiting)
        with monkeypatch.context() as patch:
            patch.setattr(ingress.turns, "take", lambda visit: False)
            await waiting.send(GET)
            await s.turns(lambda: not visit.can_be_closed)
        idle = [await stack.enter_async_context(s.visitor()) for _ in range(few)]
        assert await closed_without_clean_end(idle[0]) == b""
        visit.take_turn()
        (await s.agent.next()).answer()

        assert (await waiting.response()).status == 200


@pytest.mark.asyncio(loop_scope="module")
async def test_a_visitor_that_still_reads_its_answer_is_not_closed_for_another(s: Scene, few: int):
    body = b"x" * 100_000  # less than a stream's window and the send buffer hold, more than two small sockets do
    async with AsyncExitStack() as stack:
        reading = await stack.enter_async_context(s.visitor())
        reading.writer.transport.pause_reading()
        visit = await s.visit(reading)
        reading.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        visit.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        asked = await s.exchange(reading)
        asked.answer(body=body)
        await s.turns(lambda: visit.exchange is None and visit.transport.get_write_buffer_size() > 0)
        idle = [await stack.enter_async_context(s.visitor()) for _ in range(few)]
        assert await closed_without_clean_end(idle[0]) == b""
        reading.writer.transport.resume_reading()

        assert (await reading.response()).body == body
