"""Builds requests to the token endpoint and reads the responses: from a code to tokens, and from tokens to claims. Does
no I/O.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tunnelctl.oidc.client_auth import authenticated
from tunnelctl.oidc.errors import ProviderError
from tunnelctl.oidc.metadata import Metadata
from tunnelrelay.oidc.providers.fetch import Answer
from tunnelrelay.oidc.tokens.claims import root_of
from tunnelrelay.oidc.tokens.identity import fitting_groups
from tunnelrelay.policy.rules import Claims, Connection, groups_of

MAX_CLAIMS = 10 * 1024
"""Maximum bytes of the claims that a session keeps: the person's identity and 200 groups by id. All tenants share the
disk."""
MAX_EXPIRES_IN = 30 * 24 * 3600
"""Maximum accepted seconds of `expires_in`, as no session is longer."""
ABOUT_THE_TOKEN = frozenset(
    {"iss", "aud", "azp", "exp", "iat", "nbf", "nonce", "at_hash", "c_hash", "jti", "auth_time"}
)
"""Claims about the token instead of the person: never taken from userinfo, never kept."""
ABOUT_THE_VISITOR = frozenset(
    {
        *("invalid_grant", "interaction_required", "login_required", "consent_required"),
        *("invalid_token", "insufficient_scope"),  # error codes of a userinfo endpoint (RFC 6750 section 3.1)
    }
)
"""Error codes that concern the visitor, or the code or token sent for the visitor. All other codes concern the client
or the provider itself."""
_KNOWN_ERRORS = frozenset(
    {"invalid_client", "invalid_grant", "invalid_request", "unauthorized_client", "invalid_scope"}
)


class OtherSubject(ProviderError):
    """The userinfo response has another `sub` than the ID token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """The tokens in the token endpoint's response. Never logged.

    Attributes:
        id_token: The ID token; "" when a refresh returned none (Core section 12.2 allows that).
        refresh_token: The refresh token; "" without one.
        expires_in: Lifetime of the access token in seconds; 0 when the provider does not say.
    """

    id_token: str
    access_token: str
    refresh_token: str = ""
    expires_in: float = 0.0

    def __repr__(self) -> str:
        """Leave out the tokens."""
        return "Tokens(...)"


def token_request(
    connection: Connection, metadata: Metadata, *, code: str, verifier: str, redirect_uri: str
) -> tuple[bytes, dict[str, str]]:
    """Return body and extra header fields of the request that redeems a code (RFC 6749 section 4.1.3, RFC 7636 4.5)."""
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri, "code_verifier": verifier}
    return authenticated(
        form,
        method=metadata.auth_method,
        client_id=connection.client_id,
        client_secret=connection.client_secret.reveal(),
    )


def refresh_request(connection: Connection, metadata: Metadata, refresh_token: str) -> tuple[bytes, dict[str, str]]:
    """Return body and extra header fields of a refresh request (RFC 6749 section 6), without `scope`, to keep the
    granted one.
    """
    form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    return authenticated(
        form,
        method=metadata.auth_method,
        client_id=connection.client_id,
        client_secret=connection.client_secret.reveal(),
    )


def revocation_request(connection: Connection, metadata: Metadata, refresh_token: str) -> tuple[bytes, dict[str, str]]:
    """Return body and extra header fields of a revocation request (RFC 7009 section 2.1)."""
    form = {"token": refresh_token, "token_type_hint": "refresh_token"}
    return authenticated(
        form,
        method=metadata.auth_method,
        client_id=connection.client_id,
        client_secret=connection.client_secret.reveal(),
    )


def read_tokens(answer: Answer) -> Tokens:
    """Return the tokens in the token endpoint's response (RFC 6749 section 5.1, Core section 3.1.3.3).

    A malformed `expires_in` or `refresh_token` counts as missing: the login works without it, with fewer re-checks.

    Raises:
        ProviderError: The response is an error, or lacks a required member.
    """
    content = answer.content
    if answer.status != 200:
        error = content.get("error")
        # Only registered error codes are repeated: this text is logged, and the provider may be hostile.
        reason = f" ({error})" if isinstance(error, str) and error in _KNOWN_ERRORS else ""
        raise ProviderError("invalid", f"the token endpoint answered {answer.status}{reason}{_hint(error)}")
    tokens = granted(content)
    if not tokens.id_token:
        raise ProviderError("invalid", "the token endpoint sent no ID token; hint: is the scope `openid` granted?")
    return tokens


