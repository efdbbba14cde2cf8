"""The docs' pictures of the dashboard can be taken."""

import pytest

from tests.dashboard.pictures import DOCS_IMAGES, NAMES, take
from tests.support.browser import launched
from tests.support.tools import ARTIFACTS


@pytest.mark.thorough
@pytest.mark.browser
async def test_the_docs_pictures_of_the_dashboard_are_taken_and_shown() -> None:
    ARTIFACTS.mkdir(exist_ok=True)
    async with launched() as chromium:
        await take(chromium, ARTIFACTS)

    guides = "".join(page.read_text() for page in (DOCS_IMAGES.parent / "guides").glob("*.md"))
    for name in NAMES:
        assert (ARTIFACTS / f"{name}.png").stat().st_size > 10_000
        assert (DOCS_IMAGES / f"{name}.png").exists()
        assert f"images/{name}.png" in guides
