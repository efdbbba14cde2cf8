"""Logins that the provider ends with an error: whose words are shown, where, and to whom."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.oidc.world import (
    Browser,
    World,
    code_of,
    sent_to,
    text_of,
)
from tunnelrelay.oidc.login.declined import KNOWN, classify
from tunnelrelay.pages.errors import ERRORS

PERSON = "login_unfinished"
SETUP = "login_misconfigured"


async def test_a_providers_words_are_shown_as_text_on_the_endpoints_host_only() -> None:
    """Row 45."""
    world = World()
    browser = Browser(world)
    state = sent_to(await browser.start())["state"]
    words = "<script>alert(1)</script>\r\nSet-Cookie: a=b " + "x" * 50_000
    params = [
        ("error", "server_error"),
        ("error_description", words),
        ("error_uri", "javascript:alert(1)"),
        ("state", state),
    ]
    handed = await browser.callback(params)
    assert handed.body == b""
    page = await browser.finish(handed)
    assert code_of(page) == "provider_error"
    assert browser.outcomes == ["started", "failed"]
    assert "&lt;script&gt;" in text_of(page)
    assert "<script" not in text_of(page)
    assert "javascript:" not in text_of(page)
    assert "x" * 1000 not in text_of(page)


async def test_a_declined_login_is_a_page_that_says_whom_to_ask() -> None:
    world = World()
    browser = Browser(world)
    state = sent_to(await browser.start())["state"]
    handed = await browser.callback(
        [
            ("error", "access_denied"),
            ("error_description", "User is not assigned to the client application."),
            ("state", state),
        ]
    )
    page = await browser.finish(handed)
    assert (page.status, code_of(page)) == (403, "access_denied")
    assert browser.outcomes == ["started", "denied"]
    assert "User is not assigned to the client application." in text_of(page)
    assert "Grace Hopper" in text_of(page)
    assert world.provider.calls_to("/token") == []


async def ended(error: str, description: str = "") -> tuple[int, str, str]:
    """Status, code and text of the page that an error of the provider ends at."""
    world = World()
    browser = Browser(world)
    state = sent_to(await browser.start())["state"]
    params = [("error", error), ("error_description", description), ("state", state)]
    page = await browser.finish(await browser.callback([pair for pair in params if pair[1]]))
    return page.status, code_of(page), text_of(page)


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        ("login_required", PERSON, "did not sign you in"),
        ("consent_required", PERSON, "asks for your consent"),
        ("interaction_required", PERSON, "wants something of you first"),
        ("account_selection_required", PERSON, "several accounts"),
        ("unmet_authentication_requirements", PERSON, "a stronger sign-in"),
        ("access_denied", "access_denied", "did not let you through"),
        ("invalid_scope", SETUP, "allow the client the scopes"),
        ("invalid_request", SETUP, "the redirect URI"),
        ("unauthorized_client", SETUP, "the client id"),
        ("unsupported_response_type", SETUP, "authorization code flow"),
        ("invalid_request_uri", SETUP, "tunnel oidc check"),
        ("invalid_request_object", SETUP, "tunnel oidc check"),
        ("request_not_supported", SETUP, "tunnel oidc check"),
        ("request_uri_not_supported", SETUP, "tunnel oidc check"),
        ("registration_not_supported", SETUP, "tunnel oidc check"),
        ("server_error", "provider_error", "reported a problem"),
        ("temporarily_unavailable", "provider_busy", "is busy"),
    ],
)
async def test_every_registered_error_says_whose_doing_it_is(error: str, code: str, words: str) -> None:
    status, shown, text = await ended(error)
    assert (status, shown) == (ERRORS[code].status, code)
    assert words in text
    assert "Try again" in text
    assert ("Use another account" in text) == (code in (PERSON, "access_denied"))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ("user_cancelled_login", PERSON),
        ("user_cancelled_authorize", PERSON),
        ("cancelled", PERSON),
        ("mfa_required", PERSON),
        ("password_change_required", PERSON),
        ("LOGIN_REQUIRED", PERSON),
        ("session_expired", PERSON),
        ("unauthorized", "access_denied"),
        ("user_denied", "access_denied"),
        ("org_internal", "access_denied"),
        ("redirect_uri_mismatch", SETUP),
        ("deleted_client", SETUP),
        ("invalid_whatever", SETUP),
        ("something_not_supported", SETUP),
        ("too_many_requests", "provider_busy"),
        ("service_unavailable", "provider_busy"),
        ("kaputt", "provider_error"),
        ("<script>", "provider_error"),
    ],
)
async def test_a_word_of_a_providers_own_gets_a_sensible_class(error: str, code: str) -> None:
    assert (await ended(error))[:2] == (ERRORS[code].status, code)


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_error_has_a_class(error: str, description: str) -> None:
    assert classify(error, description).page in ERRORS


def test_the_visitors_doing_is_never_a_servers_error() -> None:
    for error, what in KNOWN.items():
        assert (ERRORS[what.page].status < 500) == what.is_the_persons, error


@pytest.mark.parametrize("error", ["consent_required", "invalid_scope", "temporarily_unavailable"])
async def test_row_45_hostile_words_are_text_on_every_page(error: str) -> None:
    _, _, text = await ended(error, "<script>alert(1)</script>" + "y" * 50_000)
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "y" * 1000 not in text
