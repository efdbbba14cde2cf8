"""The pages as people meet them: a phone, large letters, the keyboard, long names."""

from collections.abc import AsyncIterator, Iterable

import pytest
import pytest_asyncio
from playwright.async_api import Page

from tests.pages.gallery import HOSTILE, LONG_EMAIL, LONG_HOST, pages, show
from tests.pages.test_style import TEXT, contrast
from tests.support.axe import violations
from tests.support.browser import browsing
from tunnelrelay.model import Reply

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

PHONE, DESK = {"width": 375, "height": 667}, {"width": 1280, "height": 800}
ZOOMED = {"width": 187, "height": 333}
"""What a phone's page has at 200 %: a zoomed page is laid out on so many pixels."""
NARROWEST = {"width": 320, "height": 568}
"""WCAG 2.2, 1.4.10: no scrolling in two directions at 320 pixels."""

OVERFLOW = """() => [...document.querySelectorAll('body, body *')]
    .filter(e => !e.closest('.aside') && e.getBoundingClientRect().right > document.documentElement.clientWidth + .5)
    .map(e => e.tagName)"""
FITS = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
TARGETS = """() => [...document.querySelectorAll('a, button')].map(e => {
    const box = e.getBoundingClientRect(); return [e.textContent, box.width, box.height] })"""
