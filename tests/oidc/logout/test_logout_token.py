"""The check list for logout tokens against what is none (rows 16-18)."""

from typing import Any

import pytest

from tests.oidc.tokens.test_id_token import MISSING, sign
from tests.oidc.world import CLIENT_ID, ISSUER, OTHER_RSA_KEY, RSA_KEY, START, public
from tests.support.every import every
from tunnelctl.oidc.keys import read_keys
from tunnelrelay.oidc.logout.logout_token import EVENT, LoggedOut, check_logout_token
from tunnelrelay.oidc.tokens.id_token import MAX_AGE, KeyUnknown, TokenInvalid

NOW = int(START)
HONEST: dict[str, Any] = {
    "iss": ISSUER, "aud": CLIENT_ID, "sub": "alice", "sid": "s-1", "iat": NOW, "exp": NOW + 120, "jti": "t-1",
    "events": {EVENT: {}},
}  # fmt: skip


def check(token: str) -> LoggedOut:
    keys = read_keys({"keys": [public(RSA_KEY)]})
    return check_logout_token(token, keys, issuer=ISSUER, client_id=CLIENT_ID, now=START)


def changed(**changes: Any) -> dict[str, Any]:
    return {name: value for name, value in {**HONEST, **changes}.items() if value is not MISSING}


@pytest.mark.parametrize("kind", ["logout+jwt", "JWT", None])
def test_an_honest_token_says_who_signed_out(kind: str | None) -> None:
    expected = LoggedOut(subject="alice", sid="s-1", token_id="t-1", expires_at=NOW + 120.0)
    assert check(sign(HONEST, typ=kind)) == expected


@pytest.mark.parametrize("expiry", [NOW + 10**9, 1e300])
def test_a_token_that_is_good_for_ever_need_not_be_remembered_for_ever(expiry: float) -> None:
    assert check(sign(changed(exp=expiry))).expires_at == NOW + MAX_AGE


def test_a_session_or_a_subject_alone_is_enough() -> None:
    assert check(sign(changed(sub=MISSING))).subject == ""
    assert check(sign(changed(sid=MISSING))).sid == ""
    assert check(sign(changed(aud=[CLIENT_ID]))).sid == "s-1"


@every(
    "changes",
    [
        {"events": MISSING, "nonce": "n-1"},
        {"nonce": "n-1"},
        {"events": MISSING},
        {"events": []},
        {"events": {EVENT: "yes"}},
        {"events": {"http://schemas.openid.net/event/other": {}}},
        {"jti": MISSING},
        {"jti": ""},
        {"jti": 7},
        {"jti": "x" * 300},
        {"iat": MISSING},
        {"iat": NOW - 3600},
        {"iat": NOW + 3600},
        {"exp": MISSING},
        {"exp": NOW - 3600},
        {"exp": True},
        {"sub": MISSING, "sid": MISSING},
        {"sub": ""},
        {"sub": 7},
        {"sid": ["s-1"]},
        {"iss": ISSUER + "/"},
        {"iss": "https://evil.example"},
        {"aud": "other"},
        {"aud": [CLIENT_ID, "other"]},
        {"aud": []},
        {"aud": MISSING},
    ],
)
def test_what_is_no_logout_token_of_ours_ends_nothing(changes: dict[str, Any]) -> None:
    """Rows 17, 18. An ID token, a token that could be used again or for ever, and one for another client or issuer."""
    with pytest.raises(TokenInvalid):
        check(sign(changed(**changes), typ="logout+jwt"))


def test_a_token_of_another_kind_or_key_ends_nothing() -> None:
    """Row 16. An access token says so in its `typ`; a stranger's key is not the provider's."""
    with pytest.raises(TokenInvalid):
        check(sign(HONEST, typ="at+jwt"))
    with pytest.raises(KeyUnknown):
        check(sign(HONEST, key=OTHER_RSA_KEY, kid="k2"))
    with pytest.raises(TokenInvalid):
        check(sign(HONEST, key=OTHER_RSA_KEY))
