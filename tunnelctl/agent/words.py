"""Who is let in, in words for the person who opens the tunnel, from what was asked of the relay."""

from collections.abc import Sequence

from tunnelctl.agent.config import TunnelConfig
from tunnelctl.wire.messages import JwtSpec, OidcSpec, PolicySpec

OPEN_TO_THE_WORLD = {
    "https://accounts.google.com": "a Google account",
    "https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0": "a personal Microsoft account",
    "https://gitlab.com": "a GitLab.com account",
    "https://appleid.apple.com": "an Apple account",
    "https://www.facebook.com": "a Facebook account",
    "https://www.linkedin.com/oauth": "a LinkedIn account",
}
"""Issuers where everybody can get an account: without a rule such a login lets everybody in, and the words say so."""


def who_may_visit_all(tunnels: Sequence[TunnelConfig]) -> str:
    """As `who_may_visit`; of several tunnels each with its name."""
    if len(tunnels) == 1:
        return who_may_visit(tunnels[0])
    return ". ".join(f"{tunnel.name}: {who_may_visit(tunnel)}" for tunnel in tunnels)


def who_may_visit(tunnel: TunnelConfig) -> str:
    """One sentence without a full stop."""
    if tunnel.edge:
        return f"whom the rules of the edge {tunnel.edge} let in; they are kept at the relay"
    if tunnel.labels:
        return "whom each edge's rules let in; they are kept at the relay"
    return who_is_let_in(tunnel.policy)


def why_no_address(tunnel: TunnelConfig, owner: str) -> str:
    """Why a tunnel that is up has no visitors, in one sentence without a full stop.

    Args:
        owner: Whose agent this is: an edge of another owner is never served, whatever its labels.
    """
    if tunnel.edge:
        return f"the edge {tunnel.edge} has no address yet; visitors come as soon as it has one"
    labels = ", ".join(f"{name}={value}" for name, value in tunnel.labels)
    return f"no edge of owner {owner} asks for the labels {labels} yet; visitors come as soon as one does"


def who_is_let_in(policy: PolicySpec) -> str:
    """The same, by the rules alone."""
    who = "; ".join([*_people(policy), *map(_programs, policy.jwt)])
    if policy.cidr_allow:
        who += f", from {_one_of(policy.cidr_allow)} only"
    if policy.cidr_deny:
        who += f", not from {_one_of(policy.cidr_deny)}"
    return who


def _people(policy: PolicySpec) -> list[str]:
    if policy.oidc is not None:
        tokens = [audience or policy.oidc.client_id or "its client id" for audience in policy.oidc.bearer]
        if not tokens:
            return [_signed_in(policy.oidc)]
        programs = f"programs with a token of {policy.oidc.issuer} for {_one_of(tokens)}, by the same rules"
        return [_signed_in(policy.oidc), programs]
    if policy.basic_auth:
        users = [pair.partition(":")[0] for pair in policy.basic_auth]
        return [f"everyone who knows the password of {_one_of(users)}"]
    if policy.jwt:
        return []
    return ["anyone who can reach the address" if policy.cidr_allow else "anyone who has the address"]


def _programs(jwt: JwtSpec) -> str:
    values: dict[str, list[str]] = {}
    for name, value in jwt.claims:
        values.setdefault(name, []).append(value)
    rules = [f"{name} {_one_of(texts)}" for name, texts in values.items()]
    whose = f" that says {' and '.join(rules)}" if rules else ", whichever account it is for"
    return f"programs with a token of {jwt.issuer} for {jwt.audience}{whose}"


def _signed_in(oidc: OidcSpec) -> str:
    rules = _rules(oidc)
    account = OPEN_TO_THE_WORLD.get(oidc.issuer.rstrip("/"))
    if rules:
        return f"people who log in at {oidc.issuer} and {' and '.join(rules)}"
    if account:
        return f"anyone with {account}: no --oidc-allow-… rule narrows it"
    return f"anyone who can log in at {oidc.issuer}"


def _rules(oidc: OidcSpec) -> list[str]:
    """One clause for each kind of rule; within a kind one match is enough, of the kinds all must match."""
    rules = []
    mail = [*oidc.allow_emails, *(f"anything@{domain}" for domain in oidc.allow_domains)]
    if mail:
        rules.append(f"have the verified e-mail {_one_of(mail)}")
    if oidc.allow_groups:
        rules.append(f"are in the group {_one_of(oidc.allow_groups)}")
    if oidc.allow_claims:
        rules.append(f"have the claim {_one_of([f'{name}={value}' for name, value in oidc.allow_claims])}")
    return rules


def _one_of(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
