"""Which tokens an owner may ask to be taken, what their claims must say, and which requests a good one opens."""

from typing import Any

import pytest

from tests.policy.making import NAVIGATE, ORIGIN, head, oidc, policy, problems
from tests.support.every import every
from tunnelctl.policy.fields import MAX_AUDIENCES, MAX_CLAIM_RULES, MAX_TOKEN_ISSUERS
from tunnelctl.policy.shared_issuers import SHARED, SHARED_DOMAINS
from tunnelctl.wire.messages import JwtSpec
from tunnelrelay.model import RequestKind
from tunnelrelay.policy.bearer import admits, judge_token
from tunnelrelay.policy.rules import Bearer, Policy, TokenIssuer
from tunnelrelay.policy.verdict import Allow, Deny, Unauthorized, judge

GITHUB = "https://token.actions.githubusercontent.com"
GOOGLE = "https://accounts.google.com"
PRIVATE = "https://ci.acme.example"


def jwt(issuer: str = PRIVATE, audience: str = "tunnel", *claims: str) -> JwtSpec:
    pairs = tuple((name, value) for name, _, value in (claim.partition("=") for claim in claims))
    return JwtSpec(issuer=issuer, audience=audience, claims=pairs)


def bearer(**spec: Any) -> Bearer:
    found = policy(**spec).bearer
    assert found is not None
    return found


def only_issuer(**spec: Any) -> TokenIssuer:
    (issuer,) = bearer(**spec).issuers
    return issuer


# What is asked for


def test_without_being_asked_no_token_is_taken() -> None:
    assert policy().bearer is None
    assert policy(oidc=oidc()).bearer is None


def test_the_login_takes_tokens_for_its_client_and_for_what_else_was_named() -> None:
    issuer = only_issuer(oidc=oidc(bearer=("", "https://api.acme.com")))

    assert issuer.audiences == {"0oa1", "https://api.acme.com"}
    assert issuer.is_of_login


def test_the_audience_that_a_login_asks_for_is_none_that_tokens_of_programs_may_have() -> None:
    assert policy(oidc=oidc(audience="https://api.acme.com")).bearer is None
    assert only_issuer(oidc=oidc(audience="https://api.acme.com", bearer=("",))).audiences == {"0oa1"}


def test_an_extra_issuer_alone_guards_the_endpoint() -> None:
    guarded = policy(jwt=(jwt(),))

    assert not guarded.is_open
    assert guarded.connection is None
    assert not only_issuer(jwt=(jwt(),)).is_of_login


def test_an_issuer_of_one_owner_shares_nothing_with_another_owners() -> None:
    mine, theirs = (only_issuer(jwt=(jwt(),), owner=owner).connection.id for owner in ("alice", "bob"))

    assert mine != theirs


@pytest.mark.parametrize(
    "spec",
    [
        {"jwt": (jwt(PRIVATE, "other"),)},
        {"jwt": (jwt(PRIVATE, "tunnel", "a=b"),)},
        {"jwt": (jwt("https://other.example"),)},
        {"jwt": (jwt(),), "oidc": oidc(bearer=("",))},
    ],
    ids=["audience", "claims", "issuer", "login"],
)
def test_whatever_decides_about_tokens_makes_another_version(spec: dict[str, Any]) -> None:
    assert bearer(jwt=(jwt(),)).version != bearer(**spec).version


@pytest.mark.parametrize(
    "changes",
    [{"allow_emails": ("a@acme.com",)}, {"email_verified": "text"}, {"groups_claim": "roles"}, {"client_secret": "x"}],
)
def test_whatever_decides_about_people_makes_another_version_too(changes: dict[str, Any]) -> None:
    assert bearer(oidc=oidc(bearer=("",))).version != bearer(oidc=oidc(bearer=("",), **changes)).version


def test_the_order_of_rules_makes_no_other_version() -> None:
    one, other = (jwt(PRIVATE, "tunnel", *claims) for claims in (("a=1", "b=2", "a=3"), ("b=2", "a=3", "a=1")))

    assert bearer(jwt=(one,)).version == bearer(jwt=(other,)).version


# What is refused


def test_a_password_and_tokens_do_not_go_together() -> None:
    (problem,) = problems(jwt=(jwt(),), basic_auth=("ann:long-enough",))

    assert problem.startswith("basic_auth: not together with ")


@pytest.mark.parametrize(
    "issuer", ["ftp://ci.acme.example", "ci.acme.example", "https://u@ci.acme.example", "https://a b"]
)
def test_an_issuer_must_be_an_address(issuer: str) -> None:
    assert any(problem.startswith("jwt: ") for problem in problems(jwt=(jwt(issuer),)))


