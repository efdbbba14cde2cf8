"""What holds for every page that there is, whatever is on it."""

import re

import pytest

from tests.pages.gallery import HOST, HOSTILE, pages
from tests.pages.reading import PageRead, fields, style_source
from tests.support.every import every
from tunnelrelay.pages import login
from tunnelrelay.pages.page import outside

PAGES = {name: write() for name, write in pages().items()}
HOSTILE_PAGES = {name: write() for name, write in pages(HOSTILE, who=HOSTILE, owner=HOSTILE, words=HOSTILE).items()}


def addresses(page: PageRead) -> list[str | None]:
    return [attributes[key] for _, attributes in page.elements for key in URL_ATTRIBUTES if key in attributes]


EVERY = every("name", PAGES)
URL_ATTRIBUTES = ("href", "src", "action", "formaction", "poster", "data", "srcset", "xlink:href")


@EVERY
def test_nothing_runs_loads_or_is_kept(name):
    page = PAGES[name]
    said = fields(page)
    policy = said["content-security-policy"].split("; ")
    assert policy[:3] == ["default-src 'none'", "base-uri 'none'", f"style-src {style_source(page)}"]
    assert (said["cache-control"], said["x-content-type-options"]) == ("no-store", "nosniff")
    assert said["referrer-policy"] in ("no-referrer", "strict-origin")
    read = PageRead(page)
    assert not {tag for tag, _ in read.elements} & {"script", "link", "img", "iframe", "object", "base", "video"}
    assert not [name for _, attributes in read.elements for name in attributes if name.startswith(("on", "style"))]
    assert b"url(" not in page.body
    assert b"@import" not in page.body


@EVERY
def test_no_page_can_be_put_into_a_frame_but_the_one_that_leads_out_of_it(name):
    """Row 57."""
    said = fields(PAGES[name])
    if name == "frame":
        assert not PageRead(PAGES[name]).all("form")
        assert [link.get("target") for link in PageRead(PAGES[name]).all("a")] == ["_top"]
    else:
        assert "frame-ancestors 'none'" in said["content-security-policy"]
        assert said["x-frame-options"] == "DENY"


@EVERY
def test_whatever_others_say_is_text_and_adds_no_element_link_or_header(name):
    """Rows 45, 139. Host, account, owner, and the words of a provider or an agent."""
    hostile, plain = HOSTILE_PAGES[name], PAGES[name]
    read, as_it_was = PageRead(hostile), PageRead(plain)
    extra = {"figure", "figcaption", "blockquote", "p"}
    assert {tag for tag, _ in read.elements} - extra <= {tag for tag, _ in as_it_was.elements}
    assert addresses(read) == addresses(as_it_was)
    assert fields(hostile).keys() == fields(plain).keys()
    assert "script" not in fields(hostile)["content-security-policy"]
    for character in ("\u202e", "\x1b", "\r"):
        assert character not in hostile.body.decode()


@EVERY
def test_assistive_technology_finds_its_way(name):
    page = PageRead(PAGES[name])
    (title,) = re.findall(rb"<title>(.*?)</title>", PAGES[name].body)
    (heading,) = page.all("h1")
    (main,) = page.all("main")
    assert main["aria-labelledby"] == heading["id"]
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert main.get("aria-describedby", heading["id"]) in ids
    assert len(page.all("header")) <= 1
    assert len(page.all("footer")) <= 1
    assert not page.all("h2")
    assert all(drawing["aria-hidden"] == "true" for drawing in page.all("svg"))
    if name != "landing":
        assert HOST in title.decode()
    assert page.all("html")[0]["lang"]


@EVERY
def test_a_page_is_small(name):
    """One packet train: nobody who waits for an error should wait for it long."""
    assert len(PAGES[name].body) < 14_000


@pytest.mark.parametrize("error", ["server_error", "access_denied", HOSTILE])
def test_a_providers_flood_of_words_is_cut_and_marked_as_its_own(error):
    """Row 45."""
    page = login.declined("provider_error", request_id="r", host=HOST, error=error, description=HOSTILE + "x" * 50_000)
    assert "The sign-in service says" in PageRead(page).text
    assert "…" in PageRead(page).text
    assert len(page.body) < len(PAGES["provider-error"].body) + 3_000


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "JaVaScRiPt://acme.example/%0aalert(1)",
        "data:text/html,x",
        "//evil.example",
        "/\\evil.example",
        "https://good.example@evil.example/",
        "https://good.example\\@evil.example/",
        "https://good.example/\r\nSet-Cookie: a=b",
        "https://good.example/ x",
        "https:evil.example",
        "https://",
        "https://g\u00f6\u00f6d.example/",
        "https://good.example/" + "x" * 3000,
        "",
    ],
)
def test_only_a_plain_address_of_a_provider_becomes_a_link(url):
    """Row 45."""
    assert outside(url) == ""
    page = login.logged_out(host=HOST, provider_sign_out=url)
    assert [link["href"] for link in PageRead(page).all("a")] == ["/"]


def test_whoever_may_still_be_signed_in_at_the_provider_is_shown_the_way_out_there():
    links = [link["href"] for link in PageRead(PAGES["signed-out-here"]).all("a")]
    assert links == ["/", "https://acme.okta.com/oauth2/v1/logout"]


def test_signing_out_at_the_provider_too_is_a_button_of_the_same_form():
    page = PageRead(PAGES["sign-out-everywhere"])
    assert len(page.all("form")) == 1
    assert [button.get("name") for button in page.all("button")] == [None, "everywhere"]
    assert [button.get("name") for button in PageRead(PAGES["sign-out"]).all("button")] == [None]


def test_an_account_without_a_verified_address_is_told_so():
    assert "no verified e-mail address" in PageRead(PAGES["unverified"]).text


@pytest.mark.parametrize("reason", ["too-old", "too-weak"])
def test_a_sign_in_that_does_not_do_any_more_leads_to_a_new_one(reason):
    page = PAGES[f"again-{reason}"]
    assert (page.status, fields(page)["tunnel-error"]) == (401, "login_required")
    assert PageRead(page).all("a")[0]["href"] == ("/orders" if reason == "too-old" else "/")


def test_too_many_requests_say_when_to_come_back():
    assert fields(PAGES["error-too_many_requests"])["retry-after"] == "30"


def test_only_the_button_clears_cookies():
    """Row 69."""
    assert [name for name, page in PAGES.items() if "clear-site-data" in fields(page)] == ["cookies-cleared"]
    assert PageRead(PAGES["cookies-too-large"]).all("form")[0]["action"] == "/_tunnel/clear-cookies"


@EVERY
def test_every_page_has_a_way_on(name):
    page = PageRead(PAGES[name])
    assert page.all("button") or page.all("a")


@pytest.mark.parametrize(
    "code", ["upstream_unreachable", "upstream_timeout", "agent_lost", "internal_error", "network_denied"]
)
def test_what_may_go_better_has_a_button_that_asks_for_the_same_address(code):
    (link,) = PageRead(PAGES[f"error-{code}"]).all("a")
    assert link["href"] == ""
    assert b"Try again</a>" in PAGES[f"error-{code}"].body


@pytest.mark.parametrize("code", ["body_too_large", "method_not_allowed", "page_not_found", "target_too_long"])
def test_what_cannot_go_better_leads_to_the_start_page(code):
    (link,) = PageRead(PAGES[f"error-{code}"]).all("a")
    assert link["href"] == "/"


def test_an_answer_of_no_login_names_the_relay_and_leads_to_its_start_page():
    (link,) = PageRead(PAGES["state-invalid"]).all("a")
    assert link["href"] == "https://tun.example"
