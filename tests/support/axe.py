"""axe-core (https://github.com/dequelabs/axe-core), which finds what people with a screen reader stumble over."""

from pathlib import Path

from playwright.async_api import Page

from tests.support.idp import IDP
from tests.support.tools import missing

AXE = IDP / "node_modules" / "axe-core" / "axe.min.js"
RUN = """async (only) => (await axe.run(document, {resultTypes: ['violations'], ...only})).violations.flatMap(
    rule => rule.nodes.map(node => `${rule.id}: ${rule.help}: ${node.html.slice(0, 200)}`))"""
COLOURS = {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
"""The rules that look at colours."""


def axe_source() -> str:
    """The library; the test is skipped (fails in CI) without it."""
    path = Path(AXE)
    if not path.is_file():
        missing("tests/idp/node_modules/axe-core is missing (make setup)")
    return path.read_text(encoding="utf-8")


async def with_axe(page: Page) -> Page:
    """The page, with the library in all that it loads from now on, whose own policy lets no script of a test load."""
    await page.add_init_script(axe_source())
    return page


async def violations(page: Page) -> list[str]:
    """Every violation that axe finds in a page, with the rule and the element. No rule is left out."""
    found: list[str] = await page.evaluate(RUN, {})
    return found


async def contrast_violations(page: Page) -> list[str]:
    """Those of the rules that look at colours, for a page that `violations` has seen in another scheme."""
    found: list[str] = await page.evaluate(RUN, COLOURS)
    return found
