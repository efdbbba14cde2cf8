"""Checks the access tokens that programs send in `Authorization` (RFC 6750, RFC 9068, RFC 8725). Does no I/O.

`claimed_issuer` reads the unverified issuer, which only selects the keys for the check. Tokens of other issuers are
left to the app and not checked.
"""

from typing import Any

from tunnelctl.bounds import DeclaredBound
from tunnelctl.oidc.base64url import unb64url
from tunnelctl.oidc.keys import KeySet
from tunnelctl.oidc.metadata import Metadata
from tunnelctl.oidc.strict_json import NotStrictJson, parse_object
from tunnelrelay.oidc.tokens.id_token import (
    JWT_KIND,
    LEEWAY,
    MAX_HEADER,
    TokenInvalid,
    check_sign_in,
    check_subject,
    numeric_date,
    signed_claims,
    strictly,
)
from tunnelrelay.policy.rules import TokenIssuer

MAX_BEARER = 16 * 1024
"""Maximum characters of an access token. Every request can have a new one, and reading the worst of this size costs
about 3 ms; ID tokens may be longer, as each login has only one. A longer text is not treated as a token."""

BOUNDS = (
    DeclaredBound(
        name="bearer token",
        limit=MAX_BEARER,
        unit="bytes",
        per="request",
        when_full="it is the app's to judge: the endpoint asks for a login",
        worst_bytes=0,
    ),
)
RUN_TOKEN_PREFIX = b"tr_"
"""The first bytes of tokens that agents make for their own run (see `Bind.run_token_sha256`)."""
KINDS = JWT_KIND | {"at+jwt", "application/at+jwt"}
"""Values of `typ` in access tokens: the standard one (RFC 9068 section 2.1), and others from before the standard."""


def may_be_token(authorization: bytes) -> bool:
    """Return whether the value of an `Authorization` field looks like a JWT, or like the token of an agent's run.

    Cheap; few other values look like one.
    """
    is_bearer = authorization[:7].lower() == b"bearer "
    return is_bearer and (authorization.count(b".") == 2 or authorization.startswith(RUN_TOKEN_PREFIX, 7))


def token_in(authorization: bytes) -> str:
    """Return the token in an `Authorization` field with the scheme Bearer; "" for any other value."""
    scheme, _, token = authorization.partition(b" ")
    return token.strip(b" ").decode("latin-1") if scheme.lower() == b"bearer" else ""


def claimed_issuer(token: str) -> str:
    """Return the unverified `iss` of a JWT; "" when the text is not a JWT, or has none."""
    parts = token.split(".", 3) if len(token) <= MAX_BEARER and token.isascii() else []
    if len(parts) != 3 or len(parts[0]) > MAX_HEADER:
        return ""
    header, payload = unb64url(parts[0]), unb64url(parts[1])
    try:
        parse_object(header or b"", max_bytes=MAX_HEADER)
        issuer = parse_object(payload or b"", max_bytes=MAX_BEARER).get("iss")
    except NotStrictJson:
        return ""
    return issuer if isinstance(issuer, str) else ""


def check_bearer_token(
    token: str, metadata: Metadata, keys: KeySet, issuer: TokenIssuer, *, now: float
) -> dict[str, Any]:
    """Check an access token and return its claims.

    Args:
        now: Unix time.

    Raises:
        ProviderChanged: No known key, or no algorithm known to be used, matches the signature.
        TokenInvalid: Any other check failed.
    """
    with strictly():
        claims, _ = signed_claims(token, keys, algorithms=metadata.algorithms, kinds=KINDS)
        if claims.get("iss") != metadata.issuer:
            raise TokenInvalid("its `iss` is not the issuer's name to the letter")
        _check_audience(claims, issuer)
        _check_times(claims, now)
        _check_purpose(claims, issuer)
        check_subject(claims)
        # The required login strength of users (RFC 9470) applies to tokens too; otherwise tokens would bypass it.
        asked = issuer.connection
        check_sign_in(claims, max_age=asked.max_age, required_acr=asked.required_acr, now=now)
    return claims


def _check_audience(claims: dict[str, Any], issuer: TokenIssuer) -> None:
    """Check the audience, which must contain one of ours. With further audiences, `azp` must be one of ours too.

    Any other service in the audience may have the token and could send it to us: acceptable for the owner's own client,
    but not for a stranger's at the same issuer.
    """
    audience = claims.get("aud")
    audiences = [audience] if isinstance(audience, str) else audience
    if not isinstance(audiences, list) or not all(isinstance(item, str) for item in audiences):
        raise TokenInvalid("its `aud` is missing or no list of texts")
    if issuer.audiences.isdisjoint(audiences):
        raise TokenInvalid("its `aud` is none that is accepted here")
    asked_by = claims.get("azp", claims.get("client_id"))
    if not issuer.audiences.issuperset(audiences) and (
        not isinstance(asked_by, str) or asked_by not in issuer.audiences
    ):
        raise TokenInvalid("its `aud` names others too, and its `azp` is none that is accepted here")


def _check_times(claims: dict[str, Any], now: float) -> None:
    """Check `exp`, which is required, `nbf` and `iat`. The token's age does not matter."""
    if now > numeric_date(claims, "exp") + LEEWAY:
        raise TokenInvalid("it has expired")
    for name in ("nbf", "iat"):
        if name in claims and numeric_date(claims, name) > now + LEEWAY:
            raise TokenInvalid(f"its `{name}` is in the future (is a clock wrong?)")


def _check_purpose(claims: dict[str, Any], issuer: TokenIssuer) -> None:
    """Refuse other kinds of tokens that the same keys sign: logout tokens, ID tokens for other clients, tokens bound to
    a key.
    """
    if "events" in claims:
        raise TokenInvalid("it is a logout token or another event")
    if "cnf" in claims:
        # Bound to a key that its holder must prove to have (RFC 8705, RFC 9449): without the proof, it may be stolen.
        raise TokenInvalid("it is bound to a key (`cnf`), which cannot be proved here")
    own_client = issuer.connection.client_id
    if "nonce" in claims and (not own_client or claims["aud"] not in (own_client, [own_client])):
        raise TokenInvalid("it is the ID token of a login at another client")
