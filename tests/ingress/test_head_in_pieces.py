"""Heads that come in pieces: judged as if they came at once."""

import pytest

from tests.ingress.scene import HOST, Scene, error_of
from tests.support.raw_http import request_bytes

LONG = request_bytes("GET", "/", host=HOST, fields=[("X-Long", "x" * 20_000)])


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("at", [40, 1000, len(LONG) - 4])
async def test_a_bare_lf_in_a_later_piece_is_refused_at_once(s: Scene, at: int):
    async with s.visitor() as visitor:
        visit = await s.visit(visitor)
        for piece in (LONG[: at // 2], LONG[at // 2 : at], b"\n"):
            visit.data_received(piece)
        response = await visitor.response()

    assert (response.status, error_of(response)) == (400, "bad_request")


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("back", range(6))
async def test_the_end_of_a_head_may_be_cut_anywhere(s: Scene, back: int):
    async with s.visitor() as visitor:
        visit = await s.visit(visitor)
        for _ in range(2):
            visit.data_received(LONG[: len(LONG) - back])
            for at in range(len(LONG) - back, len(LONG)):
                visit.data_received(LONG[at : at + 1])
            (await s.agent.next()).answer()
            assert (await visitor.response()).status == 200


@pytest.mark.asyncio(loop_scope="module")
async def test_a_second_head_in_pieces_is_searched_from_its_own_begin(s: Scene):
    async with s.visitor() as visitor:
        visit = await s.visit(visitor)
        visit.data_received(LONG[:5000])
        visit.data_received(LONG[5000:])
        (await s.agent.next()).answer()
        assert (await visitor.response()).status == 200
        visit.data_received(b"GET / HTTP/1.1\nHost: ")
        response = await visitor.response()

    assert (response.status, error_of(response)) == (400, "bad_request")
