"""The check list for ID tokens against tokens that lie (rows 1-16, 24)."""

import hashlib
import hmac
import json
from string import ascii_lowercase, ascii_uppercase, digits
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws, jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from tests.oidc.world import CLIENT_ID, ISSUER, OTHER_RSA_KEY, RSA_KEY, START, public
from tunnelctl.oidc.base64url import b64url
from tunnelctl.oidc.keys import MAX_RSA_BITS, read_keys
from tunnelctl.oidc.metadata import ALGORITHMS
from tunnelrelay.oidc.tokens.id_token import MAX_HEADER, Expected, KeyUnknown, TokenInvalid, check_id_token

NOW = int(START)
KEYS = {"keys": [public(RSA_KEY)]}
EXPECTED = Expected(
    issuer=ISSUER,
    client_id=CLIENT_ID,
    nonce="n-1",
    algorithms=frozenset(ALGORITHMS),
    access_token="at",
    code="code",
    now=START,
)
HONEST: dict[str, Any] = {
    "iss": ISSUER, "aud": CLIENT_ID, "sub": "alice", "iat": NOW, "exp": NOW + 300, "nonce": "n-1",
}  # fmt: skip
MISSING = object()


def sign(claims: dict[str, Any], *, key: Any = RSA_KEY, **header: Any) -> str:
    header = {"alg": "RS256", "kid": "k1", **header}
    return jws.serialize_compact(
        {name: value for name, value in header.items() if value is not None},
        json.dumps(claims),
        key,
        algorithms=[header["alg"]],
        registry=jws.JWSRegistry(strict_check_header=False, algorithms=[header["alg"]]),
    )


def by_hand(header: dict[str, Any], payload: bytes, *, key: Any = RSA_KEY) -> str:
    """Signs what the library would refuse to write."""
    signed = f"{b64url(json.dumps(header).encode())}.{b64url(payload)}"
    return f"{signed}.{b64url(jws.JWSRegistry.algorithms['RS256'].sign(signed.encode(), key))}"


def changed(**changes: Any) -> dict[str, Any]:
    return {name: value for name, value in {**HONEST, **changes}.items() if value is not MISSING}


def check(token: str, keys: dict[str, Any] = KEYS) -> dict[str, Any]:
    return check_id_token(token, read_keys(keys), EXPECTED)


def refused(token: str, keys: dict[str, Any] = KEYS) -> str:
    with pytest.raises(TokenInvalid) as caught:
        check(token, keys)
    return str(caught.value)


def test_an_honest_token_passes() -> None:
    assert check(sign(HONEST))["sub"] == "alice"


@pytest.mark.parametrize("algorithm", ["none", "nOnE", "None", "", "HS256", "RS1", "ES256K", 256, None])
def test_row_1_a_token_without_a_real_signature_is_refused(algorithm: Any) -> None:
    header = b64url(json.dumps({"alg": algorithm, "kid": "k1"}).encode())
    payload = b64url(json.dumps(HONEST).encode())
    for signature in ("", "AAAA", sign(HONEST).rpartition(".")[2]):
        refused(f"{header}.{payload}.{signature}")


def test_row_1_a_token_with_its_signature_cut_off_is_refused() -> None:
    token = sign(HONEST)
    for cut in (token.rpartition(".")[0], token.rpartition(".")[0] + ".", token[:-4], token + "AAAA"):
        refused(cut)


def test_row_24_a_signature_has_one_spelling() -> None:
    token = sign(HONEST)
    alphabet = ascii_uppercase + ascii_lowercase + digits + "-_"
    unused_bit = alphabet[alphabet.index(token[-1]) + 1]
    for other in (token + "=", token + "==", f"{token[:-9]}!{token[-9:]}", token[:-1] + unused_bit):
        assert "base64url" in refused(other)


