"""The docs' picture of the inspector can be taken."""

import pytest

from tests.inspector.pictures import DOCS_IMAGES, NAME, take
from tests.support.browser import launched
from tests.support.tools import ARTIFACTS


@pytest.mark.thorough
@pytest.mark.browser
async def test_the_docs_picture_of_the_inspector_is_taken_and_shown() -> None:
    ARTIFACTS.mkdir(exist_ok=True)
    async with launched() as chromium:
        await take(chromium, ARTIFACTS)

    assert (ARTIFACTS / f"{NAME}.png").stat().st_size > 10_000
    assert (DOCS_IMAGES / f"{NAME}.png").exists()
    assert f"images/{NAME}.png" in (DOCS_IMAGES.parent / "guides" / "inspector.md").read_text()
