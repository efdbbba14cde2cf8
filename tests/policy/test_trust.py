"""Which CI jobs a trust rule admits, and which rules there cannot be. Pure."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.every import every
from tunnelctl.policy.shared_issuers import SHARED
from tunnelrelay.policy.trust import GITHUB, JobAdmitted, JobRefused, TrustRule, judge, rule_problems

AUDIENCE = "https://tun.example"
RULE = TrustRule(
    id="trust_1",
    owner="acme",
    issuer=GITHUB,
    audience=AUDIENCE,
    claims=(("repository_id", "2"),),
    acl=("bind:pr-*",),
)
CLAIMS: dict[str, Any] = {
    "iss": GITHUB,
    "aud": AUDIENCE,
    "sub": "repo:acme/app:ref:refs/heads/main",
    "repository": "acme/app",
    "repository_id": "2",
    "repository_owner": "acme",
    "repository_owner_id": "1",
    "ref": "refs/heads/main",
    "run_id": "1234",
}


def rule(*claims: tuple[str, str], **changes: Any) -> TrustRule:
    return replace(RULE, claims=claims or RULE.claims, **changes)


def admits(one: TrustRule, **claims: Any) -> bool:
    return isinstance(judge([one], CLAIMS | claims), JobAdmitted)


def test_a_job_that_has_every_claim_of_a_rule_connects_as_the_rules_owner():
    assert judge([RULE], CLAIMS) == JobAdmitted((RULE,), "acme/app run 1234")
    assert judge([RULE], CLAIMS).owner == "acme"  # type: ignore[union-attr]  # as above


@every(
    "claims",
    [
        {"repository_id": "3"},
        {"repository_id": None},
        {"repository_id": "02"},
        {"repository_id": "2 "},
        {"repository_id": ["2"]},
        {"repository_id": ["2", "3"]},
        {"repository_id": {"2": True}},
        {"repository_id": 2.0},
        {"repository_id": True},
        {"aud": "https://other.example"},
        {"aud": ["https://other.example"]},
        {"aud": None},
    ],
)
def test_a_claim_that_is_missing_different_or_of_another_type_admits_no_job(claims: dict[str, Any]):
    assert not admits(RULE, **claims)


def test_a_number_counts_as_json_writes_it():
    assert admits(RULE, repository_id=2)
    assert admits(rule(("repository_id", "2"), ("ref_protected", "true")), ref_protected=True)
    assert not admits(rule(("repository_id", "1"), ("x", "1")), repository_id=True)


@every(
    "value",
    [
        "repo:acme/*",
        "repo:acme/app:*",
        "repo:acme",
        "repo:acme/ap",
        "repo:acme/app:ref:refs/heads/main2",
        "*",
        "repo:*",
    ],
)
def test_a_value_is_compared_whole_and_a_star_is_no_wildcard(value: str):
    assert not admits(rule(("sub", value)))
    assert ("*" in value) == ("claims" in rule_problems(rule(("repository_id", "2"), ("sub", value))))


IDS = "repo:acme@1/app@2:ref:refs/heads/main"
PLAIN = "repo:acme/app:ref:refs/heads/main"


def test_a_rule_with_githubs_ids_fits_tokens_of_either_form():
    assert admits(rule(("sub", IDS)), sub=IDS)
    assert admits(rule(("sub", IDS)), sub=PLAIN)
    assert admits(rule(("sub", PLAIN)), sub=PLAIN)


@every(
    "claims",
    [
        {"sub": "repo:acme@1/app@2:ref:refs/heads/other"},
        {"sub": PLAIN, "repository_id": "3"},  # the name was given up, and taken by another owner
        {"sub": PLAIN, "repository_owner_id": "9"},
        {"sub": PLAIN, "repository_id": ["2"]},
        {"sub": PLAIN, "repository": "acme/app:ref:refs/heads/main@2"},
        {"sub": "repo:acme/app:ref:refs/heads/main", "repository": "other/app"},
        {"sub": "repository:acme/app:ref:refs/heads/main"},
    ],
)
def test_a_rule_with_githubs_ids_fits_no_token_of_other_ids(claims: dict[str, Any]):
    assert not admits(rule(("sub", IDS)), **claims)


def test_a_rule_without_ids_fits_no_token_with_ids():
    """The name may belong to another owner by now; the refusal shows the form to write."""
    refused = judge([rule(("sub", PLAIN))], CLAIMS | {"sub": IDS})

    assert isinstance(refused, JobRefused)
    assert IDS in refused.reason


def test_another_issuers_claims_make_no_github_subject():
    elsewhere = rule(("sub", IDS), issuer="https://ci.acme.example")

    assert not admits(elsewhere, sub=PLAIN)


def test_an_email_counts_only_when_it_is_verified():
    one = rule(("email", "bot@acme.example"), issuer="https://accounts.google.com")

    assert not admits(one, email="bot@acme.example")
    assert not admits(one, email="bot@acme.example", email_verified="true")
    assert admits(one, email="bot@acme.example", email_verified=True)


def test_rules_of_one_owner_add_up_and_those_of_several_admit_no_job():
    second = rule(("ref", "refs/heads/main"), ("repository_id", "2"), id="trust_2", acl=("bind:demo", "bind:pr-*"))
    strangers = replace(second, owner="mallory")

    admitted = judge([RULE, second], CLAIMS)
    refused = judge([RULE, strangers], CLAIMS)

    assert isinstance(admitted, JobAdmitted)
    assert admitted.acl == ("bind:pr-*", "bind:demo")
    assert isinstance(refused, JobRefused)
    assert "several owners" in refused.reason


def test_a_refusal_names_the_job_and_what_does_not_fit_and_nothing_of_the_rule():
    one = rule(("repository_id", "2"), ("ref", "refs/heads/secret-branch"))
    far = rule(("repository_id", "77"), ("ref", "x"), ("environment", "y"), owner="mallory", acl=("bind:hidden",))

    refused = judge([far, one], CLAIMS)

    assert isinstance(refused, JobRefused)
    assert refused.code == "job_not_admitted"
    assert "acme/app run 1234" in refused.reason
    assert "`ref` (it is 'refs/heads/main')" in refused.reason
    assert not {"repository_id", "secret-branch", "77", "mallory", "hidden"} & set(
        refused.reason.replace("`", " ").split()
    )


@every("issuer", SHARED)
def test_a_rule_about_an_issuer_of_everybody_says_whose_jobs_it_means(issuer: str):
    for claims in ((), (("ref", "refs/heads/main"),), (("actor", "ann"),), (("environment", "production"),)):
        assert "claims" in rule_problems(replace(RULE, issuer=issuer, claims=claims))
    assert "claims" in rule_problems(rule(("sub", "ref:refs/heads/main")))


@every(
    "claims",
    [
        (),
        (("ref", "refs/heads/main"),),
        (("iss", "https://ci.acme.example"),),
        (("aud", AUDIENCE), ("ref_protected", "true")),
    ],
)
def test_so_does_a_rule_about_an_issuer_of_ones_own(claims: tuple[tuple[str, str], ...]):
    assert "claims" in rule_problems(replace(RULE, issuer="https://ci.acme.example", claims=claims))
    assert not rule_problems(replace(RULE, issuer="https://ci.acme.example", claims=(*claims, ("project_id", "42"))))


@every(
    "field, changes",
    [
        ("issuer", {"issuer": "gitlab.com"}),
        ("issuer", {"issuer": "http://ci.acme.example"}),
        ("issuer", {"issuer": "https://a:b@ci.acme.example"}),
        ("audience", {"audience": ""}),
        ("audience", {"audience": "x" * 1025}),
        ("audience", {"audience": "a\nb"}),
        ("claims", {"claims": (("repository_id", ""),)}),
        ("claims", {"claims": (("repository_id", "2"), ("repository_id", "3"))}),
        ("claims", {"claims": tuple((f"sub{number}", "x") for number in range(17))}),
        ("claims", {"claims": (("repository_id", "2" * 513),)}),
    ],
)
def test_what_cannot_be_a_rule_is_told_at_its_field(field: str, changes: dict[str, Any]):
    assert [*rule_problems(replace(RULE, **changes))] == [field]


def test_a_relay_of_this_machine_takes_issuers_over_plain_http():
    one = replace(RULE, issuer="http://localhost:9000", claims=(("sub", "x"),))

    assert rule_problems(one, allows_http=True) == {}


JSON = st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), st.lists, max_leaves=4)


@given(st.dictionaries(st.sampled_from([*CLAIMS, "email", "project_path", "job_id"]), JSON))
def test_any_claims_are_judged_and_only_the_rules_own_values_admit(claims: dict[str, Any]):
    judged = judge([RULE], claims)

    assert isinstance(judged, JobAdmitted) == (
        claims.get("repository_id") in ("2", 2)
        and not isinstance(claims.get("repository_id"), float | bool)
        and (claims.get("aud") == AUDIENCE or (isinstance(claims.get("aud"), list) and AUDIENCE in claims["aud"]))
    )


def test_a_long_or_strange_name_of_a_project_fills_no_log():
    judged = judge([RULE], CLAIMS | {"repository": "a" * 5000, "run_id": "1\n2"})

    assert isinstance(judged, JobAdmitted)
    assert len(judged.job) == 120
    assert judged.job.isprintable()


def test_other_jobs_are_named_by_project_or_subject():
    assert judge([RULE], CLAIMS | {"repository": None, "project_path": "g/p", "run_id": None, "job_id": "7"}).job == (
        "g/p run 7"
    )
    assert judge([RULE], {**CLAIMS, "repository": None, "sub": "bot"}).job == "bot"


@pytest.mark.parametrize("issuer", [GITHUB, "https://gitlab.com"])
def test_the_hint_for_a_rule_names_an_id(issuer: str):
    problem = rule_problems(replace(RULE, issuer=issuer, claims=(("ref", "x"),)))["claims"]

    assert ("repository_id=" in problem) or ("project_id=" in problem)