COLOURS = """() => [...document.querySelectorAll('h1, p, dt, dd, figcaption, a, button, li, bdi, code')].map(e => {
    const canvas = document.createElement('canvas').getContext('2d')
    const see = colour => { canvas.fillStyle = colour; return canvas.fillStyle }
    let under = e
    while (getComputedStyle(under).backgroundColor === 'rgba(0, 0, 0, 0)') under = under.parentElement
    return [see(getComputedStyle(e).color), see(getComputedStyle(under).backgroundColor)] })"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Page]:
    async with browsing() as context:
        yield await context.new_page()


SHAPES = ("endpoint_offline", "relay_busy", "upstream_unreachable", "agent_bad_response", "bad_request")
"""Errors that stand for all: with and without the drawing, a button, a long headline."""


def written(**filled: str) -> Iterable[tuple[str, Reply]]:
    return [
        (name, write())
        for name, write in pages(**filled).items()
        if not name.startswith("error-") or name.removeprefix("error-") in SHAPES
    ]


async def test_no_errors_words_are_too_long_for_a_phone(browser: Page):
    await browser.set_viewport_size(PHONE)
    for name, write in pages().items():
        if not name.startswith("error-"):
            continue
        await show(browser, write())
        assert await browser.evaluate(OVERFLOW) == [], name


async def test_on_a_phone_nothing_sticks_out_and_everything_can_be_hit(browser: Page):
    await browser.set_viewport_size(PHONE)
    for name, reply in written():
        await show(browser, reply)
        assert await browser.evaluate(FITS), name
        assert await browser.evaluate(OVERFLOW) == [], name
        for label, width, height in await browser.evaluate(TARGETS):
            assert width >= 44, (name, label)
            assert height >= 44, (name, label)


@pytest.mark.parametrize("size", [PHONE, NARROWEST, ZOOMED, DESK], ids=["phone", "narrowest", "zoomed", "desk"])
async def test_long_names_and_large_letters_break_no_page(browser: Page, size):
    await browser.set_viewport_size(size)
    for name, reply in written(host=LONG_HOST, who=LONG_EMAIL, owner=LONG_EMAIL, words="x" * 400):
        await show(browser, reply)
        assert await browser.evaluate(FITS), name
        assert await browser.evaluate(OVERFLOW) == [], name


async def test_nothing_that_others_say_runs(browser: Page):
    """Rows 45, 139."""
    said: list[str] = []
    browser.on("dialog", lambda dialog: said.append(dialog.message))
    browser.on("pageerror", lambda error: said.append(str(error)))
    asked: list[str] = []
    browser.on("request", lambda request: asked.append(request.url))
    for _, reply in written(host=HOSTILE, who=HOSTILE, owner=HOSTILE, words=HOSTILE):
        await show(browser, reply)
    assert said == []
    assert {url for url in asked if not url.startswith("http://page.localhost/")} == set()


@pytest.mark.parametrize("name", ["not-admitted", "sign-out", "cookies-too-large", "frame"])
async def test_a_browser_shows_no_page_inside_another_but_the_one_that_leads_out(browser: Page, name: str):
    """Row 57. Nobody can be led to press a button that they do not see as what it is."""
    page = await browser.context.new_page()
    reply, outer = dict(written())[name], "http://other.localhost/"
    fields = {key.decode(): value.decode() for key, value in reply.fields}
    frame = "<iframe src='http://page.localhost/'></iframe>"
    await page.route("http://page.localhost/", lambda route: route.fulfill(headers=fields, body=reply.body))
    await page.route(outer, lambda route: route.fulfill(content_type="text/html", body=frame))
    await page.goto(outer)
    inner = page.frames[1]
    if name == "frame":
        assert await inner.get_by_role("link").get_attribute("target") == "_top"
    else:
        await inner.wait_for_url(lambda url: url.startswith("chrome-error:"))
    await page.close()


async def test_the_style_is_let_through_by_the_pages_own_policy(browser: Page):
    complaints: list[str] = []
    browser.on("console", lambda message: complaints.append(message.text))
    await browser.set_viewport_size(DESK)
    for name, reply in written():
        await show(browser, reply)
        assert await browser.evaluate("getComputedStyle(document.querySelector('main')).borderRadius") != "0px", name
    assert [text for text in complaints if "Content Security Policy" in text] == []


async def test_the_keyboard_reaches_what_can_be_pressed_in_the_order_it_is_read(browser: Page):
    await browser.set_viewport_size(PHONE)
    for name, reply in written():
        await show(browser, reply)
        expected = await browser.evaluate("[...document.querySelectorAll('a, button')].map(e => e.textContent)")
        found = []
        for _ in expected:
            await browser.keyboard.press("Tab")
            found.append(await browser.evaluate("document.activeElement.textContent"))
            assert await browser.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid", name
        assert found == expected, name


async def test_a_screen_reader_hears_the_headline_what_happened_and_where_it_stopped(browser: Page):
    await show(browser, dict(written())["error-endpoint_offline"])
    snapshot = await browser.locator("body").aria_snapshot()
    assert '- heading "This tunnel is offline" [level=1]' in snapshot
    assert '- list "Where it stopped"' in snapshot
    assert "Agent: the problem is here" in snapshot
    assert "App: not reached" in snapshot
    assert snapshot.count("Relay") == 1, "each station is read out once"
    described = "document.getElementById(document.querySelector('main').getAttribute('aria-describedby')).textContent"
    assert "is not connected at the moment" in await browser.evaluate(described)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_text_stands_out_from_what_is_really_behind_it(browser: Page, scheme):
    await browser.set_viewport_size(DESK)
    await browser.emulate_media(color_scheme=scheme)
    try:
        for name, reply in written():
            await show(browser, reply)
            for front, back in await browser.evaluate(COLOURS):
                assert contrast(front, back) >= TEXT, (name, front, back)
    finally:
        await browser.emulate_media(color_scheme="light")


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.long)])
async def test_axe_finds_nothing_to_complain_about(browser: Page, scheme):
    await browser.set_viewport_size(DESK)
    await browser.emulate_media(color_scheme=scheme)
    try:
        for name, write in pages().items():
            await show(browser, write())
            assert await violations(browser) == [], name
    finally:
        await browser.emulate_media(color_scheme="light")


async def test_on_paper_there_is_no_button_and_no_dark_ground(browser: Page):
    await browser.emulate_media(media="print", color_scheme="dark")
    try:
        await show(browser, dict(written())["not-admitted"])
        assert not await browser.get_by_role("button").is_visible()
        assert await browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert await browser.evaluate("getComputedStyle(document.querySelector('h1')).color") == "rgb(0, 0, 0)"
    finally:
        await browser.emulate_media(media="screen", color_scheme="light")