@pytest.mark.parametrize("as_pem", [True, False])
def test_row_2_hmac_with_the_public_key_as_secret_is_refused(as_pem: bool) -> None:
    secret = RSA_KEY.as_pem(private=False) if as_pem else RSA_KEY.as_der(private=False)
    header = b64url(b'{"alg":"HS256","kid":"k1"}')
    signed = f"{header}.{b64url(json.dumps(HONEST).encode())}"
    token = f"{signed}.{b64url(hmac.digest(secret, signed.encode(), hashlib.sha256))}"
    assert "algorithm" in refused(token)


@pytest.mark.parametrize("kid", ["k1", None, "mine"])
def test_row_3_a_key_in_the_header_is_ignored(kid: str | None) -> None:
    mine = RSAKey.generate_key(2048)
    lures = {"jwk": public(mine), "jku": "https://evil.example/jwks", "x5u": "https://evil.example/x", "x5c": ["AA=="]}
    for name, value in lures.items():
        refused(
            by_hand(
                {"alg": "RS256", name: value, **({"kid": kid} if kid else {})}, json.dumps(HONEST).encode(), key=mine
            )
        )


@pytest.mark.parametrize("header", [{"crit": ["x"]}, {"crit": ["b64"], "b64": False}, {"b64": True}, {"crit": []}])
def test_row_4_headers_that_demand_extensions_are_refused(header: dict[str, Any]) -> None:
    refused(by_hand({"alg": "RS256", "kid": "k1", **header}, json.dumps(HONEST).encode()))


@pytest.mark.parametrize("kid", ["k9", "../../etc/passwd", "' OR 1=1 --", "k" * 10_000, "K1", "", 1, ["k1"]])
def test_row_5_an_unknown_key_name_is_refused(kid: Any) -> None:
    refused(by_hand({"alg": "RS256", "kid": kid}, json.dumps(HONEST).encode()))


def test_row_5_an_encryption_key_signs_nothing() -> None:
    with pytest.raises(KeyUnknown):
        check(sign(HONEST), {"keys": [{**public(RSA_KEY), "use": "enc"}]})
    with pytest.raises(KeyUnknown):
        check(sign(HONEST), {"keys": [{**public(RSA_KEY), "key_ops": ["encrypt"]}]})


def test_row_6_without_a_key_name_one_fitting_key_is_taken_and_two_are_not() -> None:
    token = sign(HONEST, kid=None)
    assert check(token)["sub"] == "alice"
    ec_key = public(ECKey.generate_key("P-256"), kid="e1")
    assert check(token, {"keys": [public(RSA_KEY), ec_key]})["sub"] == "alice"
    refused(token, {"keys": [public(RSA_KEY), public(OTHER_RSA_KEY)]})


@pytest.mark.parametrize(
    "audience", ["other", [], MISSING, ["other"], None, {"a": CLIENT_ID}, [CLIENT_ID, 1], CLIENT_ID + "x"]
)
def test_row_7_a_token_for_another_client_is_refused(audience: Any) -> None:
    refused(sign(changed(aud=audience)))


@pytest.mark.parametrize("authorized", [MISSING, "evil", "", None])
def test_row_8_a_second_audience_without_our_azp_is_refused(authorized: Any) -> None:
    refused(sign(changed(aud=[CLIENT_ID, "evil"], azp=authorized)))


def test_row_8_azp_of_another_client_is_refused_whatever_the_audience() -> None:
    refused(sign(changed(azp="evil")))
    assert check(sign(changed(aud=[CLIENT_ID, "project"], azp=CLIENT_ID)))["sub"] == "alice"


@pytest.mark.parametrize(
    "issuer",
    [
        ISSUER + "/",
        ISSUER.upper(),
        ISSUER.replace("https", "http"),
        ISSUER + ".evil",
        ISSUER + "/x",
        "",
        MISSING,
        [ISSUER],
    ],
)
def test_row_9_any_other_issuer_is_refused(issuer: Any) -> None:
    refused(sign(changed(iss=issuer)))


@pytest.mark.parametrize("expiry", [NOW - 61, 0, -1, MISSING, str(NOW + 300), True, None, [], 10**400])
def test_row_10_a_token_that_has_expired_or_never_does_is_refused(expiry: Any) -> None:
    refused(sign(changed(exp=expiry)))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400"])
