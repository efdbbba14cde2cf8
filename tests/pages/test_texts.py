"""The texts of the pages: each one is used, and each one that is used is there."""

import ast
import re
from typing import get_args

import pytest

from tests.pages.gallery import HOST, pages
from tests.pages.reading import PageRead, fields
from tests.support.tools import ROOT
from tunnelrelay.pages import texts as texts_module
from tunnelrelay.pages.errors import ERRORS
from tunnelrelay.pages.login import About
from tunnelrelay.pages.texts import say, texts

FOLDER = ROOT / "server" / "tunnelrelay" / "pages"
CASES = {f"{part}_{about}" for about in get_args(About) if about for part in ("text", "hint")}
PREFIXES = ("buttons.", "errors.", "pages.sign_in_again.text_", "pages.signed_out.", "way.")
"""Texts whose keys end in a word that is known at run time only; the tests of the pages use each."""


def said() -> set[str]:
    """The keys that stand in the code and the template as they are."""
    in_template = re.findall(r'say\("([\w.]+)"\)', (FOLDER / "templates" / "page.html").read_text())
    calls = [
        node
        for path in FOLDER.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "say"
    ]
    constants = [node.args[0].value for node in calls if isinstance(node.args[0], ast.Constant)]
    assert len(constants) > 30
    return {*in_template, *constants}


def test_what_is_filled_in_is_not_filled_in_once_more():
    """Row 139. A host called `{owner}` is a host."""
    assert "{owner.__class__}" in say("errors.endpoint_not_found.message", host="{owner.__class__}")


def test_every_code_has_its_texts_and_no_text_is_left_over():
    there = {key.removeprefix("errors.") for key in texts() if key.startswith("errors.")}
    assert there == {f"{code}.{part}" for code in ERRORS for part in ("title", "message", "hint")}


def test_every_key_in_the_code_is_a_text():
    assert said() - texts().keys() == set()
    assert {key.rpartition(".")[2] for key in texts()} >= CASES


def test_every_text_is_used():
    unused = {key for key in texts().keys() - said() if not key.startswith(PREFIXES)}
    assert {key for key in unused if key.rpartition(".")[2] not in CASES} == set()


def test_every_button_is_named_in_the_code():
    source = "".join(path.read_text() for path in FOLDER.glob("*.py"))
    buttons = {key.removeprefix("buttons.") for key in texts() if key.startswith("buttons.")}
    assert {name for name in buttons if not re.search(rf'"(buttons\.)?{name}"', source)} == set()


def test_no_word_of_a_page_stands_outside_the_texts(monkeypatch: pytest.MonkeyPatch):
    """When every text is `§`, only names, codes and commands are left."""
    silent = dict.fromkeys(texts(), "§")
    monkeypatch.setattr(texts_module, "texts", lambda: silent)
    for name, write in pages(who="who@x", owner="owner@x").items():
        page = write()
        text = PageRead(page).text
        code = fields(page).get("tunnel-error", "")
        known = (HOST, "who@x", "owner@x", "9f2c41aa-1d", code, str(page.status), "tunnel http 3000 --relay https://")
        quotes = ("access_denied: The application", "server_error: The application", " is not assigned to this user.")
        for part in sorted((*known, *quotes), key=len, reverse=True):
            text = text.replace(part, "") if part else text
        assert re.findall(r"[^\s§·]+", text) == [], name


def test_a_text_is_a_sentence_and_no_half_of_one():
    for key, text in texts().items():
        assert text == text.strip(), key
        if key.rpartition(".")[2].startswith(("message", "hint", "text")):
            assert text[0] == "{" or text[0].isupper(), key
            assert text.endswith("."), key
