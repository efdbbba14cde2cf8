"""Fair turns: a flood of requests takes more turns of the loop and not longer ones, and nothing is lost in line."""

from contextlib import AsyncExitStack
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bounds.driving import bound_of, tables
from tests.ingress.scene import GET, HOST, Scene, reset
from tests.support.raw_http import request_bytes
from tunnelrelay.ingress import turns as turns_module
from tunnelrelay.ingress.turns import (
    MAX_BEGUN,
    MAX_OF_ADDRESS,
    MAX_READ,
    MAX_READ_AT_ONCE,
    MIXED_SECONDS,
    Turns,
)


def lines(turns: Turns) -> list[dict[object, dict]]:
    """Who waits for a turn, by side, and to be read, by address."""
    waiting, unread, _ = tables(turns, bound_of("visitors whose next request waits for its turn"))
    return [waiting, unread]


class Loop:
    """Turns by hand.

    Attributes:
        begun: Who began in this turn.
        read: Who was read in this turn after having waited for it.
        connections: How many connections each address has.
    """

    def __init__(self) -> None:
        self.now = 1.0
        self.due: list = []
        self.begun: list[Asker] = []
        self.read: list[Asker] = []
        self.connections: dict[str, int] = {}
        self.turns = Turns(
            self.due.append,
            lambda _, call: self.due.append(call),
            lambda: self.now,
            lambda address: self.connections.get(address, 0),
        )

    def turn(self) -> list:
        self.begun.clear()
        self.read.clear()
        due, self.due[:] = list(self.due), []
        for call in due:
            call()
        return self.begun


class Asker:
    """A connection with a whole head."""

    def __init__(
        self, loop: Loop, host: str = "198.51.100.1", endpoint: str = "a", *, address: str | None = None
    ) -> None:
        self.loop = loop
        self.peer = SimpleNamespace(host=host)
        self.address = self.connected_address = host if address is None else address
        self.last_host = endpoint

    def ask(self) -> bool:
        if self.loop.turns.take(self):
            self.loop.begun.append(self)
            return True
        return False

    def take_turn(self) -> None:
        self.loop.begun.append(self)

    def read_turn(self) -> None:
        self.loop.read.append(self)


@pytest.fixture
def loop() -> Loop:
    return Loop()


def quiet(loop: Loop) -> None:
    """Only one side has asked lately."""
    Asker(loop).ask()
    loop.now += MIXED_SECONDS + 1
    loop.turn()


def test_one_side_alone_begins_all_it_has(loop):
    quiet(loop)
    assert all(Asker(loop).ask() for _ in range(1000))


def test_beside_another_a_flood_begins_a_few_in_each_turn(loop):
    other = Asker(loop, "198.51.100.2", "b")
    other.ask()
    flood = [Asker(loop) for _ in range(100)]
    assert sum(asker.ask() for asker in flood) == MAX_BEGUN
    assert other.ask()
    turns = 0
    while begun := loop.turn():
        turns += 1
        assert len(begun) <= MAX_BEGUN
        assert other.ask()  # whoever asks little never waits
        begun.remove(other)
    assert turns >= 98 // MAX_BEGUN - 1


@pytest.mark.parametrize("address", ["", "198.51.100.1"])
def test_sides_of_one_address_share_its_turn_and_sides_of_this_machine_do_not(loop, address):
    askers = [Asker(loop, endpoint=f"e{number}", address=address) for number in range(100)]
    begun = sum(asker.ask() for asker in askers)

    assert begun == (MAX_OF_ADDRESS if address else 100)


def test_turns_are_shared_no_longer_than_others_ask(loop):
    Asker(loop, "198.51.100.2", "b").ask()
    flood = [Asker(loop) for _ in range(3 * MAX_BEGUN)]
    for asker in flood:
        asker.ask()
    while loop.turn():
        pass
    loop.now += MIXED_SECONDS + 1
    Asker(loop).ask()
    loop.turn()

    assert all(Asker(loop).ask() for _ in range(1000))


def test_one_visitors_fault_ends_no_turn(loop):
    Asker(loop, "198.51.100.2", "b").ask()
    line = [Asker(loop) for _ in range(MAX_BEGUN + 2)]
    for asker in line:
        asker.ask()
    line[MAX_BEGUN].take_turn = lambda: 1 / 0
    loop.turn()

    assert loop.begun == [line[MAX_BEGUN + 1]]


