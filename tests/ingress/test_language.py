"""Whatever the relay says to a visitor is in the visitor's language: from the router, the gate, and its own pages."""

from collections.abc import Iterator

import pytest

from tests.ingress.scene import HOST, Scene
from tests.pages.gallery import pseudo
from tests.support.raw_http import request_bytes
from tunnelctl.wire.messages import PolicySpec
from tunnelrelay.pages.catalogue import catalogues, chosen

pytestmark = pytest.mark.asyncio(loop_scope="module")

PSEUDO = "en-XA"


@pytest.fixture(autouse=True)
def another_language(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A second catalogue, as if somebody had translated the pages."""
    monkeypatch.setitem(catalogues(), PSEUDO.lower(), pseudo())
    chosen.cache_clear()
    yield
    chosen.cache_clear()


def ask(path: str, *, host: str = HOST, languages: str = "fr, en-xa;q=0.9", accept: str = "text/html") -> bytes:
    return request_bytes("GET", path, host=host, fields=[("Accept", accept), ("Accept-Language", languages)])


async def test_the_router_speaks_the_visitors_language(s: Scene):
    response = await s.fetch(ask("/", host="nobody.localhost"))
    assert (response.status, response.get("content-language")) == (404, PSEUDO)
    assert f'<html lang="{PSEUDO}" dir="ltr">' in response.text


async def test_the_gate_speaks_the_visitors_language(s: Scene):
    await s.agent.bind("demo", policy=PolicySpec(basic_auth=("ann:secret-word",)))
    response = await s.fetch(ask("/"))
    assert (response.status, response.get("content-language")) == (401, PSEUDO)


async def test_the_relays_own_pages_speak_the_visitors_language(s: Scene):
    response = await s.fetch(ask("/_tunnel/nothing-of-the-kind"))
    assert (response.status, response.get("content-language")) == (404, PSEUDO)


async def test_a_head_that_was_read_in_part_still_names_its_language(s: Scene):
    response = await s.fetch(ask("/")[:-2] + b"Cookie: " + b"x" * 40_000 + b"\r\n\r\n")
    assert (response.status, response.get("content-language")) == (431, PSEUDO)


async def test_one_visitors_language_is_not_the_next_ones(s: Scene):
    async with s.visitor() as visitor:
        spoken = []
        for languages in ("en-XA", "en", "fr", "en-XA"):
            await visitor.send(ask("/_tunnel/nothing-of-the-kind", languages=languages))
            spoken.append((await visitor.response()).get("content-language"))
    assert spoken == [PSEUDO, "en", "en", PSEUDO]


async def test_programs_are_answered_in_english(s: Scene):
    response = await s.fetch(ask("/", host="nobody.localhost", accept="*/*"))
    assert "Tunnel nobody.localhost not found." in response.text
    assert response.get("content-language") is None
