"""What is wrong with a `PolicySpec`, before the relay knows more."""

import pytest

from tests.policy.making import oidc
from tests.policy.test_blame import WRONG
from tunnelctl.policy.check import check_policy
from tunnelctl.policy.fields import MAX_NETWORKS, MIN_RECHECK
from tunnelctl.wire.messages import HeaderEdit, JwtSpec, PolicySpec, RateLimitSpec
from tunnelctl.wire.problem import MAX_PROBLEMS

CI = JwtSpec(issuer="https://ci.example", audience="a")
GOOD = PolicySpec(
    oidc=oidc(
        scopes=("groups",), allow_emails=(" Ann@Acme.com",), allow_domains=("@ACME.com", "corp"),
        allow_groups=("Ops, EU",), allow_claims=(("dept", "a=b"),), recheck_seconds=0,
        request_params=(("max_age", "600"),), require_acr=("gold",), bearer=("", "api"),
        allow_origins=("https://a.example:8443",),
    ),
    jwt=(CI,),
    cidr_allow=("10.0.0.0/8", "203.0.113.9"),
    cidr_deny=("2001:db8::/32",),
    host_header="rewrite",
    rate_limit=RateLimitSpec(limit="100/1m:20", by="address"),
    request_headers=HeaderEdit(add=(("X-A", "Zo\u00eb"),), remove=("X-B",)),
)  # fmt: skip


def blamed(spec: PolicySpec, **how) -> list[str]:
    return [problem.field for problem in check_policy(spec, **how)]


@pytest.mark.parametrize("spec", [PolicySpec(), GOOD, PolicySpec(basic_auth=("ann:long-enough",))])
def test_rules_in_order_have_no_problems(spec):
    assert check_policy(spec) == []


@pytest.mark.parametrize("field", WRONG)
def test_the_setting_that_is_wrong_is_named(field):
    assert set(blamed(WRONG[field]("x"))) == {field}


def test_a_provider_that_the_relay_knows_needs_no_client():
    assert blamed(PolicySpec(oidc=oidc(issuer="@work", client_id="", client_secret=""))) == []
    assert blamed(PolicySpec(oidc=oidc(client_id="", client_secret=""))) == ["oidc.client_id", "oidc.client_secret"]


@pytest.mark.parametrize(
    ("spec", "fields"),
    [
        (PolicySpec(oidc=oidc(), basic_auth=("ann:long-enough",)), ["basic_auth"]),
        (PolicySpec(jwt=(CI,), basic_auth=("ann:long-enough",)), ["basic_auth"]),
        (PolicySpec(jwt=(CI, CI)), ["jwt.issuer"]),
        (PolicySpec(oidc=oidc(issuer="https://ci.example/"), jwt=(CI,)), ["jwt.issuer"]),
        (PolicySpec(oidc=oidc(request_params=(("prompt", "a"), ("prompt", "b")))), ["oidc.request_params"]),
        (PolicySpec(oidc=oidc(audience="a", request_params=(("audience", "b"),))), ["oidc.audience"]),
        (
            PolicySpec(oidc=oidc(callback="host", request_params=(("response_mode", "form_post"),))),
            ["oidc.request_params"],
        ),
    ],
)
def test_settings_that_do_not_go_together(spec, fields):
    assert blamed(spec) == fields


@pytest.mark.parametrize(
    "change",
    [
        {"bearer": tuple(map(str, range(17)))},
        {"request_params": tuple((f"p{number}", "x") for number in range(17))},
        {"idle_seconds": 0},
        {"max_seconds": 30 * 86_400 + 1},
        {"client_id": "c" * 1025},
        {"issuer": "https://" + "i" * 2041},
    ],
)
def test_limits_hold(change):
    assert blamed(PolicySpec(oidc=oidc(**change))) == [f"oidc.{name}" for name in change]


def test_a_relay_sets_how_often_a_provider_may_be_asked():
    spec = PolicySpec(oidc=oidc(recheck_seconds=1))
    assert blamed(spec) == []
    assert blamed(spec, min_recheck=MIN_RECHECK) == ["oidc.recheck_seconds"]


def test_a_short_password_of_the_store_is_taken_and_one_without_a_user_is_not():
    spec = PolicySpec(basic_auth=("ann:short", "nobody"))
    assert len(blamed(spec)) == 2
    assert blamed(spec, allows_short_passwords=True) == ["basic_auth"]


def test_of_one_setting_only_so_many_problems_are_told():
    assert len(blamed(PolicySpec(cidr_deny=("x",) * MAX_NETWORKS))) == MAX_PROBLEMS
    assert blamed(PolicySpec(cidr_deny=("x",) * (MAX_NETWORKS + 1))) == ["cidr_allow"]
