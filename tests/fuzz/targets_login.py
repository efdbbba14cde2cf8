"""What providers send, and what comes back sealed: blobs, tokens, keys, metadata, JSON."""

import json
import math
from typing import Any

import msgspec
from joserfc import jws
from joserfc.jwk import ECKey

from tests.fuzz.targets_http import check
from tunnelctl.oidc.base64url import b64url, unb64url
from tunnelctl.oidc.errors import ProviderError
from tunnelctl.oidc.keys import MAX_KEYS, KeySet, read_keys
from tunnelctl.oidc.metadata import ALGORITHMS, read_issuer, read_metadata
from tunnelctl.oidc.strict_json import NotStrictJson, parse_object
from tunnelrelay.keys.keyring import KeyRing, Master
from tunnelrelay.oidc.login.sealed_state import CALLBACK_AUDIENCE, Handoff, State, Transaction, open_blob, seal_blob
from tunnelrelay.oidc.logout.logout_token import check_logout_token
from tunnelrelay.oidc.tokens.access_token import check_bearer_token, claimed_issuer
from tunnelrelay.oidc.tokens.id_token import Expected, TokenInvalid, check_id_token
from tunnelrelay.policy.rules import Connection, Rules, TokenIssuer

NOW = 1_800_000_000.0
ISSUER, CLIENT_ID, NONCE = "https://op.example", "client", "nonce"
RING = KeyRing(
    b"r" * 32, (Master(kid="old", created=1.0, secret=b"o" * 32), Master(kid="new", created=2.0, secret=b"n" * 32))
)
"""Always the same, so that blobs in the corpus open."""
SIGNER = ECKey.import_key(
    {
        "kty": "EC",
        "crv": "P-256",
        "kid": "k1",
        "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
        "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
        "d": "870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE",
    }
)
"""The key of RFC 7517, appendix A: secret to nobody."""
KEYS: KeySet = read_keys({"keys": [SIGNER.as_dict(private=False)]})
EXPECTED = Expected(
    issuer=ISSUER,
    client_id=CLIENT_ID,
    nonce=NONCE,
    algorithms=frozenset(ALGORITHMS),
    access_token="at",
    code="code",
    now=NOW,
)
ISSUER_METADATA = read_issuer(
    {"issuer": ISSUER, "jwks_uri": f"{ISSUER}/jwks", "id_token_signing_alg_values_supported": list(ALGORITHMS)},
    configured=ISSUER,
    allow_http=False,
)
TOKENS_FOR_CLIENT = TokenIssuer(
    connection=Connection(
        id="c", issuer=ISSUER, client_id=CLIENT_ID, client_secret="s", scopes=(), rules=Rules(), idle_seconds=1,
        max_seconds=1, epoch="e", rules_version="r",
    ),
    audiences=frozenset({CLIENT_ID}),
)  # fmt: skip
JSON_BYTES = 64 * 1024


def sealed_text(data: bytes) -> None:
    """Row 81: text from a browser opens as one noun of ours or as nothing, and for its own purpose alone."""
    text = data.decode("latin-1")
    opened = [
        open_blob(RING, State, CALLBACK_AUDIENCE, text, NOW),
        open_blob(RING, Transaction, "app.tun.example", text, NOW),
        open_blob(RING, Handoff, "app.tun.example", text, NOW),
    ]
    assert len([noun for noun in opened if noun is not None]) <= 1
    assert all(noun is None or noun.expires_at > NOW for noun in opened)
    assert open_blob(RING, Handoff, "evil.tun.example", text, NOW) is None


def sealed_bytes(data: bytes) -> None:
    """Row 81: what was sealed opens as it was; with one character changed, or for another use, it does not open."""
    blob = RING.seal("state", "app", data)
    assert RING.open("state", "app", blob, len(blob)) == data
    assert RING.open("state", "app", blob, len(blob) - 1) is None
    assert RING.open("handoff", "app", blob, len(blob)) is None
    assert RING.open("state", "ap", blob, len(blob)) is None
    for position, other in zip(range(len(blob)), (data or b"\0") * len(blob), strict=False):
        character = chr(other & 0x7F)
        changed = blob[:position] + character + blob[position + 1 :]
        assert changed == blob or RING.open("state", "app", changed, len(blob)) is None, (position, character)


def id_token_text(data: bytes) -> None:
    """Rows 1 to 16, 23, 24: claims that an ID token may have, or TokenInvalid, whatever stands there as a token."""
    assert_fit(data.decode("latin-1"))


def id_token_claims(data: bytes) -> None:
    """The same behind a good signature, so that the claims are what varies. `HEADER\\nCLAIMS` varies the header too."""
    header, _, claims = data.rpartition(b"\n")
    signed = b64url(header or b'{"alg":"ES256","kid":"k1"}') + "." + b64url(claims)
    assert_fit(f"{signed}.{signature(signed)}")


def signature(text: str) -> str:
    return b64url(jws.JWSRegistry.algorithms["ES256"].sign(text.encode(), SIGNER))


def assert_fit(token: str) -> None:
    try:
        claims = check_id_token(token, KEYS, EXPECTED)
    except TokenInvalid:
        return
    assert fits(claims), claims


