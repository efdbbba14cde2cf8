"""The pages around signing in."""

import pytest

from tests.pages.reading import PageRead, fields, style_source
from tunnelrelay.pages import login
from tunnelrelay.pages.landing import landing_page
from tunnelrelay.pages.page import FormButton

ABOUT = {"request_id": "r-17", "host": "demo.tun.example"}
AGAIN = login.use_another(token="t0ken", provider="https://acme.okta.com/v1/auth?x")
SIGN_OUT = login.sign_out(action="/_tunnel/logout", token="t0ken")

PAGES = {
    "state-invalid": login.state_invalid(request_id="r-17"),
    "start-again": login.start_again(**ABOUT),
    "provider-error": login.declined(
        "provider_error", **ABOUT, error="server_error", description="try later", owner="alice"
    ),
    "not-admitted": login.not_admitted(**ABOUT, who="bob@gmail.com", owner="alice@acme.com", form=AGAIN),
    "busy": login.busy(**ABOUT),
    "denied": login.declined("access_denied", **ABOUT, error="access_denied", owner="alice@acme.com"),
    "unreachable": login.provider_unreachable(**ABOUT),
    "form": login.form_not_sent(**ABOUT, path="/orders?page=2"),
    "frame": login.open_outside_frame(**ABOUT, path="/widget"),
    "logout": login.logout_confirmation(host="demo.tun.example", who="bob@acme.com", form=SIGN_OUT),
    "out": login.logged_out(host="demo.tun.example"),
    "landing": landing_page(url="https://tun.example", dashboard="https://dashboard.tun.example"),
}


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("state-invalid", 400, "login_state_invalid"),
        ("start-again", 400, "login_restart"),
        ("provider-error", 502, "provider_error"),
        ("not-admitted", 403, "not_admitted"),
        ("busy", 503, "relay_busy"),
        ("denied", 403, "access_denied"),
        ("unreachable", 502, "provider_unreachable"),
        ("form", 401, "login_required"),
        ("frame", 401, "login_required"),
        ("logout", 200, None),
        ("out", 200, None),
        ("landing", 200, None),
    ],
)
def test_each_page_has_its_status_and_code(name, status, code):
    assert PAGES[name].status == status
    assert fields(PAGES[name]).get("tunnel-error") == code


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_no_page_runs_script_loads_anything_or_goes_anywhere_by_itself(page):
    policy = fields(page)["content-security-policy"]
    assert policy.startswith(f"default-src 'none'; base-uri 'none'; style-src {style_source(page)}; form-action ")
    assert fields(page)["cache-control"] == "no-store"
    assert "location" not in fields(page)
    assert "refresh" not in fields(page)
    read = PageRead(page)
    assert not read.all("script")
    assert not any("http-equiv" in meta for meta in read.all("meta"))


@pytest.mark.parametrize("page", [page for name, page in PAGES.items() if name != "frame"])
def test_no_page_can_be_put_into_a_frame(page):
    """Row 57."""
    assert "frame-ancestors 'none'" in fields(page)["content-security-policy"]
    assert fields(page)["x-frame-options"] == "DENY"


def test_in_a_frame_there_is_only_a_link_out_of_it():
    """Row 57."""
    page = PageRead(PAGES["frame"])
    assert [(link["href"], link["target"]) for link in page.all("a")] == [("/widget", "_top")]
    assert not page.all("form")
    assert "frame-ancestors" not in fields(PAGES["frame"])["content-security-policy"]


def test_a_login_of_another_browser_ends_with_a_button_and_not_with_a_redirect():
    """Row 34."""
    assert [link["href"] for link in PageRead(PAGES["start-again"]).all("a")] == ["/"]


def test_a_bad_state_is_shown_nothing_and_led_nowhere():
    page = PageRead(PAGES["state-invalid"])
    assert not page.all("a")
    assert not page.all("form")


def test_the_providers_words_are_escaped_cut_and_never_a_link():
    """Row 45."""
    words = "<script>alert(1)</script> https://evil.example \r\nSet-Cookie: a=b " + "x" * 50_000
    page = login.declined("provider_error", **ABOUT, error="<b>", description=words)
    read = PageRead(page)
    assert not read.all("script")
    assert not read.all("b")
    assert [link["href"] for link in read.all("a")] == ["/"]
    assert len(page.body) < len(PAGES["provider-error"].body) + 1000