@pytest.mark.parametrize("audience", ["", "  ", "a\nb", "x" * 600])
def test_an_audience_must_be_a_text(audience: str) -> None:
    (problem,) = problems(jwt=(jwt(PRIVATE, audience),))

    assert problem.startswith("jwt: it has 600 characters" if len(audience) == 600 else f"jwt: {audience!r} is not")


@pytest.mark.parametrize("claim", ["=x", "x=", "sub=repo:acme/*", "email=A@acme.com", "email=acme.com", "a=b\x00"])
def test_a_claim_rule_must_be_whole_and_exact(claim: str) -> None:
    assert len(problems(jwt=(jwt(PRIVATE, "tunnel", claim),))) == 1


def test_one_issuer_has_one_set_of_rules() -> None:
    assert problems(jwt=(jwt(), jwt(PRIVATE + "/", "other")))
    assert problems(jwt=(jwt("https://acme.okta.com/"),), oidc=oidc(bearer=("",)))


def test_there_is_a_limit_to_everything() -> None:
    many = tuple(jwt(f"https://ci{number}.example") for number in range(MAX_TOKEN_ISSUERS + 1))
    assert problems(jwt=many)
    assert problems(jwt=(jwt(PRIVATE, "tunnel", *(f"a={number}" for number in range(MAX_CLAIM_RULES + 1))),))
    assert problems(oidc=oidc(bearer=tuple(map(str, range(MAX_AUDIENCES + 1)))))


# Issuers that sign for everybody


@every("issuer", sorted(SHARED))
def test_a_shared_issuer_is_refused_until_a_rule_says_whose_tokens(issuer: str) -> None:
    shared = SHARED[issuer]

    assert any(shared.example in problem for problem in problems(jwt=(jwt(issuer),)))
    assert any(shared.example in problem for problem in problems(jwt=(jwt(issuer + "/"),)))
    assert problems(jwt=(jwt(issuer, "tunnel", shared.example),)) == []


def test_a_subject_narrows_only_where_it_names_a_customer() -> None:
    named, chosen = "sub=repo:acme/app:ref:refs/heads/main", "sub=ref:refs/heads/main"

    assert problems(jwt=(jwt(GITHUB, "tunnel", named),)) == []
    assert problems(jwt=(jwt(GITHUB, "tunnel", chosen),))
    assert problems(jwt=(jwt(GITHUB, "tunnel", named, chosen),))  # either of them opens
    assert problems(jwt=(jwt(GITHUB, "tunnel", chosen, "repository_id=1"),)) == []


@pytest.mark.parametrize(
    "claim",
    [
        "ref=refs/heads/main",
        "actor=octocat",
        "event_name=push",
        "environment=production",
        # Any repository may call a reusable workflow that is public.
        "job_workflow_ref=acme/ci/.github/workflows/build.yml@refs/heads/main",
        "sub=job_workflow_ref:acme/ci/.github/workflows/build.yml@refs/heads/main",
    ],
)
def test_a_claim_that_strangers_can_have_too_narrows_nothing(claim: str) -> None:
    assert problems(jwt=(jwt(GITHUB, "tunnel", claim),))
    assert problems(jwt=(jwt(GITHUB, "tunnel", claim, "repository_owner_id=1"),)) == []


def test_google_as_the_login_takes_tokens_only_with_a_rule_about_who() -> None:
    google = {"issuer": GOOGLE, "bearer": ("",)}

    assert any("service account" in problem for problem in problems(oidc=oidc(**google)))
    assert any("service account" in problem for problem in problems(oidc=oidc(**google, allow_groups=("staff",))))
    assert problems(oidc=oidc(issuer=GOOGLE)) == []  # people alone, who consent to this client
    for rules in (
        {"allow_emails": ("bot@acme.iam.gserviceaccount.com",)},
        {"allow_domains": ("acme.com",)},
        {"allow_claims": (("hd", "acme.com"),)},
    ):
        assert problems(oidc=oidc(**google, **rules)) == []


def test_of_claim_rules_for_people_each_must_narrow_because_one_match_is_enough() -> None:
    claims = (("hd", "acme.com"), ("locale", "en"))

    assert problems(oidc=oidc(issuer=GOOGLE, bearer=("",), allow_claims=claims))


@pytest.mark.parametrize("domain", sorted(SHARED_DOMAINS))
def test_a_mail_domain_of_everybody_narrows_nothing(domain: str) -> None:
    rules = {"allow_domains": ("acme.com", domain)}

    assert problems(oidc=oidc(issuer=GOOGLE, bearer=("",), **rules))