def test_row_10_numbers_that_are_none_are_refused(number: str) -> None:
    payload = json.dumps(HONEST).replace(str(NOW + 300), number).encode()
    refused(by_hand({"alg": "RS256", "kid": "k1"}, payload))


@pytest.mark.parametrize(
    "claims",
    [{"iat": NOW + 3600}, {"iat": NOW - 86_400}, {"iat": MISSING}, {"iat": "now"}, {"nbf": NOW + 3600}, {"nbf": "x"}],
)
def test_row_11_a_token_of_another_time_is_refused(claims: dict[str, Any]) -> None:
    refused(sign(changed(**claims)))


def test_row_11_a_minute_of_clock_skew_is_forgiven() -> None:
    assert check(sign(changed(iat=NOW + 59, nbf=NOW + 59)))
    assert check(sign(changed(exp=NOW - 59)))


@pytest.mark.parametrize("nonce", [MISSING, "n-2", "", None, "n-1 ", ["n-1"], 1, "ñ"])
def test_row_12_the_nonce_of_another_login_is_refused(nonce: Any) -> None:
    refused(sign(changed(nonce=nonce)))


@pytest.mark.parametrize("claim", ["at_hash", "c_hash"])
@pytest.mark.parametrize("value", ["wrong", "", None, 1])
def test_row_13_a_wrong_hash_is_refused(claim: str, value: Any) -> None:
    refused(sign(changed(**{claim: value})))