def test_what_a_turn_does_to_the_line_loses_no_one(loop):
    """A request that begins may end its connection, make another visitor leave, or bring the next one of its side."""
    Asker(loop, "198.51.100.2", "b").ask()
    line = [Asker(loop) for _ in range(MAX_BEGUN + 3)]
    for asker in line:
        asker.ask()
    first, leaves, stays = line[MAX_BEGUN:]
    late = Asker(loop)

    def take_turn() -> None:
        loop.begun.append(first)
        loop.turns.leave(leaves)
        late.ask()

    first.take_turn = take_turn
    begun = []
    while loop.turn():
        begun += loop.begun

    assert begun == [first, stays, late]


def test_those_that_left_take_no_turn_and_are_forgotten(loop):
    other = Asker(loop, "198.51.100.2", "b")
    other.ask()
    flood = [Asker(loop) for _ in range(1000)]
    for asker in flood:
        asker.ask()
    stays = flood.pop()
    for asker in flood:
        loop.turns.leave(asker)

    assert stays in loop.turn()
    assert lines(loop.turns) == [{}, {}]


def test_leaving_from_no_line_changes_nothing(loop):
    first, second = Asker(loop), Asker(loop, "198.51.100.2", "b")
    first.ask()
    second.ask()
    loop.turns.leave(first)
    loop.turns.leave(second)

    assert second.ask()


def test_of_an_address_with_many_connections_a_few_are_read_in_each_turn_while_another_asks(loop):
    Asker(loop, "198.51.100.2", "b").ask()
    flood = [Asker(loop) for _ in range(99)]
    loop.connections = {"198.51.100.1": 99, "198.51.100.2": MAX_READ_AT_ONCE}

    assert not any(loop.turns.read(asker) for asker in flood)
    assert all(loop.turns.read(Asker(loop, "198.51.100.2")) for _ in range(50))
    left, stays = flood[::3], [asker for asker in flood if asker not in flood[::3]]
    for asker in left:
        loop.turns.leave(asker)
    read = []
    while lines(loop.turns)[1]:
        loop.turn()
        assert 0 < len(loop.read) <= MAX_READ
        read += loop.read
    assert read == stays


def test_a_visitor_alone_is_read_at_once_on_all_its_connections(loop):
    quiet(loop)
    loop.connections = {"198.51.100.1": 500}

    assert all(loop.turns.read(Asker(loop)) for _ in range(500))


def test_a_fault_of_one_that_is_read_ends_no_turn(loop):
    Asker(loop, "198.51.100.2", "b").ask()
    loop.connections = {"198.51.100.1": 99}
    line = [Asker(loop) for _ in range(MAX_READ)]
    for asker in line:
        loop.turns.read(asker)
    line[0].read_turn = lambda: 1 / 0
    loop.turn()

    assert loop.read == line[1:]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.booleans()), max_size=200))
def test_whatever_comes_everyone_gets_their_turn_once_and_lines_keep_their_order(steps):
    loop = Loop()
    done: list[Asker] = []
    asked: list[Asker] = []
    for host, endpoint, ends_turn in steps:
        asker = Asker(loop, f"198.51.100.{host}", f"e{endpoint}")
        asked.append(asker)
        asker.ask()
        if ends_turn:
            done += loop.begun
            loop.turn()
            done += loop.begun
            loop.begun.clear()
    done += loop.begun
    while begun := loop.turn():
        done += begun

    assert sorted(map(id, done)) == sorted(map(id, asked))
    for side in {(asker.peer.host, asker.last_host) for asker in asked}:
        of_side = [asker for asker in asked if (asker.peer.host, asker.last_host) == side]
        assert [asker for asker in done if asker in of_side] == of_side
    assert lines(loop.turns) == [{}, {}]


NOWHERE = request_bytes("GET", "/", host="nobody.localhost")


@pytest.mark.asyncio(loop_scope="module")
async def test_a_flood_beside_another_visitor_is_answered_whole_and_in_order(s: Scene):
    s.agent.answers = lambda asked: asked.answer(asked.opened.head.split(b" ")[1])
    async with s.visitor() as flooder, s.visitor() as other:
        flooder.writer.write(b"".join(request_bytes("GET", f"/{number}", host=HOST) for number in range(300)))
        for _ in range(20):
            await other.send(NOWHERE)
            assert (await other.response()).status == 404
        for number in range(300):
            assert (await flooder.response()).body == b"/%d" % number


