"""The readers of the inspector's page, in the browser that runs them: whatever a visitor sends, and as large."""

import json
from collections.abc import AsyncIterator
from typing import Any, TypeVar
from xml.sax.saxutils import escape, quoteattr

import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st
from playwright.async_api import Browser, Page

from tests.inspector.test_pages import pages
from tests.support.browser import fresh_profile
from tests.support.every import every
from tunnelctl.localapi.address import WebAddress, listen
from tunnelctl.localapi.server import ApiWatcher

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

T = TypeVar("T")
LARGE = 64 * 1024
"""Bytes that are kept of a body."""


@pytest_asyncio.fixture(loop_scope="session")
async def page(chromium: Browser) -> AsyncIterator[Page]:
    """A page of the inspector."""
    listener = listen(WebAddress(port=0, is_explicit=True), pytest.fail)
    async with pages() as here, here.api.serve(listener, ApiWatcher()) as server, fresh_profile(chromium) as context:
        page = await context.new_page()
        await page.goto(f"http://{server.address}/status")
        yield page


async def run(page: Page, module: str, use: str, given: Any) -> Any:
    """What `use`, a function of the module and of what is given, returns."""
    return await page.evaluate(f"async given => ({use})(await import('/static/{module}.js'), given)", given)


def examples(strategy: st.SearchStrategy[T]) -> list[T]:
    """Many of them at once, since a browser is asked slowly."""
    found: list[T] = []

    @settings(max_examples=200, database=None)
    @given(strategy)
    def collect(example: T) -> None:
        found.append(example)

    collect()
    return found


TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
DOCUMENTS = st.builds(json.dumps, VALUES, indent=st.none() | st.integers(0, 2), ensure_ascii=st.booleans())
SIGNS = st.sampled_from([*'{}[],:"\\ 0-.eE\n\ttfnu', "\x01", "é", "null", "\\u12"])


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """JSON with something put in, or taken out."""
    text = draw(DOCUMENTS)
    at = draw(st.integers(0, len(text)))
    return text[:at] + draw(SIGNS | st.just("")) + text[at + draw(st.integers(0, 2)) :]


AGREES = """({readJson}, texts) => texts.filter(text => {
    const {pieces, error} = readJson(text)
    let value
    try { value = JSON.parse(text) } catch { return error === null }
    const written = pieces.map(([, words]) => words).join('')
    return error !== null || JSON.stringify(JSON.parse(written)) !== JSON.stringify(value)
})"""


@pytest.mark.thorough
@every("strategy", [DOCUMENTS, damaged(), st.lists(SIGNS, max_size=8).map("".join)])
async def test_json_is_taken_as_the_browsers_own_reader_takes_it(page: Page, strategy):
    assert await run(page, "json", AGREES, examples(strategy)) == []


@every(
    "text, at, message",
    [
        ("", 0, "a value is expected here"),
        ('{"a" 1}', 5, "a colon is expected here"),
        ("[1 2]", 3, "a comma or ] is expected here"),
        ('{"a":1,}', 7, "a name in double quotes is expected here"),
        ("{'a':1}", 1, "a name in double quotes or } is expected here"),
        ("[01]", 2, "a comma or ] is expected here"),
        ("1 2", 2, "nothing more is expected here"),
        ('["a\nb"]', 1, "a value or ] is expected here"),
    ],
)
async def test_the_first_error_in_json_has_its_place(page: Page, text, at, message):
    error = await run(page, "json", "({readJson}, text) => readJson(text).error", text)
    assert (error["at"], error["message"]) == (at, message)


NAMES = st.from_regex(r"\A[a-zA-Z_][a-zA-Z0-9_.:-]{0,6}\Z")
CONTENT = st.text(st.characters(codec="ascii", categories=("L", "N", "P", "S")), max_size=8).map(escape)
ATTRIBUTES = st.dictionaries(NAMES, CONTENT, max_size=3)


def element(name: str, attributes: dict[str, str], inner: list[str]) -> str:
    """As XML has it."""
    given = "".join(f" {key}={quoteattr(value)}" for key, value in attributes.items())
    return f"<{name}{given}>{''.join(inner)}</{name}>" if inner else f"<{name}{given}/>"


ELEMENTS = st.recursive(
    st.builds(element, NAMES, ATTRIBUTES, st.lists(CONTENT, max_size=1)),
    lambda inner: st.builds(element, NAMES, ATTRIBUTES, st.lists(inner | CONTENT, max_size=4)),
    max_leaves=10,
)
XML = """({readXml}, texts) => texts.filter(text => {
    const {pieces, error} = readXml(text)
    const bare = words => words.replace(/\\s+/g, '')
    return error !== null || bare(pieces.map(([, words]) => words).join('')) !== bare(text)
})"""


@pytest.mark.thorough
async def test_xml_is_taken_and_only_its_white_space_changes(page: Page):
    assert await run(page, "xml", XML, examples(ELEMENTS)) == []
    more = ['<?xml version="1.0"?>\n<!DOCTYPE a [<!ENTITY b "c">]>\n<!-- <b> --><a><![CDATA[<x>]]></a>\n']
    assert await run(page, "xml", XML, more) == []


@every(
    "text, at, message",
    [
        ("<a><b></a>", 6, "</b> is expected here"),
        ("</a>", 0, "</a> has no beginning"),
        ("<a>", 3, "</a> is missing at the end"),
        ("<a b=c/>", 0, "this is no tag"),
        ("<a/>text", 4, "text outside of the document's element"),
    ],
)
async def test_the_first_error_in_xml_has_its_place(page: Page, text, at, message):
    error = await run(page, "xml", "({readXml}, text) => readXml(text).error", text)
    assert (error["at"], error["message"]) == (at, message)


@every(
    "text",
    [
        "[" * LARGE,
        '{"a":' * (LARGE // 5),
        '"' + "a" * LARGE,
        '"' + "\\\\" * (LARGE // 2),
        " " * LARGE,
        "<a>" * (LARGE // 3),
        "<a" + " " * LARGE,
        "<a " + "b='" * (LARGE // 3),
        "<!A" + " " * LARGE,
        "<!A" + "[" * LARGE,
        "<!--" * (LARGE // 4),
    ],
)
async def test_a_body_that_is_made_to_be_slow_is_read_at_once_and_stays_small(page: Page, text):
    """A reader that goes back and forth over such a text does not come to an end."""
    for module, name in (("json", "readJson"), ("xml", "readXml")):
        use = f"({{{name}}}, text) => {name}(text).pieces.reduce((sum, [, words]) => sum + words.length, 0)"
        assert await run(page, module, use, text) < 100 * LARGE