def test_a_visitor_the_provider_turned_away_is_told_whom_to_ask():
    text = PageRead(PAGES["denied"]).text
    assert "alice@acme.com" in text
    assert "ask the owner of this address" in text


@pytest.mark.parametrize("owner", ["", "default", "local"])
def test_an_owner_without_a_name_is_not_shown_as_somebody_to_ask(owner):
    assert (
        "Published by"
        not in PageRead(login.declined("access_denied", **ABOUT, error="access_denied", owner=owner)).text
    )


def test_somebody_without_access_sees_as_whom_they_are_signed_in_whom_to_ask_and_how_to_change():
    read = PageRead(PAGES["not-admitted"])
    assert "bob@gmail.com" in read.text
    assert "alice@acme.com" in read.text
    assert read.all("form") == [{"method": "post", "action": "/_tunnel/switch"}]
    assert read.all("input") == [{"type": "hidden", "name": "token", "value": "t0ken"}]


def test_a_form_may_lead_to_the_provider_and_whoever_is_behind_it():
    policy = fields(PAGES["not-admitted"])["content-security-policy"]
    assert "form-action 'self' https:;" in policy


@pytest.mark.parametrize("target", ["*", "https:", "'unsafe-inline'", "javascript:x", "data:x", "//evil"])
def test_what_is_no_address_never_gets_into_the_policy(target):
    form = FormButton("/x", "Go", leads_to=(target,))
    page = login.logout_confirmation(host="h", who="", form=form)
    assert "form-action 'self';" in fields(page)["content-security-policy"]


def test_an_address_cannot_smuggle_a_directive_into_the_policy():
    form = FormButton("/x", "Go", leads_to=("https://idp.example; script-src *",))
    page = login.logout_confirmation(host="h", who="", form=form)
    assert "script-src" not in fields(page)["content-security-policy"]


@pytest.mark.parametrize("name", ["not-admitted", "logout"])
def test_a_form_is_sent_with_an_origin_that_can_be_checked(name):
    assert fields(PAGES[name])["referrer-policy"] == "strict-origin"


def test_without_account_page_offers_no_form_unless_there_is_a_way():
    assert not PageRead(login.not_admitted(**ABOUT, who="bob")).all("form")


def test_a_form_that_was_not_sent_is_said_to_be_lost_and_can_be_opened_again():
    """Row 48."""
    read = PageRead(PAGES["form"])
    assert "Your form was not sent" in read.text
    assert [link["href"] for link in read.all("a")] == ["/orders?page=2"]


@pytest.mark.parametrize(
    ("visit", "title"),
    [("form", "You are signed out"), ("frame", "Sign in to see this"), ("upgrade", "Sign in to go on")],
)
def test_each_kind_of_visit_is_told_in_its_own_way_that_a_login_is_needed(visit, title):
    challenge = (b"WWW-Authenticate", b'OpenID realm="demo.tun.example"')
    page = login.login_required(visit, **ABOUT, path="/", wants_html=True, fields=(challenge,))
    assert page.status == 401
    assert title in PageRead(page).text
    assert challenge in page.fields


@pytest.mark.parametrize("path", ["//evil.com/x", "/\\evil.com", "http://evil.com", "javascript:x", "", "/\x7f", "*"])
def test_the_link_back_stays_on_this_host(path):
    """Row 43."""
    assert [link["href"] for link in PageRead(login.form_not_sent(**ABOUT, path=path)).all("a")] == ["/"]


def test_signing_out_takes_a_button():
    """Row 76."""
    read = PageRead(PAGES["logout"])
    assert read.all("form") == [{"method": "post", "action": "/_tunnel/logout"}]
    assert [link["href"] for link in read.all("a")] == ["/"]


def test_the_relays_own_page_says_how_to_publish():
    assert "tunnel http 3000 --relay https://tun.example" in PageRead(PAGES["landing"]).text
