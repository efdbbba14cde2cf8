"""Names the rule that let a visitor in or refused the visitor, for display to the endpoint's owner. Does no I/O.

The decision itself was made by `verdict.judge` and `Rules.admits`. These functions are called when a page is shown, and
for requests to inspected tunnels.
"""

from collections.abc import Iterator

from tunnelrelay.policy.rules import Claims, Policy, Rules, TokenIssuer, claim_texts, groups_of, verified_email

MAX_NAMED = 3
"""Maximum groups or values of one kind that a reason lists; one match was enough."""

REFUSALS = {
    "login_required": "not signed in",
    "password_required": "no password, or a wrong one",
    "bearer_required": "no token",
    "bearer_invalid": "the token is not good",
    "bearer_not_admitted": "the token's holder meets no rule",
    "network_denied": "the visitor's network may not come in",
    "too_many_requests": "too many requests",
    "endpoint_closed": "the endpoint's rules cannot be read",
    "access_denied": "the provider did not let them sign in",
    "not_admitted": "signed in, but meets no rule",
}
"""Error codes that mean that a visitor is refused; all other codes mean a failure."""


RULES = {
    "email_unverified": "the provider does not vouch for their e-mail address",
    "email": "no rule names their e-mail address",
    "group": "no rule names any of their groups",
    "claim": "no rule about claims is met",
}
"""Texts for the kinds of rules that a visitor did not match (`Refusal.reason`)."""


def let_in_person(policy: Policy, claims: Claims) -> str:
    """Return the rules that let a user with these claims in, such as `domain acme.com, group admins`."""
    rules = policy.connection.rules if policy.connection is not None else Rules()
    return ", ".join(_met(rules, claims)) or "signed in"


def let_in_program(policy: Policy, issuer: str) -> str:
    """Return the rules that let the holder of a token of this issuer in.

    Args:
        issuer: The issuer in the token; the one in the settings may differ by a trailing slash.
    """
    found = issuer_of(policy, issuer)
    if found is None and policy.bearer is not None and policy.bearer.run_token_sha256:
        return "token of the agent's own run"
    return ", ".join(_asked_of_programs(found)) if found is not None else "bearer token"


def issuer_of(policy: Policy, issuer: str) -> TokenIssuer | None:
    """Return the settings for tokens of this issuer; the token's issuer may have a trailing slash more or less."""
    issuers = policy.bearer.issuers if policy.bearer is not None else ()
    return next((each for each in issuers if each.connection.issuer.rstrip("/") == issuer.rstrip("/")), None)


def let_in_without_login(policy: Policy | None, exempt: str) -> str:
    """Return why a visitor without login or token was let in.

    Args:
        exempt: Rule that exempted the request from the login (`Exempt.rule`); "" for none.
    """
    if policy is None:
        return "open to everybody"
    if policy.basic:
        return "basic auth"
    if policy.connection is not None or policy.asks_for_tokens:
        return exempt or "no login needed"
    return "network" if policy.cidr_allow or policy.cidr_deny else "open to everybody"


def kept_out(code: str) -> str:
    """Return why a visitor was refused, from the error's code; "" when the code means a failure."""
    return REFUSALS.get(code, "")


def not_admitted(reason: str) -> str:
    """Return why a signed-in visitor was refused, from `Refusal.reason`."""
    return RULES.get(reason, REFUSALS["not_admitted"])


def _met(rules: Rules, claims: Claims) -> Iterator[str]:
    email = verified_email(claims)
    domain = email.rpartition("@")[2]
    if email and email in rules.emails:
        yield f"email {email}"
    elif domain and domain in rules.domains:
        yield f"domain {domain}"
    yield from (f"group {group}" for group in sorted(rules.groups.intersection(groups_of(claims)))[:MAX_NAMED])
    met = sorted((name, value) for name, value in rules.claims if value in claim_texts(claims.get(name)))
    yield from (f"claim {name}={value}" for name, value in met[:MAX_NAMED])


def _asked_of_programs(issuer: TokenIssuer) -> Iterator[str]:
    yield f"bearer audience {' or '.join(sorted(issuer.audiences)[:MAX_NAMED])}"
    for name, values in issuer.claims[:MAX_NAMED]:
        yield f"claim {name}={' or '.join(sorted(values)[:MAX_NAMED])}"
