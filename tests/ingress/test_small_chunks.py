"""Bodies in very small chunks: bounded work for each turn of the loop, an end for floods, time for slow senders."""

import pytest

from tests.ingress.scene import GET, HOST, Scene, closed_without_clean_end, error_of
from tests.support.raw_http import request_bytes
from tests.support.scripted_agent import Asked
from tunnelctl.http1.body import SAMPLE_BYTES, SAMPLE_SECONDS
from tunnelctl.http1.request_reader import MAX_CHUNKED_SKIPPED, MAX_LINES
from tunnelrelay.ingress.ingress import MAX_READ

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHUNKED = [("Transfer-Encoding", "chunked")]
UPLOAD = request_bytes("POST", "/", host=HOST, fields=CHUNKED)
NOWHERE = request_bytes("POST", "/", host="nobody.localhost", fields=CHUNKED)
TINY = b"1\r\nx\r\n"


async def began_upload(s: Scene, visitor) -> Asked:
    """An upload whose head has arrived before its body: else both would be judged together."""
    return await s.exchange(visitor, UPLOAD)


@pytest.mark.parametrize("chunk", [TINY, b"1;\r\nx\r\n", b"1f\r\n" + b"x" * 31 + b"\r\n", b"00000001\r\nx\r\n"])
async def test_a_flood_of_small_chunks_ends_with_400(s: Scene, chunk: bytes):
    async with s.visitor() as visitor:
        asked = await began_upload(s, visitor)
        visitor.writer.write(chunk * (6_000_000 // len(chunk)))
        response = await visitor.response()
        await asked.until(lambda: asked.reset is not None)

    assert (response.status, error_of(response)) == (400, "chunks_too_small")
    assert len(asked.body) <= SAMPLE_BYTES + MAX_READ
    assert s.log[-1].error == "chunks_too_small"


async def test_it_counts_as_a_limit(s: Scene):
    before = limited(s, "small_chunks")
    async with s.visitor() as visitor:
        await began_upload(s, visitor)
        visitor.writer.write(TINY * 50_000)
        await visitor.response()

    assert limited(s, "small_chunks") == before + 1


async def test_a_flood_after_the_answer_began_breaks_it_off(s: Scene):
    async with s.visitor() as visitor:
        asked = await began_upload(s, visitor)
        asked.head(200, b"")
        asked.data(b"began")
        await visitor.read(10)
        visitor.writer.write(TINY * 500_000)
        await closed_without_clean_end(visitor)
        await asked.until(lambda: asked.reset is not None)

    assert s.log[-1].error == "chunks_too_small"


async def test_a_turn_decodes_a_bounded_number_of_chunks(s: Scene):
    async with s.visitor() as visitor:
        asked = await began_upload(s, visitor)
        visit = await s.visit(visitor)
        sizes: list[int] = []
        send = visit.exchange.carried.send
        visit.exchange.carried = Spy(visit.exchange.carried, lambda data: (sizes.append(len(data)), send(data, False)))
        visitor.writer.write(TINY * 8_000 + b"0\r\n\r\n")
        await asked.until(lambda: asked.is_complete)

    assert asked.body == b"x" * 8_000
    assert max(sizes) <= MAX_LINES
    assert len(sizes) < 8_000 / MAX_LINES * 2 + 10


def limited(s: Scene, limit: str) -> int:
    return s.relay.metrics.counts["limited"].get(limit, 0)


class Spy:
    """What carries a request, watched."""

    def __init__(self, carried, on_send) -> None:
        self._carried = carried
        self._on_send = on_send

    def send(self, data, fin: bool) -> None:
        self._on_send(bytes(data))

    def __getattr__(self, name: str):
        return getattr(self._carried, name)


async def test_a_slow_sender_may_send_small_chunks_for_ever(s: Scene):
    async with s.visitor() as visitor:
        asked = await began_upload(s, visitor)
        count = SAMPLE_BYTES // len(TINY) // 2
        for turn in range(8):
            with s.later(SAMPLE_SECONDS * turn):
                visitor.writer.write(TINY * count)
                await asked.until(lambda turn=turn: len(asked.body) == count * (turn + 1))
        await visitor.send(b"0\r\n\r\n")
        await asked.until(lambda: asked.is_complete)
        asked.answer()

        assert (await visitor.response()).status == 200


async def test_a_visitor_that_only_drips_chunks_is_read_to_its_end(s: Scene):
    async with s.visitor() as visitor:
        asked = await began_upload(s, visitor)
        for count in range(1, 200):
            await visitor.send(TINY)
            await asked.until(lambda count=count: len(asked.body) == count)
        await visitor.send(b"0\r\n\r\n")
        await asked.until(lambda: asked.is_complete)


@pytest.mark.parametrize("size", [1, 100, 4_000])
async def test_a_refused_body_in_chunks_is_read_no_further_than_its_bound(s: Scene, size: int):
    async with s.visitor() as visitor:
        visitor.writer.write(NOWHERE + (b"%x\r\n%b\r\n" % (size, b"x" * size)) * (4_000_000 // size // 4))
        assert (await visitor.response()).status == 404
        visit = await s.visit(visitor)
        await s.turns(lambda: visit.is_lingering)

        assert visit.reader.skipped <= MAX_CHUNKED_SKIPPED + MAX_READ


async def test_behind_a_small_refused_body_the_next_request_is_read(s: Scene):
    async with s.visitor() as visitor:
        visitor.writer.write(NOWHERE + TINY * 5_000 + b"0\r\n\r\n" + GET)
        assert (await visitor.response()).status == 404
        (await s.agent.next()).answer()

        assert (await visitor.response()).status == 200


async def test_small_pieces_of_a_response_that_come_in_one_turn_go_out_together(s: Scene):
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor)
        asked.head(200, b"")
        head = await visitor.head()
        for _ in range(1000):
            asked.data(b"x")
        asked.end()
        chunks = [chunk async for chunk in visitor.chunks(head)]

        assert b"".join(chunks) == b"x" * 1000
        assert len(chunks) < 100


async def test_pieces_of_any_size_arrive_whole_and_in_order(s: Scene):
    sizes = [1, 5000, 1, 1, 70_000, 3, 4095, 4096, 1]
    pieces = [bytes([65 + number]) * size for number, size in enumerate(sizes)]
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor)
        asked.head(200, b"")
        for piece in pieces:
            asked.data(piece)
        asked.data(b"end", fin=True)

        assert (await visitor.response()).body == b"".join(pieces) + b"end"


async def test_pieces_that_came_before_a_reset_are_not_lost_behind_their_head(s: Scene):
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor)
        asked.head(200, b"")
        await visitor.head()
        asked.data(b"some")
        await s.agent.round_trip()
        assert await visitor.read(9) == b"4\r\nsome\r\n"
