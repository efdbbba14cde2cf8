"""The test providers behave as the journeys assume: who forces PKCE, who sends `iss`, what a refusal looks like."""

import base64
import hashlib
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest

from tests.support.idp import CLIENT_ID, CLIENT_SECRET, Provider, metadata, node_provider
from tests.support.visitor import Visitor, page_url

REDIRECT_URI = "http://localhost:1/oauth2/callback"
VERIFIER = "dBjftJeZ4CVP-mBb92K27uhbUJU1p1r_wW1gFWFOEjXk"


@pytest.fixture(scope="module")
def node_idp() -> Iterator[Provider]:
    """The npm provider, knowing one redirect URI."""
    with node_provider([REDIRECT_URI]) as provider:
        yield provider


def ask(provider: Provider, **changes: str) -> str:
    """An authorization request."""
    query = {
        "client_id": CLIENT_ID,
        "redirect_uri": REDIRECT_URI,
        "response_type": "code",
        "scope": "openid email profile",
        "state": "s",
        "nonce": "n",
        "code_challenge": s256(VERIFIER),
        "code_challenge_method": "S256",
        **changes,
    }
    return f"{metadata(provider)['authorization_endpoint']}?{urlencode({k: v for k, v in query.items() if v})}"


def s256(verifier: str) -> str:
    """RFC 7636, 4.2."""

    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


def answer_of(visitor: Visitor, url: str, user: str) -> dict[str, str]:
    """What the provider sends back to the redirect URI, which nobody serves here."""
    try:
        page = visitor.login(url, user)
    except httpx.ConnectError as error:
        return {name: values[0] for name, values in parse_qs(urlsplit(str(error.request.url)).query).items()}
    raise AssertionError(f"never sent back: {page_url(page)}\n{page.text[:2000]}")


def redeem(provider: Provider, code: str, verifier: str) -> httpx.Response:
    """The token request."""
    data = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT_URI, "code_verifier": verifier}
    return httpx.post(metadata(provider)["token_endpoint"], data=data, auth=(CLIENT_ID, CLIENT_SECRET), trust_env=False)


def test_the_node_provider_sends_iss_and_a_code_that_can_be_redeemed(node_idp):
    with Visitor() as visitor:
        answer = answer_of(visitor, ask(node_idp), "alice")

    assert answer["iss"] == node_idp.issuer
    assert redeem(node_idp, answer["code"], VERIFIER).json()["id_token"]


def test_the_node_provider_refuses_a_wrong_verifier(node_idp):
    with Visitor() as visitor:
        answer = answer_of(visitor, ask(node_idp), "alice")

    assert redeem(node_idp, answer["code"], VERIFIER[::-1]).status_code == 400


def test_the_node_provider_refuses_a_login_without_pkce(node_idp):
    with Visitor() as visitor:
        answer = answer_of(visitor, ask(node_idp, code_challenge="", code_challenge_method=""), "alice")

    assert answer["error"] == "invalid_request"


def test_cancelling_at_the_node_provider_comes_back_as_access_denied(node_idp):
    with Visitor() as visitor:
        page = visitor.navigate(ask(node_idp))
        with pytest.raises(httpx.ConnectError) as cut:
            visitor.submit(page, action="cancel")

    assert "error=access_denied" in str(cut.value.request.url)


@pytest.fixture
def changing() -> Iterator[Provider]:
    """The npm provider for one test, which may change it."""
    with node_provider([REDIRECT_URI], alg="ES256", refresh="always") as provider:
        yield provider


def tokens_of(provider: Provider, user: str, **changes: str) -> dict[str, str]:
    """What `user`'s login brings at the token endpoint."""
    with Visitor() as visitor:
        answer = answer_of(visitor, ask(provider, **changes), user)
    tokens: dict[str, str] = redeem(provider, answer["code"], VERIFIER).json()
    return tokens


def refreshed(provider: Provider, refresh_token: str) -> httpx.Response:
    """The token request with a refresh token."""
    data = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    return httpx.post(metadata(provider)["token_endpoint"], data=data, auth=(CLIENT_ID, CLIENT_SECRET), trust_env=False)


def claims_of(token: str) -> dict[str, Any]:
    """A token's claims, unchecked."""
    payload = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=="))
    return claims


def test_a_refresh_brings_changed_claims_and_another_refresh_token_and_the_old_one_ends_the_family(changing):
    first = tokens_of(changing, "alice")
    changing.control(users={"alice": {"email": "alice@example.com", "email_verified": False}})
    second = refreshed(changing, first["refresh_token"]).json()

    assert claims_of(second["id_token"])["email_verified"] is False
    assert refreshed(changing, first["refresh_token"]).json()["error"] == "invalid_grant"
    assert refreshed(changing, second["refresh_token"]).json()["error"] == "invalid_grant"


def test_an_account_that_is_gone_is_an_invalid_grant_and_a_failing_provider_answers_as_told(changing):
    tokens = tokens_of(changing, "alice")
    changing.control(failing={"/token": 503})
    down = refreshed(changing, tokens["refresh_token"])
    changing.control(failing={"/token": None}, users={"alice": None})

    assert down.status_code == 503
    assert refreshed(changing, tokens["refresh_token"]).json()["error"] == "invalid_grant"
    assert [call["status"] for call in changing.calls("/token")] == [200, 503, 400]


def test_the_node_provider_reaches_the_acr_it_was_asked_for_unless_told_otherwise(changing):
    strong = claims_of(tokens_of(changing, "alice", acr_values="urn:test:mfa")["id_token"])
    changing.control(acr="urn:test:password")
    weak = claims_of(tokens_of(changing, "alice", acr_values="urn:test:mfa")["id_token"])

    assert (strong["acr"], strong["amr"], weak["acr"]) == ("urn:test:mfa", ["pwd", "otp"], "urn:test:password")
    assert strong["auth_time"]


def test_the_mock_sends_a_code_and_no_iss(mock_idp):
    with Visitor() as visitor:
        answer = answer_of(visitor, ask(mock_idp), "alice")

    assert "iss" not in answer
    assert redeem(mock_idp, answer["code"], VERIFIER).json()["id_token"]