@pytest.mark.asyncio(loop_scope="module")
async def test_many_connections_of_one_address_are_answered_whole_though_they_are_read_by_turns(s: Scene, monkeypatch):
    monkeypatch.setattr(turns_module, "MAX_READ_AT_ONCE", -1)
    s.agent.answers = lambda asked: asked.answer(asked.opened.head.split(b" ")[1])
    waited: set[int] = set()
    _, unread = lines(s.relay.ingress.turns)
    async with AsyncExitStack() as stack:
        visitors = [await stack.enter_async_context(s.visitor()) for _ in range(40)]
        other = await stack.enter_async_context(s.visitor())
        for number in range(5):
            await other.send(NOWHERE)
            for index, visitor in enumerate(visitors):
                await visitor.send(request_bytes("GET", f"/{number}/{index}", host=HOST))
            assert (await other.response()).status == 404
            for index, visitor in enumerate(visitors):
                assert (await visitor.response()).body == b"/%d/%d" % (number, index)
                waited.add(sum(map(len, unread.values())))
    assert max(waited) > 1
    await s.turns(lambda: not unread)


@pytest.mark.asyncio(loop_scope="module")
async def test_heads_that_come_byte_by_byte_are_read_by_turns_too_and_answered(s: Scene, monkeypatch):
    monkeypatch.setattr(turns_module, "MIXED_SECONDS", 3600.0)
    await s.fetch(request_bytes("GET", "/", host="elsewhere.localhost"))
    await s.fetch(NOWHERE)
    monkeypatch.setattr(turns_module, "MAX_READ_AT_ONCE", -1)
    waited: list = []
    async with s.visitor() as visitor:
        visit = await s.visit(visitor)
        for byte in NOWHERE[:-1]:
            await visitor.send(bytes([byte]))
            await s.turns(lambda: visit.reader.awaits_rest_of_head or not visit.transport.is_reading())
            waited.append(not visit.transport.is_reading())
        await visitor.send(NOWHERE[-1:])
        assert (await visitor.response()).status == 404
    assert any(waited)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_request_that_waits_for_its_turn_survives_its_senders_half_close(s: Scene, monkeypatch):
    waiting: list = []
    monkeypatch.setattr(s.relay.ingress.turns, "take", lambda visit: waiting.append(visit))
    async with s.visitor() as visitor:
        await visitor.send(GET)
        visitor.send_eof()
        visit = await s.visit(visitor)
        await s.turns(lambda: waiting and visit.saw_eof)
        monkeypatch.undo()
        visit.take_turn()
        (await s.agent.next()).answer()

        assert (await visitor.response()).status == 200


@pytest.mark.asyncio(loop_scope="module")
async def test_a_request_that_waits_for_its_turn_is_answered_though_the_relay_drains(s: Scene, monkeypatch):
    waiting: list = []
    monkeypatch.setattr(s.relay.ingress.turns, "take", lambda visit: waiting.append(visit))
    async with s.visitor() as visitor:
        await visitor.send(GET)
        visit = await s.visit(visitor)
        await s.turns(lambda: waiting)
        monkeypatch.setattr(s.relay.ingress, "is_draining", True)
        visit.drain()
        assert s.relay.ingress.is_busy
        visit.take_turn()
        (await s.agent.next()).answer()

        response = await visitor.response()
        assert response.status == 200
        assert response.get("connection") == "close"


@pytest.mark.asyncio(loop_scope="module")
async def test_a_visitor_that_leaves_while_it_waits_is_not_served(s: Scene, monkeypatch):
    waiting: list = []
    monkeypatch.setattr(s.relay.ingress.turns, "take", lambda visit: waiting.append(visit))
    async with s.visitor() as visitor:
        await visitor.send(GET)
        visit = await s.visit(visitor)
        await s.turns(lambda: waiting)
        left: list = []
        monkeypatch.setattr(s.relay.ingress.turns, "leave", left.append)
        reset(visitor)
    await s.turns(lambda: visit not in s.relay.ingress.visitors)
    assert left == [visit]
    monkeypatch.undo()
    visit.take_turn()
    await s.agent.round_trip()

    assert s.agent.asked == []
