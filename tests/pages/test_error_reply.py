"""Errors as pages for people and JSON for programs."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pages.reading import PageRead, fields, style_source
from tests.support.every import every
from tunnelrelay.model import Reply
from tunnelrelay.pages.errors import ERRORS
from tunnelrelay.pages.page import error_reply
from tunnelrelay.pages.texts import say


def reply(code: str, *, html: bool, host: str = "demo.tun.example", detail: str = "") -> Reply:
    return error_reply(code, request_id="r-17", host=host, wants_html=html, detail=detail)


@every("code", ERRORS)
def test_programs_get_code_source_message_hint_and_request_id(code):
    answer = reply(code, html=False)
    error = json.loads(answer.body)["error"]
    assert answer.status == ERRORS[code].status
    assert fields(answer)["content-type"] == "application/json"
    assert fields(answer)["tunnel-error"] == error["code"] == code
    assert error["source"] in ("ingress", "agent", "upstream")
    assert error["request_id"] == "r-17"
    assert error["message"]
    assert error["hint"]
    assert "{host}" not in error["message"]


@every("code", ERRORS)
def test_people_get_a_page_that_says_the_same(code):
    answer = reply(code, html=True)
    page = PageRead(answer)
    assert answer.status == ERRORS[code].status
    assert fields(answer)["tunnel-error"] == code
    assert fields(answer)["content-type"] == "text/html; charset=utf-8"
    said = [say(f"errors.{code}.{part}") for part in ("title", "hint")]
    for words in (*said, code, "r-17", "demo.tun.example"):
        assert words in page.text


@every("code", ERRORS)
@every("html", [True, False])
def test_no_error_is_ever_kept_by_a_cache(code, html):
    assert fields(reply(code, html=html))["cache-control"] == "no-store"


@every("code", ERRORS)
def test_a_page_runs_no_script_loads_nothing_and_is_not_framed(code):
    answer = reply(code, html=True)
    policy = fields(answer)["content-security-policy"].split("; ")
    assert "default-src 'none'" in policy
    assert f"style-src {style_source(answer)}" in policy
    assert "frame-ancestors 'none'" in policy
    assert "form-action 'none'" in policy
    assert fields(answer)["x-content-type-options"] == "nosniff"
    page = PageRead(answer)
    assert not page.all("script")
    assert not any(name.startswith(("on", "style", "src")) for _, attributes in page.elements for name in attributes)


@every("code", ERRORS)
def test_a_page_can_be_read_by_everybody(code):
    page = PageRead(reply(code, html=True))
    assert page.all("html") == [{"lang": "en", "dir": "ltr"}]
    assert len(page.all("h1")) == len(page.all("main")) == len(page.all("title")) == 1
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.all("meta")


def test_a_page_shows_where_a_request_ended_also_to_those_who_do_not_see_it():
    text = " ".join(PageRead(reply("endpoint_offline", html=True)).text.split())
    assert "You: reached" in text
    assert "Agent: the problem is here" in text
    assert "App: not reached" in text


def test_a_name_nobody_serves_is_told_as_wrappers_expect_it():
    assert b"Tunnel demo.tun.example not found" in reply("endpoint_not_found", html=False).body
    assert b"Tunnel demo.tun.example not found" in reply("endpoint_not_found", html=True).body


@pytest.mark.parametrize(("code", "seconds"), [("endpoint_offline", "5"), ("relay_busy", "5"), ("endpoint_busy", "2")])
def test_what_passes_by_itself_says_when_to_try_again(code, seconds):
    assert fields(reply(code, html=False))["retry-after"] == seconds
    assert fields(reply(code, html=True))["retry-after"] == seconds


def test_the_callers_fields_are_there():
    challenge = (b"WWW-Authenticate", b'OpenID realm="demo"')
    answer = error_reply("login_required", request_id="r", host="h", wants_html=False, fields=(challenge,))
    assert fields(answer)["www-authenticate"] == 'OpenID realm="demo"'


@pytest.mark.parametrize("html", [True, False])
def test_details_are_cut_cleaned_and_escaped(html):
    answer = reply("upstream_broken", html=html, detail="<script>\x1b[31m\r\n" + "x" * 1000)
    assert b"<script>" not in answer.body or not html
    assert b"\x1b" not in answer.body
    assert b"x" * 281 in answer.body
    assert b"x" * 300 not in answer.body


@given(st.text(), st.text(), st.sampled_from(sorted(ERRORS)), st.booleans())
def test_whatever_the_host_and_the_detail_hold_the_page_stays_the_same_page(host, detail, code, html):
    answer = error_reply(code, request_id="r", host=host, wants_html=html, detail=detail)
    if not html:
        assert set(json.loads(answer.body)["error"]) == {"code", "source", "message", "hint", "request_id"}
        return
    plain = error_reply(code, request_id="r", host="h", wants_html=True, detail="d")
    known = {tag for tag, _ in PageRead(plain).elements}
    assert {tag for tag, _ in PageRead(answer).elements} <= known
    assert b"\r" not in b"".join(value for _, value in answer.fields)
