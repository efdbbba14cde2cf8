"""What a browser finds out about a page on a phone and on a desk, in light and dark.

`broken` is a picture of what is wrong: wider than the screen, without a name, too low to hit. `colours` are for the
contrast that WCAG asks for, `complaints` those of axe.
"""

from dataclasses import dataclass

from playwright.async_api import Page

from tests.support.axe import contrast_violations, violations

PHONE, DESK, NARROWEST = (375, 720), (1280, 800), (320, 568)
TEXT, SHAPE = 4.5, 3.0
"""The least contrast of text, and of what is drawn and says something (WCAG 2.2 AA: 1.4.3, 1.4.11)."""

FITS = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
_COLOURS = """() => {
    const canvas = document.createElement('canvas').getContext('2d')
    const see = colour => { canvas.fillStyle = colour; return canvas.fillStyle }
    return [...document.querySelectorAll('h1, h2, h3, p, dt, dd, td, th, label, a, button, span, code, li')]
    .filter(e => e.checkVisibility() && !e.closest('.aside, [popover], :disabled') && e.innerText.trim()
        && [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())).map(e => {
    let under = e
    while (under.parentElement && getComputedStyle(under).backgroundColor === 'rgba(0, 0, 0, 0)')
        under = under.parentElement
    return [see(getComputedStyle(e).color), see(getComputedStyle(under).backgroundColor), e.innerText] }) }"""
_NAMELESS = """() => [...document.querySelectorAll('input:not([type=hidden]), select, textarea, button, a, summary')]
    .filter(e => e.checkVisibility() && !(e.labels && e.labels.length) && !e.innerText.trim()
        && !e.getAttribute('aria-label')).map(e => e.outerHTML)"""
_TARGETS = """() => [...document.querySelectorAll('button:not(.row-link, .link), summary, a.button, nav a')]
    .filter(e => e.checkVisibility())
    .map(e => [e.innerText, e.getBoundingClientRect().height]).filter(([, height]) => height < 36)"""
_INDENTED = """() => [...document.querySelectorAll('table.folds tbody td')].filter(e => e.checkVisibility()
    && getComputedStyle(e).paddingInlineStart !== '0px').map(e => e.innerText)"""
_SAME_IDS = """() => { const ids = [...document.querySelectorAll('[id]')].map(e => e.id)
    return ids.filter((id, n) => ids.indexOf(id) !== n) }"""
_MAINS = "() => [...document.querySelectorAll('main, h1')].filter(e => e.checkVisibility()).map(e => e.localName)"
_BROKEN = f"""() => Object.fromEntries(Object.entries({{
    "wider than the screen": {FITS} ? [] : [document.documentElement.scrollWidth], "without a name": ({_NAMELESS})(),
    "the same id": ({_SAME_IDS})(), "too low to hit": innerWidth === {PHONE[0]} ? ({_TARGETS})() : [],
    "beside the edge of a folded row": innerWidth === {PHONE[0]} ? ({_INDENTED})() : [],
    "other than one main and one h1": ({_MAINS})().join() === "main,h1" ? [] : ({_MAINS})(),
}}).filter(([, found]) => found.length))"""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a browser has found out about one page, which was loaded once.

    Attributes:
        broken: What is wrong, by the width of the screen; nothing for a width where all is well.
        colours: Of each text, of what is behind it, and the text, by the scheme.
        complaints: Those of axe, in light and dark.
    """

    broken: dict[int, dict[str, object]]
    colours: dict[str, list[tuple[str, str, str]]]
    complaints: list[str]


async def look_at(page: Page) -> Look:
    """Looks at the open page in each size and scheme. `with_axe` must have been asked for before it was loaded."""
    broken = {}
    for width, height in (PHONE, NARROWEST, DESK):
        await page.set_viewport_size({"width": width, "height": height})
        if found := await page.evaluate(_BROKEN):
            broken[width] = found
    colours, complaints = {"light": await page.evaluate(_COLOURS)}, await violations(page)
    await page.emulate_media(color_scheme="dark")
    colours["dark"] = await page.evaluate(_COLOURS)
    complaints += await contrast_violations(page)
    return Look(broken=broken, colours=colours, complaints=complaints)


def luminance(colour: str) -> float:
    """Of `#rrggbb`, from 0 to 1."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Between two colours, from 1 to 21."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def unreadable(look: Look) -> list[tuple[str, str, str, str]]:
    """Every text without enough contrast: the scheme, its words, its colour, and what is behind it."""
    return [
        (scheme, words, colour, ground)
        for scheme, colours in look.colours.items()
        for colour, ground, words in colours
        if contrast(colour, ground) < TEXT
    ]
