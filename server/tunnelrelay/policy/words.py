"""Who is let in, in plain English: what the agent's screen and its log show the owner.

An owner who mistyped a rule finds out here, so the words are made from the compiled rules, never from what was asked.
"""

from collections.abc import Iterable

from tunnelrelay.policy.networks import Networks
from tunnelrelay.policy.rules import Bearer, Policy, Rules, TokenIssuer


def words_for(policy: Policy) -> str:
    """Returns who may open the endpoint, as a phrase that goes on after "Let in:"."""
    if policy.connection is not None:
        who = f"{_people(policy.connection.rules)} at {policy.connection.issuer}"
    elif policy.bearer is not None:
        who = "no person"
    elif policy.basic:
        who = "anyone with the address and a password"
    elif policy.cidr_allow:
        who = "anyone with the address"
    else:
        who = "ANYONE on the internet with the address"
    return who + _programs(policy.bearer) + _places(policy)


def _people(rules: Rules) -> str:
    addresses = [*sorted(rules.emails), *(f"anyone @{domain}" for domain in sorted(rules.domains))]
    conditions = []
    if rules.groups:
        conditions.append(f"in group {_one_of(rules.groups)}")
    if rules.claims:
        conditions.append(f"with {_one_of(f'{name}={value}' for name, value in rules.claims)}")
    if not addresses:
        return " and ".join(["anyone", *conditions]).replace("anyone and", "anyone", 1) + _signing_in(conditions)
    people = ", or ".join(addresses) + " with a verified e-mail"
    return ", ".join([people, *(f"and {condition}" for condition in conditions), "signed in"])


def _signing_in(conditions: list[str]) -> str:
    return ", signed in" if conditions else " who signs in"


def _programs(bearer: Bearer | None) -> str:
    return "".join(f"; programs with a token {_token(issuer)}" for issuer in bearer.issuers) if bearer else ""


def _token(issuer: TokenIssuer) -> str:
    token = f"of {issuer.connection.issuer} for {_one_of(issuer.audiences)}"
    if issuer.is_of_login:
        return token + " under the same rules"
    rules = [f"{name}={_one_of(values)}" for name, values in issuer.claims]
    return token + (f" with {' and '.join(rules)}" if rules else ", whichever account it is for")


def _places(policy: Policy) -> str:
    places = ""
    if policy.cidr_allow:
        places += f", only from {_listed(policy.cidr_allow)}"
    if policy.cidr_deny:
        places += f", but not from {_listed(policy.cidr_deny)}"
    return places


def _one_of(names: Iterable[str]) -> str:
    return " or ".join(sorted(names))


def _listed(networks: Networks) -> str:
    return ", ".join(str(network) for network in networks)
