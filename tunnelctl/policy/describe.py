"""Describes in words who may enter and how often, for the agent and the relay's dashboard. Does no I/O."""

from collections.abc import Iterable

from tunnelctl.policy.rate import parse_rate
from tunnelctl.policy.shared_issuers import shared_issuer
from tunnelctl.wire.messages import JwtSpec, OidcSpec, PolicySpec


def describe(policy: PolicySpec) -> str:
    """Describe who may visit, and how often, as one sentence without a full stop. Contains no secret."""
    who = "; ".join([*_people(policy), *map(_programs, policy.jwt), *_everyone(policy)])
    if policy.cidr_allow:
        who += f", from {one_of(policy.cidr_allow)} only"
    if policy.cidr_deny:
        who += f", not from {one_of(policy.cidr_deny)}"
    if policy.rate_limit is not None:
        who += f", at most {parse_rate(policy.rate_limit.limit)} from one {_counted(policy)}"
    return who


def one_of(words: Iterable[str]) -> str:
    """Join words to a choice for a sentence: `a, b or c`."""
    words = list(words)
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _people(policy: PolicySpec) -> list[str]:
    if policy.oidc is not None:
        tokens = [audience or policy.oidc.client_id or "its client id" for audience in policy.oidc.bearer]
        if not tokens:
            return [_signed_in(policy.oidc)]
        programs = f"programs with a token of {policy.oidc.issuer} for {one_of(tokens)}, by the same rules"
        return [_signed_in(policy.oidc), programs]
    if policy.basic_auth:
        users = [pair.partition(":")[0] for pair in policy.basic_auth]
        return [f"everyone who knows the password of {one_of(users)}"]
    if policy.jwt:
        return []
    return ["anyone who can reach the address" if policy.cidr_allow else "anyone who has the address"]


def _counted(policy: PolicySpec) -> str:
    """Return whom a rate limit counts, in words."""
    is_known = policy.oidc is not None or policy.jwt
    return "visitor" if is_known and policy.rate_limit is not None and policy.rate_limit.by == "visitor" else "address"


def _programs(jwt: JwtSpec) -> str:
    values: dict[str, list[str]] = {}
    for name, value in jwt.claims:
        values.setdefault(name, []).append(value)
    rules = [f"{name} {one_of(texts)}" for name, texts in values.items()]
    whose = f" that says {' and '.join(rules)}" if rules else ", whichever account it is for"
    return f"programs with a token of {jwt.issuer} for {jwt.audience}{whose}"


def _everyone(policy: PolicySpec) -> list[str]:
    paths = policy.oidc.public_paths if policy.oidc is not None else ()
    return [f"without a login, anyone at {one_of(paths)}"] if paths else []


def _signed_in(oidc: OidcSpec) -> str:
    rules = _rules(oidc)
    shared = shared_issuer(oidc.issuer)
    if rules:
        return f"people who log in at {oidc.issuer} and {' and '.join(rules)}"
    if shared is not None and shared.account:
        return f"anyone with {shared.account}: no rule narrows it"
    return f"anyone who can log in at {oidc.issuer}"


def _rules(oidc: OidcSpec) -> list[str]:
    """Return one clause for each kind of rule. A visitor must match all kinds, and one entry of each."""
    rules = []
    mail = [*oidc.allow_emails, *(f"anything@{domain.removeprefix('@')}" for domain in oidc.allow_domains)]
    if mail:
        rules.append(f"have the verified e-mail {one_of(mail)}")
    if oidc.allow_groups:
        rules.append(f"are in the group {one_of(oidc.allow_groups)}")
    if oidc.allow_claims:
        rules.append(f"have the claim {one_of(f'{name}={value}' for name, value in oidc.allow_claims)}")
    return rules
