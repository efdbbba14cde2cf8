"""Tokens that programs show instead of a login: whose are taken, what they must say, and which requests they open.

Pure. A token's signature is checked in `oidc/tokens/access_token.py`; here is what an owner may ask for, and what is
asked of a token's claims once they are believed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from tunnelctl.wire.messages import JwtSpec, PolicySpec
from tunnelctl.wire.problem import Problem
from tunnelrelay.model import RequestKind
from tunnelrelay.policy.connections import RefusesIssuer, digest, issuer_problems, without_client
from tunnelrelay.policy.rules import (
    Bearer,
    Claims,
    Connection,
    Refusal,
    TokenIssuer,
    claim_texts,
    verified_email,
)
from tunnelrelay.policy.shared_issuers import SHARED_DOMAINS, narrows, shared_issuer
from tunnelrelay.policy.verdict import Allow, Deny, Unauthorized, Verdict, network_allows

if TYPE_CHECKING:
    from tunnelctl.http1.head import RequestHead
    from tunnelrelay.policy.rules import Policy

MAX_ISSUERS = 8
MAX_AUDIENCES = 16
MAX_CLAIM_RULES = 32
"""Of one issuer. Each of these is looked at for every token."""
MAX_TEXT = 512
"""Characters of an audience, or of a claim's name or value."""


def compile_bearer(
    spec: PolicySpec,
    connection: Connection | None,
    *,
    owner: str,
    key: bytes,
    problems: list[Problem],
    refuses_issuer: RefusesIssuer,
) -> Bearer | None:
    """Returns which tokens open the endpoint, None for none; what is wrong is appended to `problems`.

    Args:
        connection: Compiled from the same spec; None without a login.
        owner: Whose endpoint it is.
        key: Secret of this relay that stays the same over restarts.
        refuses_issuer: Knows which issuers this relay calls.
    """
    issuers: list[TokenIssuer] = []
    if connection is not None and connection.bearer:
        problems += _audience_problems("oidc.bearer", connection.bearer)
        problems += _too_wide_for_programs(connection)
        issuers.append(TokenIssuer(connection=connection, audiences=connection.bearer))
    if len(spec.jwt) > MAX_ISSUERS:
        problems.append(Problem("jwt.issuer", f"{len(spec.jwt)} issuers, at most {MAX_ISSUERS}"))
    for jwt in spec.jwt[:MAX_ISSUERS]:
        problems += issuer_problems(jwt.issuer, "jwt.issuer", refuses_issuer)
        issuers.append(_extra(jwt, owner=owner, key=key, problems=problems))
    problems += _said_twice(spec)
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
        # An address that a user merely typed in at the issuer is no address (see `verified_email`).
        found = (verified_email(claims),) if name == "email" else claim_texts(claims.get(name))
        if values.isdisjoint(found):
            return Refusal("claim")
    return True


def judge_token(policy: Policy, *, peer_ip: str, head: RequestHead, origin: bytes) -> Verdict:
    """Returns what to do with a request whose token was found good.

    No browser adds a token by itself, so nothing another site's page does can borrow one: only a websocket's `Origin`
    is looked at, where it is said. Programs send none.

    Args:
        peer_ip, origin: As `verdict.judge` takes them.
    """
    if not network_allows(policy, peer_ip):
        return Deny("network_denied")
    sent = head.get(b"origin") if head.upgrade else None
    if sent is not None and sent != origin and sent not in policy.origins:
        return Unauthorized(RequestKind.UPGRADE)
    return Allow.NAMED


def _extra(spec: JwtSpec, *, owner: str, key: bytes, problems: list[Problem]) -> TokenIssuer:
    problems += _audience_problems("jwt.audience", (spec.audience,))
    if len(spec.claims) > MAX_CLAIM_RULES:
        problems.append(Problem("jwt.claims", f"{len(spec.claims)} claim rules, at most {MAX_CLAIM_RULES}"))
    texts = [text for name, value in spec.claims if (text := _claim_problem(name, value))]
    problems += [Problem("jwt.claims", text) for text in texts]
    shared = shared_issuer(spec.issuer)
    if shared is not None and not narrows(spec.claims, shared):
        text = f"{spec.issuer} signs for {shared.who}: say whose tokens you mean with a claim rule such as "
        problems.append(Problem("jwt.claims", text + shared.example))
    values: dict[str, set[str]] = {}
    for name, value in spec.claims:
        values.setdefault(name, set()).add(value)
    return TokenIssuer(
        connection=without_client(digest(key, "jwt", (owner, spec.issuer)), spec.issuer, owner=owner),
        audiences=frozenset({spec.audience}),
        claims=tuple((name, frozenset(texts)) for name, texts in sorted(values.items())),
    )


def _too_wide_for_programs(connection: Connection) -> list[Problem]:
    """Of a shared issuer everybody gets tokens for any audience, without the owner's client having a part in it."""
    shared, rules = shared_issuer(connection.issuer), connection.rules
    if shared is None:
        return []
    # Of claim rules one match is enough here: each by itself must be narrow.
    by_claims = bool(rules.claims) and all(narrows((rule,), shared) for rule in rules.claims)
    by_email = bool(rules.emails or rules.domains) and not rules.domains & SHARED_DOMAINS
    if by_claims or by_email or (shared.groups and rules.groups):
        return []
    text = (
        f"{connection.issuer} signs tokens for {shared.who}, for any audience: to take tokens of it, say who may "
        f"come in, with an e-mail or domain rule or a claim rule such as {shared.example}"
    )
    return [Problem("oidc.bearer", text)]


def _said_twice(spec: PolicySpec) -> list[Problem]:
    """One issuer, one set of rules: else a token refused by the stricter one would be let in by the other."""
    issuers = [jwt.issuer.rstrip("/") for jwt in spec.jwt]
    if spec.oidc is not None and spec.oidc.issuer.rstrip("/") in issuers:
        text = "this issuer is the login's own: its tokens are taken with an audience for bearers there"
        return [Problem("jwt.issuer", text)]
    return [Problem("jwt.issuer", "an issuer is named twice")] if len(set(issuers)) != len(issuers) else []


def _audience_problems(field: str, audiences: Iterable[str]) -> list[Problem]:
    audiences = list(audiences)
    problems = [Problem(field, f"more than {MAX_AUDIENCES} audiences")] if len(audiences) > MAX_AUDIENCES else []
    return problems + [Problem(field, f"{text[:64]!r} is no audience") for text in audiences if not _is_text(text)]


def _claim_problem(name: str, value: str) -> str:
    if not _is_text(name) or not _is_text(value):
        return f"the claim rule {name[:64]!r}={value[:64]!r} lacks its name or its value, or is too long"
    if "*" in value:
        return f"the claim rule {name[:64]}={value[:64]}: values are compared exactly, `*` stands for nothing else"
    if name == "email" and verified_email({"email": value, "email_verified": True}) != value:
        return f"{value[:128]!r} is not an e-mail address in lower case"
    return ""


def _is_text(text: str) -> bool:
    return bool(text.strip()) and len(text) <= MAX_TEXT and text.isprintable()


def _canonical(issuer: TokenIssuer) -> list[str]:
    connection = issuer.connection
    return [
        f"issuer {connection.id} {connection.epoch} {connection.rules_version}",
        f"reading {connection.groups_claim} {connection.email_verified}",
        *(f"audience {audience}" for audience in sorted(issuer.audiences)),
        *(f"claim {len(name)} {name} {value}" for name, values in issuer.claims for value in sorted(values)),
    ]
