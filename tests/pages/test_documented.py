"""What docs/concepts/login.md says about the pages is so."""

import re

import pytest

from tests.pages.gallery import DOCS_IMAGES, DOCS_PICTURES
from tests.support.tools import ROOT
from tunnelrelay.pages.page import MAX_QUOTE

TEXT = (ROOT / "docs" / "concepts" / "login.md").read_text()
SECTION = TEXT.partition("\n## The pages people see\n")[2].partition("\n## ")[0]
FLAT = " ".join(SECTION.split())
MAX_PICTURE = 60_000


def test_the_pictures_are_the_gallerys():
    shown = re.findall(r'<img src="\.\./images/page-([\w-]+)\.png" width="\d+" alt="[^"]+">', SECTION)
    assert shown == list(DOCS_PICTURES)
    assert {path.name for path in DOCS_IMAGES.glob("page-*")} == {f"page-{name}.png" for name in shown}


@pytest.mark.parametrize("name", DOCS_PICTURES)
def test_a_picture_is_small_and_as_wide_as_a_phone(name):
    """`python -m tests.pages.gallery docs` takes them anew."""
    data = (DOCS_IMAGES / f"page-{name}.png").read_bytes()
    assert len(data) < MAX_PICTURE
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert int.from_bytes(data[16:20], "big") == 375


def test_the_numbers_and_names_are_the_codes():
    assert f"cut at {MAX_QUOTE} characters" in FLAT
    assert "`server/tunnelrelay/pages/en.toml`" in FLAT
