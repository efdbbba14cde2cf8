"""From `--oidc-bearer` and `--jwt-…` to what the relay is asked for."""

import pytest

from tests.agent.test_rules import LOGIN, problems
from tunnelctl.agent.options import RuleOptions
from tunnelctl.agent.rules import build_policy
from tunnelctl.wire.messages import JwtSpec

ISSUER = "https://token.actions.githubusercontent.com"


def test_tokens_of_the_login_are_asked_for_by_audience() -> None:
    policy = build_policy(RuleOptions(**LOGIN, oidc_bearer=("", "https://api")))
    assert policy.oidc is not None
    assert policy.oidc.bearer == ("", "https://api")


def test_another_issuer_needs_no_login() -> None:
    policy = build_policy(
        RuleOptions(jwt_issuer=ISSUER, jwt_audience="https://demo", jwt_claim=("repository=acme/app", "a=b=c"))
    )
    claims = (("repository", "acme/app"), ("a", "b=c"))
    assert policy.oidc is None
    assert policy.jwt == (JwtSpec(issuer=ISSUER, audience="https://demo", claims=claims),)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"oidc_bearer": ("",)}, ["--oidc-bearer: needs --oidc ISSUER"]),
        ({"jwt_audience": "a"}, ["--jwt-audience: needs --jwt-issuer ISSUER"]),
        ({"jwt_claim": ("a=b",)}, ["--jwt-claim: needs --jwt-issuer ISSUER"]),
    ],
)
def test_row_159_rules_about_tokens_nobody_takes_are_refused_and_not_ignored(options, said) -> None:
    """Row 159."""
    assert problems(**options) == said


def test_every_mistake_about_an_issuer_is_said_at_once() -> None:
    said = problems(jwt_issuer="http://ci.example", jwt_claim=("dept",), basic_auth=("a:b",))
    assert [text.partition(":")[0] for text in said] == [
        "--jwt-issuer", "--jwt-audience", "--jwt-claim", "--jwt-issuer",
    ]  # fmt: skip