def test_gitlabs_own_groups_narrow_its_login() -> None:
    assert problems(oidc=oidc(issuer="https://gitlab.com", bearer=("",)))
    assert problems(oidc=oidc(issuer="https://gitlab.com", bearer=("",), allow_groups=("acme/devs",))) == []


# Who comes in


def test_of_every_claim_that_is_named_one_value_must_match() -> None:
    issuer = only_issuer(jwt=(jwt(PRIVATE, "tunnel", "repo=acme/app", "repo=acme/api", "ref=main"),))

    assert admits(issuer, {"repo": "acme/api", "ref": "main"})
    assert admits(issuer, {"repo": ["acme/app"], "ref": "main"})
    assert not admits(issuer, {"repo": "acme/api", "ref": "dev"})
    assert not admits(issuer, {"repo": "acme/api"})
    assert not admits(issuer, {"ref": "main"})
    assert not admits(issuer, {"repo": "acme/APP", "ref": "main"})
    assert not admits(issuer, {"repo": {"acme/app": True}, "ref": "main"})


@pytest.mark.parametrize("verified", [None, False, "true", 1])
def test_row_20_an_address_the_issuer_does_not_vouch_for_is_none(verified: object) -> None:
    """Row 20."""
    issuer = only_issuer(jwt=(jwt(GOOGLE, "tunnel", "email=bot@acme.iam.gserviceaccount.com"),))
    claims: dict[str, object] = {"email": "bot@acme.iam.gserviceaccount.com", "email_verified": verified}

    assert not admits(issuer, {name: value for name, value in claims.items() if value is not None})
    assert admits(issuer, {**claims, "email_verified": True})


def test_tokens_of_the_login_go_by_the_rules_for_people() -> None:
    issuer = only_issuer(oidc=oidc(bearer=("",), allow_groups=("staff",)))

    assert admits(issuer, {"groups": ["staff"]})
    assert not admits(issuer, {"groups": ["guests"]})
    assert not admits(issuer, {})


# Which requests a good token opens


def verdict(fields: dict[str, str], target: Policy | None = None, peer_ip: str = "192.0.2.1") -> object:
    return judge_token(target or policy(jwt=(jwt(),)), peer_ip=peer_ip, head=head(fields=fields), origin=ORIGIN)


WEBSOCKET = {"Connection": "Upgrade", "Upgrade": "websocket"}


def test_a_program_needs_no_origin_for_a_websocket() -> None:
    assert verdict(WEBSOCKET) == Allow.NAMED
    assert verdict({**WEBSOCKET, "Origin": ORIGIN.decode()}) == Allow.NAMED


def test_row_114_another_sites_page_opens_no_websocket_with_a_token_either() -> None:
    """Row 114."""
    foreign = {**WEBSOCKET, "Origin": "https://evil.tun.example"}

    assert verdict(foreign) == Unauthorized(RequestKind.UPGRADE)
    assert verdict({**WEBSOCKET, "Origin": "null"}) == Unauthorized(RequestKind.UPGRADE)
    allowed = policy(oidc=oidc(bearer=("",), allow_origins=("https://evil.tun.example",)))
    assert verdict(foreign, allowed) == Allow.NAMED


def test_a_token_is_no_ambient_credential_so_other_sites_may_send_one() -> None:
    cross = {"Origin": "https://app.example", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}

    assert verdict(cross) == Allow.NAMED


def test_rules_about_networks_hold_for_programs_too() -> None:
    inside = policy(jwt=(jwt(),), cidr_allow=("10.0.0.0/8",))

    assert verdict({}, inside, "192.0.2.1") == Deny("network_denied")
    assert verdict({}, inside, "10.1.2.3") == Allow.NAMED


@pytest.mark.parametrize("fields", [{}, NAVIGATE, WEBSOCKET], ids=["curl", "browser", "websocket"])
def test_where_only_programs_come_in_nobody_else_is_sent_to_a_login(fields: dict[str, str]) -> None:
    found = judge(
        policy(jwt=(jwt(),)), peer_ip="192.0.2.1", head=head(fields=fields), is_signed_in=False, origin=ORIGIN
    )

    assert isinstance(found, Unauthorized)


def test_words_say_which_programs_come_in() -> None:
    rules = jwt(GITHUB, "https://app", "repository=acme/app", "repository=acme/api", "ref=main")

    assert policy(jwt=(rules,)).words == (
        f"programs with a token of {GITHUB} for https://app that says repository acme/app or acme/api and ref main"
    )
    assert "whichever account it is for" in policy(jwt=(jwt(),)).words
    assert policy(oidc=oidc(bearer=("",))).words.endswith("of https://acme.okta.com for 0oa1, by the same rules")