def test_row_13_a_right_hash_passes_for_every_algorithm() -> None:
    for algorithm, key in (
        ("RS256", RSA_KEY), ("RS384", RSA_KEY), ("RS512", RSA_KEY), ("PS256", RSA_KEY),
        ("ES256", ECKey.generate_key("P-256")), ("ES384", ECKey.generate_key("P-384")),
        ("ES512", ECKey.generate_key("P-521")), ("Ed25519", OKPKey.generate_key("Ed25519")),
    ):  # fmt: skip
        digest = hashlib.new(f"sha{algorithm[2:] if algorithm != 'Ed25519' else '512'}", b"at").digest()
        token = sign(changed(at_hash=b64url(digest[: len(digest) // 2])), key=key, alg=algorithm)
        assert check(token, {"keys": [public(key, kid="k1")]}), algorithm


def test_the_old_name_of_ed25519_is_understood() -> None:
    key = OKPKey.generate_key("Ed25519")
    header, payload = b64url(b'{"alg":"EdDSA","kid":"k1"}'), b64url(json.dumps(HONEST).encode())
    signature = jws.JWSRegistry.algorithms["Ed25519"].sign(f"{header}.{payload}".encode(), key)
    assert check(f"{header}.{payload}.{b64url(signature)}", {"keys": [public(key, kid="k1")]})


@pytest.mark.parametrize("subject", [MISSING, "", 7, "s" * 300, "a\0b", "a\nb", None, ["alice"], "a\u202eb"])
def test_row_14_a_subject_that_names_nobody_is_refused(subject: Any) -> None:
    refused(sign(changed(sub=subject)))


@pytest.mark.parametrize("kind", ["at+jwt", "logout+jwt", "application/at+jwt", "", 1, "JWS"])
def test_row_16_a_token_of_another_kind_is_refused(kind: Any) -> None:
    refused(by_hand({"alg": "RS256", "kid": "k1", "typ": kind}, json.dumps(HONEST).encode()))


def test_row_16_a_logout_token_is_refused() -> None:
    refused(sign(changed(events={"http://schemas.openid.net/event/backchannel-logout": {}})))


def test_row_24_oversized_tokens_are_refused() -> None:
    refused(sign(changed(blob="x" * 5_000_000)))
    refused(by_hand({"alg": "RS256", "kid": "k1", "pad": "x" * 200_000}, json.dumps(HONEST).encode()))


@pytest.mark.parametrize(
    "payload",
    [
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b"[" * 20_000 + b"]" * 20_000,
        json.dumps(HONEST).replace('"alice"', '"a\\ud800"').encode(),
        json.dumps(HONEST).replace('"sub": "alice"', '"sub": "alice", "sub": "bob"').encode(),
        json.dumps([HONEST]).encode(),
        b"\xff\xfe{}",
        b"",
        b"null",
        json.dumps(HONEST).encode() + b"x",
        json.dumps({**HONEST, "n": 1}).replace('"n": 1', '"n": ' + "9" * 5000).encode(),
    ],
    ids=["deep", "deep list", "surrogate", "duplicate", "list", "not utf-8", "empty", "null", "tail", "huge int"],
)
def test_row_24_json_that_can_be_read_in_two_ways_is_refused(payload: bytes) -> None:
    refused(by_hand({"alg": "RS256", "kid": "k1"}, payload))


def test_row_24_a_duplicate_member_in_the_header_is_refused() -> None:
    header = b64url(b'{"alg":"RS256","alg":"RS256","kid":"k1"}')
    refused(f"{header}.{sign(HONEST).split('.', 1)[1]}")


def test_an_encrypted_token_is_refused() -> None:
    refused("eyJhbGciOiJQQkVTMi1IUzI1NitBMTI4S1cifQ.AAAA.AAAA.AAAA.AAAA")


def test_an_algorithm_the_provider_did_not_advertise_is_refused() -> None:
    token = sign(HONEST, alg="RS512")
    expected = Expected(
        **{**{name: getattr(EXPECTED, name) for name in EXPECTED.__slots__}, "algorithms": frozenset({"RS256"})}
    )
    with pytest.raises(TokenInvalid):
        check_id_token(token, read_keys(KEYS), expected)


def test_a_key_bound_to_another_algorithm_is_not_used() -> None:
    with pytest.raises(KeyUnknown):
        check(sign(HONEST), {"keys": [public(RSA_KEY, alg="RS512")]})


def test_a_signature_by_another_key_of_the_same_name_is_refused() -> None:
    assert "signature" in refused(sign(HONEST, key=OTHER_RSA_KEY, kid="k1"))


def test_a_symmetric_key_in_the_key_set_checks_nothing() -> None:
    secret = OctKey.import_key("s" * 32)
    token = jwt.encode({"alg": "HS256", "kid": "o1"}, HONEST, secret, algorithms=["HS256"])
    refused(token, {"keys": [{**secret.as_dict(private=True), "kid": "o1"}]})


TOKEN = sign(HONEST)


@given(st.integers(0, len(TOKEN) - 1), st.sampled_from("Aa0_-.=%\n\xff"))
def test_no_changed_byte_is_accepted(at: int, other: str) -> None:
    token = TOKEN[:at] + other + TOKEN[at + 1 :]
    if token != TOKEN:
        refused(token)


@given(st.text(max_size=300))
def test_any_text_is_a_value_or_a_documented_error(text: str) -> None:
    refused(text)


@given(
    st.dictionaries(
        st.sampled_from([*HONEST, "azp", "nbf", "at_hash", "events"]),
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(max_size=5)
        | st.lists(st.text(max_size=5), max_size=3),
        min_size=1,
        max_size=4,
    )
)
def test_any_claims_are_a_value_or_a_documented_error(claims: dict[str, Any]) -> None:
    try:
        checked = check(sign({**HONEST, **claims}))
    except TokenInvalid:
        return
    assert (checked["iss"], checked["nonce"]) == (ISSUER, "n-1")
    assert isinstance(checked["sub"], str)


def test_a_signature_as_long_as_the_largest_accepted_key_makes_is_checked():
    signed = sign(HONEST).rpartition(".")[0]

    assert refused(f"{signed}.{b64url(b'x' * (MAX_RSA_BITS // 8))}") == "its signature is wrong"


def test_a_header_as_large_as_accepted_is_read():
    token = sign(HONEST, x5c=["A" * (MAX_HEADER // 4 * 3 - 100)])

    assert len(token.partition(".")[0]) > MAX_HEADER - 200
    assert check(token)["sub"] == HONEST["sub"]
