"""Checks logout tokens, with which a provider reports that a person signed out (OpenID Connect Back-Channel Logout 1.0
section 2.6). Does no I/O; signatures are checked in `oidc/tokens/id_token.py`.
"""

from dataclasses import dataclass
from typing import Any

from tunnelctl.oidc.keys import KeySet
from tunnelctl.oidc.metadata import ALGORITHMS
from tunnelrelay.oidc.tokens.id_token import (
    JWT_KIND,
    LEEWAY,
    MAX_AGE,
    TokenInvalid,
    check_subject,
    numeric_date,
    signed_claims,
    strictly,
)

EVENT = "http://schemas.openid.net/event/backchannel-logout"
KINDS = JWT_KIND | {"logout+jwt"}
"""Allowed values of `typ`. Providers older than RFC 8725 send no `typ`, or `JWT`; the `events` member identifies their
logout tokens."""
MAX_NAME = 255
"""Maximum characters of a session id or token id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedOut:
    """A checked logout token: the person or session that signed out at the provider.

    Attributes:
        subject: The person's `sub`; "" when the token names only a session.
        sid: The provider's own session id; "" for all sessions of the subject.
        token_id: The token's `jti`, by which a replay is detected.
        expires_at: Unix time, at most `MAX_AGE` after the token was issued. After it (and a leeway) the token is
            refused in any case, so its use need not be remembered longer.
    """

    subject: str
    sid: str
    token_id: str
    expires_at: float


def check_logout_token(token: str, keys: KeySet, *, issuer: str, client_id: str, now: float) -> LoggedOut:
    """Check a logout token and return who signed out.

    `exp` and `jti` are required although early drafts had no such members: without them a leaked token could end
    sessions for ever.

    Raises:
        ProviderChanged: No known key, or no algorithm known to be used, matches the signature.
        TokenInvalid: Any other check failed, for example because it is an ID token, which has a `nonce` and no
            `events`.
    """
    with strictly():
        claims, _ = signed_claims(token, keys, algorithms=frozenset(ALGORITHMS), kinds=KINDS)
        _check_parties(claims, issuer, client_id)
        expires_at = _check_times(claims, now)
        events = claims.get("events")
        if not isinstance(events, dict) or not isinstance(events.get(EVENT), dict) or "nonce" in claims:
            raise TokenInvalid("it is no logout token")
        sid, token_id = _name(claims, "sid"), _name(claims, "jti")
        if "sub" in claims:
            check_subject(claims)
        elif not sid:
            raise TokenInvalid("it names neither a subject nor a session")
        if not token_id:
            raise TokenInvalid("its `jti` is missing")
    return LoggedOut(subject=claims.get("sub", ""), sid=sid, token_id=token_id, expires_at=expires_at)


def _check_parties(claims: dict[str, Any], issuer: str, client_id: str) -> None:
    """Check issuer and audience. This client must be the only audience, as each client gets its own token."""
    if claims.get("iss") != issuer:
        raise TokenInvalid("its `iss` is not the provider's issuer")
    if claims.get("aud") not in (client_id, [client_id]):
        raise TokenInvalid("its `aud` is not this client")


def _check_times(claims: dict[str, Any], now: float) -> float:
    expires_at, issued_at = numeric_date(claims, "exp"), numeric_date(claims, "iat")
    if now > expires_at + LEEWAY:
        raise TokenInvalid("it has expired")
    if issued_at > now + LEEWAY or issued_at < now - MAX_AGE - LEEWAY:
        raise TokenInvalid("its `iat` is not now (is a clock wrong?)")
    return min(expires_at, issued_at + MAX_AGE)


def _name(claims: dict[str, Any], name: str) -> str:
    value = claims.get(name, "")
    if not isinstance(value, str) or len(value) > MAX_NAME or not value.isprintable():
        raise TokenInvalid(f"its `{name}` is unusable")
    return value