def granted(content: Mapping[str, object]) -> Tokens:
    """Return the tokens in a successful response, to a code or to a refresh token. Raises ProviderError."""
    kind, id_token, access_token = (content.get(name) for name in ("token_type", "id_token", "access_token"))
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise ProviderError("invalid", "the token endpoint's `token_type` is not Bearer")
    if not isinstance(access_token, str) or not access_token.isascii() or not access_token.isprintable():
        raise ProviderError("invalid", "the token endpoint sent no usable access token")
    refresh_token = content.get("refresh_token")
    return Tokens(
        id_token=id_token if isinstance(id_token, str) else "",
        access_token=access_token,
        refresh_token=refresh_token if isinstance(refresh_token, str) and refresh_token.isprintable() else "",
        expires_in=_lifetime(content.get("expires_in")),
    )


def _lifetime(seconds: object) -> float:
    """Return a lifetime in seconds; 0 for anything that is not a finite number."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return 0.0
    return float(seconds) if 0 < seconds <= MAX_EXPIRES_IN else 0.0


def needs_userinfo(claims: dict[str, Any], connection: Connection) -> bool:
    """Return whether the rules, or the app's header fields, need a claim that the ID token lacks."""
    rules = connection.rules
    needed = {name for name, _ in rules.claims}
    if rules.groups:
        needed.add(root_of(connection.groups_claim, claims))
    if "email" in connection.scopes or rules.emails or rules.domains:
        needed |= {"email", "email_verified"}
    has_no_name = "profile" in connection.scopes and not {"name", "preferred_username"} & claims.keys()
    return has_no_name or not needed <= claims.keys()


def merge_userinfo(claims: dict[str, Any], answer: Answer) -> dict[str, Any]:
    """Return the ID token's claims, completed by userinfo's (Core section 5.3). The signed ones take precedence.

    Raises:
        ProviderError: The response is not a success, or is about another person (section 5.3.2).
    """
    if answer.status != 200:
        raise ProviderError("invalid", f"the userinfo endpoint answered {answer.status}")
    if answer.content.get("sub") != claims["sub"]:
        raise OtherSubject("invalid", "the userinfo endpoint speaks of another subject than the ID token")
    more = {name: value for name, value in answer.content.items() if name not in ABOUT_THE_TOKEN}
    if "email" in claims and more.get("email") != claims["email"]:
        # `email_verified` is about the address in the same document, not about one in the other document.
        more.pop("email_verified", None)
    return {**more, **claims}


def claims_to_keep(claims: Claims, connection: Connection) -> dict[str, object]:
    """Return the claims that a session keeps: the identity, and claims that rules may need later, within `MAX_CLAIMS`.

    If not all fit, those for the present rules and identity header fields are kept. If later rules need others, they
    refuse the session, and the next login provides them.
    """
    kept = {name: value for name, value in claims.items() if name not in ABOUT_THE_TOKEN}
    if _size(kept) <= MAX_CLAIMS:
        return kept
    rules = connection.rules
    needed = {
        "sub",
        "email",
        "email_verified",
        "name",
        "preferred_username",
        "groups",
        *(name for name, _ in rules.claims),
    }
    kept = {name: value for name, value in kept.items() if name in needed}
    if "groups" in kept:
        kept["groups"] = fitting_groups(sorted(groups_of(claims), key=lambda group: group not in rules.groups))
    while _size(kept) > MAX_CLAIMS:
        del kept[max(kept, key=lambda name: _size(kept[name]))]
    return kept


def _size(value: object) -> int:
    return len(json.dumps(value))


def _hint(error: object) -> str:
    match error:
        case "invalid_client" | "unauthorized_client":
            return "; hint: check the client id and the client secret"
        case "invalid_grant":
            return "; hint: the code was used before or expired, or the redirect URI differs from the registered one"
        case _:
            return ""
