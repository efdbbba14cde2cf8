"""The words of the pages: one catalogue for each language, and which one a visitor gets."""

import re
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pages.gallery import HOST, LANGUAGES, english_source, mirrored, pages, pseudo
from tests.pages.reading import PageRead, fields
from tests.support.tools import ROOT
from tunnelrelay.pages import catalogue
from tunnelrelay.pages.catalogue import Catalogue, best_of, catalogues, chosen, english, read_catalogue, speaking, words
from tunnelrelay.pages.errors import ERRORS
from tunnelrelay.pages.page import error_reply

WORDS = Path(catalogue.__file__).parent / "words"
PACKAGE = ROOT / "server" / "tunnelrelay"
THERE = frozenset({"en", "de", "pt-br", "zh-hant", "he"})


def names_in(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


# Which language


@pytest.mark.parametrize(
    ("languages", "language"),
    [
        (b"", "en"),
        (b"de", "de"),
        (b"DE-at", "de"),
        (b"de-CH-1996", "de"),
        (b"fr, de;q=0.5, en;q=0.8", "en"),
        (b"fr, de;q=0.9, en;q=0.8", "de"),
        (b"en;q=0.8, de;q=0.8", "en"),
        (b"de;q=0.8, en;q=0.8", "de"),
        (b"de;q=0, he", "he"),
        (b"pt-BR, pt;q=0.9", "pt-br"),
        (b"pt", "en"),
        (b"zh-Hant-TW", "zh-hant"),
        (b"*", "en"),
        (b"*, de;q=0.5", "de"),
        (b"fr", "en"),
        (b"de;q=high, he;q=0.1", "he"),
        (b"de;q=1.5.2, he;q=0.1", "he"),
        (b", ,;;q=1,de", "de"),
        (b"\xff\xfe", "en"),
        (b"../../etc/passwd", "en"),
    ],
)
def test_a_visitor_gets_the_best_of_the_languages_that_exist(languages, language):
    assert best_of(languages, THERE) == language


@given(st.binary())
def test_whatever_is_sent_some_language_that_exists_is_spoken(languages):
    assert best_of(languages, THERE) in THERE
    assert chosen(languages).language in {spoken.language for spoken in catalogues().values()}


def test_of_an_endless_list_only_the_beginning_is_read():
    assert chosen(b"x," * 1_000_000) is english()


def test_without_the_field_pages_are_english():
    assert chosen(None) is words() is english()


def test_a_language_is_spoken_only_inside():
    with speaking(pseudo()):
        with speaking(mirrored()):
            assert words().language == "he-XB"
        assert words().language == "en-XA"
    assert words() is english()


@pytest.mark.parametrize("name", LANGUAGES)
def test_every_page_says_which_language_it_is_in(name):
    spoken = LANGUAGES[name]()
    with speaking(spoken):
        written = [write() for write in pages().values()]
    for page in written:
        assert PageRead(page).all("html") == [{"lang": spoken.language, "dir": spoken.direction}]
        assert fields(page)["content-language"] == spoken.language
        assert fields(page)["vary"] == "Accept-Language"


@pytest.mark.parametrize("code", ERRORS)
def test_programs_are_answered_in_english_whatever_they_accept(code):
    with speaking(pseudo()):
        answer = error_reply(code, request_id="r", host=HOST, wants_html=False)
    assert answer == error_reply(code, request_id="r", host=HOST, wants_html=False)
    assert "vary" not in fields(answer)


def test_in_a_right_to_left_sentence_a_host_keeps_its_own_direction():
    assert mirrored().say("pages.sign_out.text", host=HOST).count(f"\u2068{HOST}\u2069") == 1
    assert english().say("pages.sign_out.text", host=HOST).count(HOST) == 1


def test_what_is_filled_in_is_not_filled_in_once_more():
    """Row 139. A host called `{owner}` is a host."""
    said = Catalogue("en", "ltr", {"a": "{host} of {owner}"}).say("a", host="{owner}", owner="{host.__class__}")
    assert said == "{owner} of {host.__class__}"


# What a translator is promised


@pytest.mark.parametrize("file", sorted(WORDS.iterdir()), ids=lambda file: file.name)
def test_a_catalogue_has_every_text_with_the_same_names_in_it(file):
    translated = read_catalogue(file.read_text())
    assert file.name == f"{translated.language.lower()}.toml"
    assert translated.direction in ("ltr", "rtl")
    assert {key: names_in(text) for key, text in translated.lines.items()} == {
        key: names_in(text) for key, text in english().lines.items()
    }


def test_every_code_has_its_words_and_no_words_are_left_over():
    assert set(english_source()["errors"]) == set(ERRORS)
    for code, said in english_source()["errors"].items():
        assert set(said) == {"title", "message", "hint"}, code


def test_every_text_is_said_somewhere():
    sources = "".join(
        path.read_text() for path in [*PACKAGE.rglob("*.py"), *PACKAGE.rglob("page.html")] if "words" not in path.parts
    )
    said = set(re.findall(r"[a-z]\w+", sources))
    unsaid = {
        key
        for key in english().lines
        if not key.startswith(("errors.", "way.")) and key.rpartition(".")[2] not in said and key not in sources
    }
    # Their ends are chosen by a word that is known at run time.
    chosen_late = ("pages.signed_out.text", "pages.signed_out.hint", "pages.sign_in_again.text")
    assert {key for key in unsaid if not key.startswith(chosen_late)} == set()


def test_no_word_of_a_page_stands_outside_the_catalogue():
    """In a language that says `§` to everything, only names, codes and commands are left."""
    silent = Catalogue("en", "ltr", dict.fromkeys(english().lines, "§"))
    with speaking(silent):
        written = {name: write() for name, write in pages(who="who@x", owner="owner@x").items()}
    for name, page in written.items():
        text = PageRead(page).text
        code = fields(page).get("tunnel-error", "")
        known = (HOST, "who@x", "owner@x", "9f2c41aa-1d", code, str(page.status), "tunnel http 3000 --relay https://")
        quotes = ("access_denied: The application", "server_error: The application", " is not assigned to this user.")
        for part in sorted((*known, *quotes), key=len, reverse=True):
            text = text.replace(part, "") if part else text
        assert re.findall(r"[^\s§·]+", text) == [], name


def test_a_text_is_a_sentence_and_no_half_of_one():
    """Pieces put together in code cannot be put into another order by a translator."""
    for key, text in english().lines.items():
        assert text == text.strip(), key
        if key.rpartition(".")[2].startswith(("message", "hint", "text")):
            assert text[0] == "{" or text[0].isupper(), key
            assert text.endswith("."), key