def fits(claims: dict[str, Any]) -> bool:
    """What must be true of an accepted token, written down a second time."""
    audience = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
    return (
        claims["iss"] == ISSUER
        and CLIENT_ID in audience
        and claims.get("azp", CLIENT_ID) in (CLIENT_ID, None)
        and (audience.count(CLIENT_ID) == len(audience) or claims.get("azp") == CLIENT_ID)
        and claims["nonce"] == NONCE
        and type(claims["sub"]) is str
        and 0 < len(claims["sub"]) < 256
        and all(type(claims[name]) in (int, float) and math.isfinite(claims[name]) for name in ("exp", "iat"))
        and claims["exp"] + 60 >= NOW
        and NOW - 660 <= claims["iat"] <= NOW + 60
        and claims.get("nbf", NOW) <= NOW + 60
        and "events" not in claims
    )


def logout_claims(data: bytes) -> None:
    """Rows 17, 18: who signed out, or TokenInvalid. A token with a nonce is never one for logout."""
    signed = b64url(b'{"alg":"ES256","kid":"k1","typ":"logout+jwt"}') + "." + b64url(data)
    try:
        who = check_logout_token(f"{signed}.{signature(signed)}", KEYS, issuer=ISSUER, client_id=CLIENT_ID, now=NOW)
    except TokenInvalid:
        return
    claims = json.loads(data)
    assert who.token_id
    assert who.subject or who.sid
    assert (who.subject, who.sid) == (claims.get("sub", ""), claims.get("sid", ""))
    assert "nonce" not in claims
    assert (claims["iss"], claims["aud"]) in ((ISSUER, CLIENT_ID), (ISSUER, [CLIENT_ID]))


def bearer_claims(data: bytes) -> None:
    """Rows 9, 10, 14, 16, 28: claims that opened an endpoint, or TokenInvalid. A first line is the header."""
    header, _, claims = data.rpartition(b"\n")
    signed = b64url(header or b'{"alg":"ES256","kid":"k1","typ":"at+jwt"}') + "." + b64url(claims)
    try:
        token = f"{signed}.{signature(signed)}"
        read = check_bearer_token(token, ISSUER_METADATA, KEYS, TOKENS_FOR_CLIENT, now=NOW)
    except TokenInvalid:
        return
    audience = read["aud"] if isinstance(read["aud"], list) else [read["aud"]]
    assert claimed_issuer(token) == read["iss"] == ISSUER
    assert CLIENT_ID in audience
    assert set(audience) == {CLIENT_ID} or CLIENT_ID in (read.get("azp"), read.get("client_id"))
    assert 0 < len(read["sub"]) < 256
    assert math.isfinite(read["exp"])
    assert read["exp"] + 60 >= NOW
    assert not {"events", "cnf"} & read.keys()
    assert "nonce" not in read or set(audience) == {CLIENT_ID}


def strict_json(data: bytes) -> None:
    """Row 24: an object that two other parsers read alike, or NotStrictJson."""
    try:
        read = parse_object(data, max_bytes=JSON_BYTES)
    except NotStrictJson:
        return
    assert read == json.loads(data)
    assert read == parse_object(json.dumps(read).encode(), max_bytes=JSON_BYTES * 8)
    try:
        theirs = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        check(is_narrower(str(error)), error)
        return
    assert theirs == read


def is_narrower(words: str) -> bool:
    """msgspec takes no number that a float cannot hold, and nothing nested deeper than a thousand."""
    return any(word in words for word in ("out of range", "recursion", "too big"))


def key_set(data: bytes) -> None:
    """Row 25: keys fit to check signatures with, or ProviderError."""
    document = json_object(data)
    if document is None:
        return
    try:
        keys = read_keys(document).keys
    except ProviderError:
        return
    assert len(keys) <= MAX_KEYS
    assert all(key.algorithms <= set(ALGORITHMS) and not key.key.is_private for key in keys)


def metadata(data: bytes) -> None:
    """Rows 9, 31, 133: a provider whose every address may be called, or ProviderError."""
    document = json_object(data)
    if document is None:
        return
    try:
        read = read_metadata(document, configured=ISSUER, has_secret=True, allow_http=False)
    except ProviderError:
        return
    assert read.issuer in (ISSUER, f"{ISSUER}/")
    addresses = [read.authorization_endpoint, read.token_endpoint, read.jwks_uri, read.userinfo_endpoint]
    assert all(not url or url.lower().startswith("https:") for url in addresses), addresses
    assert read.algorithms <= set(ALGORITHMS)


def json_object(data: bytes) -> dict[str, Any] | None:
    try:
        return parse_object(data, max_bytes=JSON_BYTES)
    except NotStrictJson:
        return None


def base64url(data: bytes) -> None:
    """Row 81: one spelling for each value, and nothing else is read."""
    assert unb64url(b64url(data)) == data
    text = data.decode("latin-1")
    read = unb64url(text) if text.isascii() else None
    assert read is None or b64url(read) == text


TARGETS = (
    sealed_text,
    sealed_bytes,
    id_token_text,
    id_token_claims,
    logout_claims,
    bearer_claims,
    strict_json,
    key_set,
    metadata,
    base64url,
)
SEALED = {
    "state": seal_blob(
        RING,
        CALLBACK_AUDIENCE,
        State(
            tx="0" * 32, binding=b"b" * 32, connection_id="c", epoch="e", host="app.tun.example", issuer=ISSUER,
            needs_iss=True, expires_at=NOW + 600,
        ),
    ),
}  # fmt: skip
