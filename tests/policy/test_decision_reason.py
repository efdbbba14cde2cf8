"""By which rule somebody came in, or did not, in the owner's words."""

import pytest

from tests.policy.making import oidc, policy
from tunnelctl.wire.messages import JwtSpec, RateLimitSpec
from tunnelrelay.pages.errors import ERRORS
from tunnelrelay.policy.decision_reason import (
    REFUSALS,
    kept_out,
    let_in_person,
    let_in_program,
    let_in_without_login,
    not_admitted,
)

ANN = {"sub": "1", "email": "ann@acme.com", "email_verified": True, "groups": ["dev", "admins"], "department": "it"}
TOKEN = JwtSpec(issuer="https://ci.example", audience="deploy", claims=(("repository", "acme/x"), ("ref", "main")))


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({}, "signed in"),
        ({"allow_emails": ("ann@acme.com",), "allow_domains": ("acme.com",)}, "email ann@acme.com"),
        ({"allow_emails": ("bob@acme.com",), "allow_domains": ("acme.com",)}, "domain acme.com"),
        ({"allow_groups": ("admins", "sales")}, "group admins"),
        ({"allow_claims": (("department", "it"), ("department", "hr"))}, "claim department=it"),
        (
            {"allow_domains": ("acme.com",), "allow_groups": ("admins", "dev")},
            "domain acme.com, group admins, group dev",
        ),
    ],
)
def test_a_person_came_in_by_the_rules_their_claims_meet(rules: dict[str, tuple[str, ...]], said: str) -> None:
    assert let_in_person(policy(oidc=oidc(**rules)), ANN) == said


def test_an_address_the_provider_does_not_vouch_for_is_no_reason() -> None:
    guarded = policy(oidc=oidc(allow_domains=("acme.com",)))
    assert let_in_person(guarded, {**ANN, "email_verified": False}) == "signed in"


def test_one_of_very_many_groups_is_reason_enough() -> None:
    groups = tuple(f"g{number:03}" for number in range(50))
    told = let_in_person(policy(oidc=oidc(allow_groups=groups)), {"groups": list(groups)})
    assert told == "group g000, group g001, group g002"


@pytest.mark.parametrize(
    ("issuer", "said"),
    [
        ("https://acme.okta.com", "bearer audience api"),
        ("https://ci.example/", "bearer audience deploy, claim ref=main, claim repository=acme/x"),
        ("https://gone.example", "bearer token"),
    ],
)
def test_a_program_came_in_by_what_is_asked_of_its_issuers_tokens(issuer: str, said: str) -> None:
    assert let_in_program(policy(oidc=oidc(bearer=("api",)), jwt=(TOKEN,)), issuer) == said


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({}, "open to everybody"),
        ({"cidr_allow": ("10.0.0.0/8",)}, "network"),
        ({"rate_limit": RateLimitSpec(limit="10/s")}, "open to everybody"),
        ({"basic_auth": ("ann:correct-horse",)}, "basic auth"),
        ({"oidc": oidc()}, "no login needed"),
    ],
)
def test_whoever_came_in_without_a_name_came_in_by_what_guards_the_endpoint(spec: dict[str, object], said: str) -> None:
    assert let_in_without_login(policy(**spec), "") == said


def test_what_exempted_a_request_from_the_login_is_the_reason() -> None:
    assert let_in_without_login(policy(oidc=oidc(allow_preflight=True)), "CORS preflight") == "CORS preflight"
    assert let_in_without_login(policy(oidc=oidc(allow_preflight=True)), "") == "no login needed"


def test_an_endpoint_without_a_policy_yet_is_told_as_open_because_nothing_was_asked() -> None:
    assert let_in_without_login(None, "") == "open to everybody"


def test_every_reason_for_keeping_somebody_out_is_an_error_of_the_table() -> None:
    assert REFUSALS.keys() <= ERRORS.keys()
    assert {ERRORS[code].source for code in REFUSALS} == {"ingress"}


@pytest.mark.parametrize(
    ("rules", "claims"),
    [
        ({"allow_emails": ("bob@acme.com",)}, ANN),
        ({"allow_emails": ("bob@acme.com",)}, {}),
        ({"allow_groups": ("sales",)}, ANN),
        ({"allow_claims": (("department", "hr"),)}, ANN),
    ],
)
def test_each_kind_of_rule_that_keeps_somebody_out_has_its_words(
    rules: dict[str, tuple[str, ...]], claims: dict[str, object]
) -> None:
    connection = policy(oidc=oidc(**rules)).connection
    assert connection is not None
    refusal = connection.rules.admits(claims)
    assert refusal is not True
    assert not_admitted(refusal.reason) != not_admitted("of another kind")


def test_an_error_that_keeps_nobody_out_is_no_refusal() -> None:
    assert kept_out("upstream_unreachable") == kept_out("") == ""
    assert kept_out("network_denied")
