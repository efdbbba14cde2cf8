"""Whatever a provider sends, a check ends with findings, never with a traceback; it is as strict as the relay."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.oidc.world import public
from tests.oidc_rules.test_keys import EC_KEY, RSA_KEY
from tunnelctl.oidc.errors import ProviderError
from tunnelctl.oidc.findings import Answered, Finding
from tunnelctl.oidc.judge_answer import judge_pace, read_document
from tunnelctl.oidc.judge_client import judge_authorization, judge_token_answer
from tunnelctl.oidc.judge_issuer import candidates, judge_issuer, path_hint
from tunnelctl.oidc.judge_keys import judge_keys
from tunnelctl.oidc.judge_metadata import judge_metadata, judge_token_issuer
from tunnelctl.oidc.metadata import Metadata, read_issuer, read_metadata

ISSUER = "https://idp.acme.example"
REDIRECT_URI = "https://idp.tun.example/oauth2/callback"
HONEST: dict[str, Any] = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/authorize",
    "token_endpoint": f"{ISSUER}/token",
    "jwks_uri": f"{ISSUER}/jwks",
}
METADATA = read_metadata(HONEST, configured=ISSUER, has_secret=True, allow_http=False)

leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
anything = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
)
names = st.sampled_from(
    [
        *HONEST,
        "userinfo_endpoint",
        "response_types_supported",
        "scopes_supported",
        "claims_supported",
        "code_challenge_methods_supported",
        "id_token_signing_alg_values_supported",
        "token_endpoint_auth_methods_supported",
        "authorization_response_iss_parameter_supported",
        "end_session_endpoint",
    ]
)
urls = st.sampled_from(["https://[", "https://a:b", "//x", "https://idp.acme.example//x", "https://é", "javascript:1"])


@given(st.dictionaries(names, anything | urls | st.lists(st.text(max_size=8)), max_size=8))
def test_a_check_is_as_strict_as_the_relay_whatever_the_metadata(lies: dict[str, Any]) -> None:
    document = {**HONEST, **lies}
    metadata, findings = judge_metadata(document, issuer=ISSUER, allow_http=False)
    try:
        relays: Metadata | None = read_metadata(document, configured=ISSUER, has_secret=True, allow_http=False)
    except ProviderError:
        relays = None
    assert metadata == relays
    assert any(finding.level == "error" for finding in findings) is (relays is None)


@given(st.dictionaries(names, anything | urls | st.lists(st.text(max_size=8)), max_size=8))
def test_a_check_of_an_issuer_of_tokens_is_as_strict_as_the_relay(lies: dict[str, Any]) -> None:
    document = {**HONEST, **lies}
    metadata, findings = judge_token_issuer(document, issuer=ISSUER, allow_http=False)
    try:
        relays: Metadata | None = read_issuer(document, configured=ISSUER, allow_http=False)
    except ProviderError:
        relays = None
    assert metadata == relays
    assert any(finding.level == "error" for finding in findings) is (relays is None)


@given(st.lists(anything | st.dictionaries(st.sampled_from(["kty", "kid", "use", "n", "e", "d", "alg"]), anything)))
def test_whatever_is_published_as_keys_the_check_ends(keys: list[Any]) -> None:
    assert all(isinstance(finding, Finding) for finding in judge_keys({"keys": keys}, frozenset({"RS256"})))


def test_the_keys_that_are_counted_are_those_the_relay_uses() -> None:
    found = judge_keys(
        {"keys": [public(RSA_KEY), EC_KEY, {"kty": "RSA", "n": "AQ", "e": "AQAB"}]}, frozenset({"RS256"})
    )
    assert [finding.topic for finding in found] == ["keys", "unfit_keys"]
    assert found[0].found.startswith("2 of its 3 keys")


values = st.sampled_from(["application/json", "text/html", "//[", REDIRECT_URI + "?error=x"])
header_names = st.sampled_from(["location", "content-type", "date", "content-encoding"])
bodies = st.sampled_from([b'{"error": "invalid_client"}', b'{"error": {}}', b"[]", b"redirect_uri"])


@given(
    st.integers(100, 599),
    st.dictionaries(header_names, st.text(max_size=30) | urls | values),
    st.binary(max_size=60) | bodies,
)
def test_whatever_is_answered_the_check_ends(status: int, headers: dict[str, str], body: bytes) -> None:
    answer = Answered(url=f"{ISSUER}/x", status=status, headers=headers, body=body)
    document, findings = read_document(answer, "document", fix="")
    assert (document is None) is bool(findings)
    assert isinstance(judge_pace(answer, 0.0), list)
    assert judge_authorization(answer, METADATA, redirect_uri=REDIRECT_URI, state="s")
    assert judge_token_answer(answer, "client_secret_basic")


@given(st.text(max_size=40) | urls | st.builds("https://{}/{}".format, st.text(max_size=9), st.text(max_size=9)))
def test_whatever_is_typed_as_an_issuer_there_is_an_answer(issuer: str) -> None:
    if judge_issuer(issuer, allow_http=False):
        return
    others = candidates(issuer)
    assert len(others) <= 4
    assert path_hint(issuer, others)
    assert path_hint(issuer, ())


@pytest.mark.parametrize("url", ["https://[", "https://idp.acme.example:99999/x", "https://idp.acme.example:x/"])
def test_an_address_that_two_parsers_do_not_read_alike_is_none(url: str) -> None:
    with pytest.raises(ProviderError):
        read_metadata({**HONEST, "authorization_endpoint": url}, configured=ISSUER, has_secret=True, allow_http=False)
