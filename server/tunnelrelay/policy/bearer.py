"""Compiles the rules for programs' tokens to a `Bearer`, and judges a token's claims by it. Pure.

`oidc/tokens/access_token.py` checks a token's signature, `tunnelctl/policy/check.py` an owner's settings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tunnelctl.wire.messages import JwtSpec, PolicySpec
from tunnelrelay.model import RequestKind
from tunnelrelay.policy.connections import digest, without_client
from tunnelrelay.policy.rules import (
    Bearer,
    Claims,
    Connection,
    Refusal,
    TokenIssuer,
    claim_texts,
    verified_email,
)
from tunnelrelay.policy.verdict import Allow, Deny, Unauthorized, Verdict, network_allows

if TYPE_CHECKING:
    from tunnelctl.http1.head import RequestHead
    from tunnelrelay.policy.rules import Policy


def compile_bearer(spec: PolicySpec, connection: Connection | None, *, owner: str, key: bytes) -> Bearer | None:
    """Returns which tokens open the endpoint; None for none.

    Args:
        connection: Compiled from the same spec; None without a login.
        owner: The endpoint's owner.
        key: Secret of this relay that stays the same over restarts.
    """
    issuers = [_compile_issuer(jwt, owner=owner, key=key) for jwt in spec.jwt]
    if connection is not None and connection.bearer:
        issuers.insert(0, TokenIssuer(connection=connection, audiences=connection.bearer))
    if not issuers:
        return None
    return Bearer(tuple(issuers), digest(key, "bearer", [text for issuer in issuers for text in _canonical(issuer)]))


def admits(issuer: TokenIssuer, claims: Claims) -> Literal[True] | Refusal:
    """Returns whether the holder of a token with these claims may come in.

    Args:
        claims: Verified, with `email_verified` and `groups` as rules read them.
    """
    if issuer.is_of_login:
        return issuer.connection.rules.admits(claims)
    for name, values in issuer.claims:
        # Unverified addresses do not count (see `verified_email`).
        found = (verified_email(claims),) if name == "email" else claim_texts(claims.get(name))
        if values.isdisjoint(found):
            return Refusal("claim")
    return True


def judge_token(policy: Policy, *, peer_ip: str, head: RequestHead, origin: bytes) -> Verdict:
    """Return what to do with a request whose token is valid.

    Browsers never add a token by themselves, so other sites' pages cannot use one. Only a websocket's `Origin` is
    checked, if there is one; programs send none.

    Args:
        peer_ip, origin: As `verdict.judge` takes them.
    """
    if not network_allows(policy, peer_ip):
        return Deny("network_denied")
    sent = head.get(b"origin") if head.upgrade else None
    if sent is not None and sent != origin and sent not in policy.origins:
        return Unauthorized(RequestKind.UPGRADE)
    return Allow.NAMED


def _compile_issuer(spec: JwtSpec, *, owner: str, key: bytes) -> TokenIssuer:
    values: dict[str, set[str]] = {}
    for name, value in spec.claims:
        values.setdefault(name, set()).add(value)
    return TokenIssuer(
        connection=without_client(digest(key, "jwt", (owner, spec.issuer)), spec.issuer, owner=owner),
        audiences=frozenset({spec.audience}),
        claims=tuple((name, frozenset(texts)) for name, texts in sorted(values.items())),
    )


def _canonical(issuer: TokenIssuer) -> list[str]:
    connection = issuer.connection
    return [
        f"issuer {connection.id} {connection.epoch} {connection.rules_version}",
        f"reading {connection.groups_claim} {connection.email_verified}",
        *(f"audience {audience}" for audience in sorted(issuer.audiences)),
        *(f"claim {len(name)} {name} {value}" for name, values in issuer.claims for value in sorted(values)),
    ]
