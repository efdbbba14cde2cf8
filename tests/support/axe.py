"""Runs axe-core (https://github.com/dequelabs/axe-core), which finds accessibility violations in web pages."""

from pathlib import Path

from playwright.async_api import Page

from tests.support.idp import IDP
from tests.support.tools import in_ci, missing

AXE = IDP / "node_modules" / "axe-core" / "axe.min.js"
RUN = """async (only) => (await axe.run(document, {resultTypes: ['violations'], ...only})).violations.flatMap(
    rule => rule.nodes.map(node => `${rule.id}: ${rule.help}: ${node.html.slice(0, 200)}`))"""
COLOURS = {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
"""Options of axe that run only the rules about colours."""


def axe_source() -> str:
    """Return the source of axe-core. Without it the test is skipped; in CI it fails."""
    path = Path(AXE)
    if not path.is_file():
        missing("tests/idp/node_modules/axe-core is missing (make setup)")
    return path.read_text(encoding="utf-8")


async def with_axe(page: Page) -> Page:
    """Inject axe-core into all documents that a page loads from now on, past their content security policy."""
    await page.add_init_script(axe_source())
    return page


async def violations(page: Page) -> list[str]:
    """Return every violation of any rule that axe finds in a page, with the rule and the element."""
    found: list[str] = await page.evaluate(RUN, {})
    return found


async def contrast_violations(page: Page) -> list[str]:
    """Return the violations of rules about colours, for a page that was checked by `violations` in another scheme.

    Outside of CI the result is empty: axe takes a third of the time of these tests for it.
    """
    if not in_ci():
        return []
    found: list[str] = await page.evaluate(RUN, COLOURS)
    return found
