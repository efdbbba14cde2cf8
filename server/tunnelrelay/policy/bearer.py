"""Compiles the rules for tokens of programs to a `Bearer`, and checks a token's claims by it. Does no I/O.

`oidc/tokens/access_token.py` verifies a token's signature, `tunnelctl/policy/check.py` an owner's settings.
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


def compile_bearer(
    spec: PolicySpec, connection: Connection | None, *, owner: str, key: bytes, run_token_sha256: bytes = b""
) -> Bearer | None:
    """Compile the rules about which tokens give access to an endpoint; None when no token does.

    Args:
        connection: The login connection compiled from the same spec; None without a login.
        owner: Owner of the endpoint.
        key: Secret of this relay that does not change across restarts.
        run_token_sha256: As in `Bearer`.
    """
    issuers = [_compile_issuer(jwt, owner=owner, key=key) for jwt in spec.jwt]
    if connection is not None and connection.bearer:
        issuers.insert(0, TokenIssuer(connection=connection, audiences=connection.bearer))
    if not issuers and not run_token_sha256:
        return None
    texts = [text for issuer in issuers for text in _canonical(issuer)]
    if run_token_sha256:
        texts.append(f"run {run_token_sha256.hex()}")
    return Bearer(tuple(issuers), digest(key, "bearer", texts), run_token_sha256)


def admits(issuer: TokenIssuer, claims: Claims) -> Literal[True] | Refusal:
    """Return whether the holder of a token with these claims may enter.

    Args:
        claims: Verified claims, with `email_verified` and `groups` in the form that rules use.
    """
    if issuer.is_of_login:
        return issuer.connection.rules.admits(claims)
    for name, values in issuer.claims:
        # E-mail addresses that are not verified do not count (see `verified_email`).
        found = (verified_email(claims),) if name == "email" else claim_texts(claims.get(name))
        if values.isdisjoint(found):
            return Refusal("claim")
    return True


def judge_token(policy: Policy, *, peer_ip: str, head: RequestHead, origin: bytes) -> Verdict:
    """Decide what to do with a request that has a valid token.

    Browsers never add a token by themselves, so pages of other sites cannot use one. Therefore only a websocket's
    `Origin` is checked, if present; programs send none.

    Args:
        peer_ip, origin: As for `verdict.judge`.
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
