"""The pages as people meet them: a phone, large letters, the keyboard, long names."""

from collections.abc import Iterable
from dataclasses import dataclass

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page

from tests.pages.gallery import HOSTILE, LONG_EMAIL, LONG_HOST, pages, show
from tests.support.axe import contrast_violations, violations, with_axe
from tests.support.browser import fresh_profile
from tests.support.every import every
from tests.support.looks import TEXT, contrast
from tunnelrelay.model import Reply

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

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
COLOURS = """() => {
    const canvas = document.createElement('canvas').getContext('2d')
    const see = colour => { canvas.fillStyle = colour; return canvas.fillStyle }
    return [...document.querySelectorAll('h1, p, dt, dd, figcaption, a, button, li, bdi, code')].map(e => {
    let under = e
    while (getComputedStyle(under).backgroundColor === 'rgba(0, 0, 0, 0)') under = under.parentElement
    return [see(getComputedStyle(e).color), see(getComputedStyle(under).backgroundColor)] }) }"""

IS_ROUNDED = "getComputedStyle(document.querySelector('main')).borderRadius !== '0px'"
TEXTS = "[...document.querySelectorAll('a, button')].map(e => e.textContent)"
FOCUSED = """() => [document.activeElement.textContent, getComputedStyle(document.activeElement).outlineStyle]"""
SIZES = {"phone": PHONE, "narrowest": NARROWEST, "zoomed": ZOOMED, "desk": DESK}


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a browser has found out about one page, which was loaded once.

    Attributes:
        sticking_out: Tags of elements that reach beyond a phone's screen, `html` for the page itself.
        targets: Text, width and height of what can be pressed on a phone.
        pressable: The same texts in the order they are read.
        reached: Text and outline of what the keyboard reaches, in its order.
        is_styled: Whether the page's own style counts.
        colours: Of each text in front of what is behind it, by the scheme.
        complaints: Those of axe, in light and dark.
    """

    sticking_out: list[str]
    targets: list[tuple[str, float, float]]
    pressable: list[str]
    reached: list[tuple[str, str]]
    is_styled: bool
    colours: dict[str, list[tuple[str, str]]]
    complaints: list[str]


async def look_at(page: Page, reply: Reply) -> Look:
    await page.set_viewport_size(PHONE)
    await page.emulate_media(color_scheme="light")
    await show(page, reply)
    sticking_out = await sticks_out(page)
    targets, pressable, reached = await page.evaluate(TARGETS), await page.evaluate(TEXTS), []
    for _ in pressable:
        await page.keyboard.press("Tab")
        reached.append(tuple(await page.evaluate(FOCUSED)))
    await page.set_viewport_size(DESK)
    colours, complaints = {"light": await page.evaluate(COLOURS)}, await violations(page)
    await page.emulate_media(color_scheme="dark")
    colours["dark"] = await page.evaluate(COLOURS)
    return Look(
        sticking_out=sticking_out,
        targets=targets,
        pressable=pressable,
        reached=reached,
        is_styled=await page.evaluate(IS_ROUNDED),
        colours=colours,
        complaints=[*complaints, *await contrast_violations(page)],
    )


async def sticks_out(page: Page) -> list[str]:
    found: list[str] = await page.evaluate(OVERFLOW)
    return found if await page.evaluate(FITS) else [*found, "html"]


@dataclass(frozen=True)
class Gallery:
    """Every page as a browser sees it.

    Attributes:
        looks: By the page's name.
        console: What the browser wrote to its console while it was shown them.
    """

    looks: dict[str, Look]
    console: list[str]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def gallery(chromium: Browser) -> Gallery:
    async with fresh_profile(chromium) as context:
        page, console = await with_axe(await context.new_page()), []
        page.on("console", lambda message: console.append(message.text))
        await page.emulate_media(reduced_motion="reduce")  # or colours would be seen on their way to others
        return Gallery({name: await look_at(page, write()) for name, write in pages().items()}, console)


@pytest_asyncio.fixture(loop_scope="session")
async def browser(context: BrowserContext) -> Page:
    return await context.new_page()


SHAPES = ("endpoint_offline", "relay_busy", "upstream_unreachable", "agent_bad_response", "bad_request")
"""Errors that stand for all: with and without the drawing, a button, a long headline."""


def written(**filled: str) -> Iterable[tuple[str, Reply]]:
    return [
        (name, write())
        for name, write in pages(**filled).items()
        if not name.startswith("error-") or name.removeprefix("error-") in SHAPES
    ]


EVERY = every("name", pages())


@EVERY
async def test_on_a_phone_nothing_sticks_out_and_everything_can_be_hit(gallery: Gallery, name: str):
    assert gallery.looks[name].sticking_out == []
    for label, width, height in gallery.looks[name].targets:
        assert width >= 44, label
        assert height >= 44, label


async def test_long_names_and_large_letters_break_no_page(browser: Page):
    for name, reply in written(host=LONG_HOST, who=LONG_EMAIL, owner=LONG_EMAIL, words="x" * 400):
        await show(browser, reply)
        for size, pixels in SIZES.items():
            await browser.set_viewport_size(pixels)
            assert await sticks_out(browser) == [], (name, size)


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
async def test_a_browser_shows_no_page_inside_another_but_the_one_that_leads_out(context: BrowserContext, name: str):
    """Row 57. Nobody can be led to press a button that they do not see as what it is."""
    page = await context.new_page()
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


@EVERY
async def test_the_style_is_let_through_by_the_pages_own_policy(gallery: Gallery, name: str):
    assert gallery.looks[name].is_styled
    assert [text for text in gallery.console if "Content Security Policy" in text] == []


@EVERY
async def test_the_keyboard_reaches_what_can_be_pressed_in_the_order_it_is_read(gallery: Gallery, name: str):
    look = gallery.looks[name]
    assert look.reached == [(text, "solid") for text in look.pressable]


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


@EVERY
async def test_every_text_stands_out_from_what_is_really_behind_it(gallery: Gallery, name: str):
    for scheme, colours in gallery.looks[name].colours.items():
        for front, back in colours:
            assert contrast(front, back) >= TEXT, (scheme, front, back)


@EVERY
async def test_axe_finds_nothing_to_complain_about(gallery: Gallery, name: str):
    assert gallery.looks[name].complaints == []


async def test_on_paper_there_is_no_button_and_no_dark_ground(browser: Page):
    await browser.emulate_media(media="print", color_scheme="dark")
    await show(browser, dict(written())["not-admitted"])
    assert not await browser.get_by_role("button").is_visible()
    assert await browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert await browser.evaluate("getComputedStyle(document.querySelector('h1')).color") == "rgb(0, 0, 0)"
