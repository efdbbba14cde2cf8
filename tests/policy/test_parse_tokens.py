"""From `--oidc-bearer` and `--jwt-…` to what the relay is asked for."""

import pytest

from tests.policy.making import typed
from tests.policy.test_parse import LOGIN, problems
from tunnelctl.policy.parse import build_policy
from tunnelctl.wire.messages import JwtSpec

JWT_ISSUER, JWT_AUDIENCE, JWT_CLAIM = "--jwt-issuer", "--jwt-audience", "--jwt-claim"
ISSUER = "https://tokens.acme.example"
CI = ((JWT_ISSUER, "https://ci.acme.example"), (JWT_AUDIENCE, "a"))
BEFORE = "needs --jwt-issuer ISSUER before it, to which it belongs"


def asked(*, issuer: str, audience: str, claims: tuple[str, ...] = ()) -> tuple[tuple[str, str], ...]:
    """The options about one issuer, as they are typed."""
    given = [(JWT_ISSUER, issuer), *([(JWT_AUDIENCE, audience)] if audience else [])]
    return (*given, *((JWT_CLAIM, claim) for claim in claims))


def test_tokens_of_the_login_are_asked_for_by_audience() -> None:
    policy = build_policy(typed(**LOGIN, oidc_bearer=("", "https://api")))
    assert policy.oidc is not None
    assert policy.oidc.bearer == ("", "https://api")


def test_another_issuer_needs_no_login() -> None:
    policy = build_policy(
        typed(jwt=asked(issuer=ISSUER, audience="https://demo", claims=("repository=acme/app", "a=b=c")))
    )
    claims = (("repository", "acme/app"), ("a", "b=c"))
    assert policy.oidc is None
    assert policy.jwt == (JwtSpec(issuer=ISSUER, audience="https://demo", claims=claims),)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"oidc_bearer": ("",)}, ["--oidc-bearer: needs --oidc ISSUER"]),
        ({"jwt": ((JWT_AUDIENCE, "a"),)}, [f"--jwt-audience: {BEFORE}"]),
        ({"jwt": ((JWT_CLAIM, "a=b"),)}, [f"--jwt-claim: {BEFORE}"]),
        ({"jwt": ((JWT_CLAIM, "a=b"), *CI)}, [f"--jwt-claim: {BEFORE}"]),
    ],
)
def test_row_159_rules_about_tokens_nobody_takes_are_refused_and_not_ignored(options, said) -> None:
    """Row 159."""
    assert problems(**options) == said


def test_every_mistake_about_an_issuer_is_said_at_once() -> None:
    said = problems(jwt=((JWT_ISSUER, "http://ci.example"), (JWT_CLAIM, "dept")), basic_auth=("ann:long-enough",))
    assert [text.partition(":")[0] for text in said] == [
        "--jwt-issuer", "--jwt-audience", "--jwt-claim", "--basic-auth",
    ]  # fmt: skip


def test_what_comes_after_an_issuer_is_about_that_issuer_alone() -> None:
    other = asked(issuer="https://ci.acme.example", audience="b")
    policy = build_policy(typed(jwt=(*asked(issuer=ISSUER, audience="a", claims=("x=1", "y=2")), *other)))
    assert policy.jwt == (
        JwtSpec(issuer=ISSUER, audience="a", claims=(("x", "1"), ("y", "2"))),
        JwtSpec(issuer="https://ci.acme.example", audience="b"),
    )


@pytest.mark.parametrize("at", [0, 1, 2])
def test_an_issuer_without_an_audience_of_its_own_is_refused(at) -> None:
    issuers = ["https://a.example", "https://b.example", "https://c.example"]
    given = [asked(issuer=name, audience="" if number == at else "x") for number, name in enumerate(issuers)]
    (said,) = problems(jwt=sum(given, ()))
    assert said.startswith(f"--jwt-audience: missing, --jwt-issuer {issuers[at]} needs one")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((*CI, (JWT_AUDIENCE, "b")), "--jwt-audience: given more than once"),
        (((JWT_ISSUER, ISSUER), (JWT_AUDIENCE, "")), "--jwt-audience: '' is not an audience"),
        (((JWT_ISSUER, ""), (JWT_AUDIENCE, "a")), "--jwt-issuer: '' is not an issuer's URL"),
        ((*CI, (JWT_CLAIM, "")), "--jwt-claim: '' is not NAME=VALUE"),
    ],
)
def test_what_is_given_twice_or_empty_is_refused(options, said) -> None:
    (problem,) = problems(jwt=options)
    assert problem.startswith(said)


def test_an_issuer_that_signs_for_everybody_is_told_before_anything_is_dialled() -> None:
    (problem,) = problems(jwt=asked(issuer="https://token.actions.githubusercontent.com", audience="a"))
    assert problem.startswith("--jwt-claim: https://token.actions.githubusercontent.com signs for every workflow")
