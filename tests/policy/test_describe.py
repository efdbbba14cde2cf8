import msgspec
import pytest

from tunnelctl.policy.describe import describe
from tunnelctl.wire.messages import JwtSpec, OidcSpec, PolicySpec, RateLimitSpec


def login(issuer="https://acme.okta.com", rate_limit=None, **rules):
    oidc = OidcSpec(issuer=issuer, client_id="id", client_secret="s3cret", **rules)
    return PolicySpec(oidc=oidc, rate_limit=rate_limit)


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (PolicySpec(), "anyone who has the address"),
        (PolicySpec(cidr_allow=("10.0.0.0/8",)), "anyone who can reach the address, from 10.0.0.0/8 only"),
        (PolicySpec(cidr_deny=("10.0.0.0/8", "::/0")), "anyone who has the address, not from 10.0.0.0/8 or ::/0"),
        (PolicySpec(basic_auth=("ann:pw", "bob:pw")), "everyone who knows the password of ann or bob"),
        (
            PolicySpec(rate_limit=RateLimitSpec(limit="100/1m:20")),
            "anyone who has the address, at most 100 requests in 1m, 20 at once from one address",
        ),
        (
            login(rate_limit=RateLimitSpec(limit="10/s")),
            "anyone who can log in at https://acme.okta.com, at most 10 requests in 1s from one visitor",
        ),
        (
            login(rate_limit=RateLimitSpec(limit="10/s", by="address")),
            "anyone who can log in at https://acme.okta.com, at most 10 requests in 1s from one address",
        ),
        (
            PolicySpec(
                jwt=(JwtSpec(issuer="https://ci", audience="a"),),
                cidr_deny=("::/0",),
                rate_limit=RateLimitSpec(limit="1/h"),
            ),
            "programs with a token of https://ci for a, whichever account it is for, not from ::/0, at most 1 request "
            "in 1h from one visitor",
        ),
        (login(), "anyone who can log in at https://acme.okta.com"),
        (login("@work"), "anyone who can log in at @work"),
        (
            login(allow_emails=("a@x.org",), allow_domains=("acme.com",)),
            "people who log in at https://acme.okta.com and have the verified e-mail a@x.org or anything@acme.com",
        ),
        (
            login(allow_groups=("ops", "dev"), allow_claims=(("dept", "it"),)),
            "people who log in at https://acme.okta.com and are in the group ops or dev and have the claim dept=it",
        ),
        (
            msgspec.structs.replace(
                login(allow_groups=("ops",), bearer=("",), public_paths=("/health", "/webhooks/*")),
                cidr_allow=("10.0.0.0/8",),
            ),
            "people who log in at https://acme.okta.com and are in the group ops; programs with a token of "
            "https://acme.okta.com for id, by the same rules; without a login, anyone at /health or /webhooks/*, "
            "from 10.0.0.0/8 only",
        ),
        (
            PolicySpec(jwt=(JwtSpec(issuer="https://ci", audience="a", claims=(("x", "1"), ("y", "2"), ("x", "3"))),)),
            "programs with a token of https://ci for a that says x 1 or 3 and y 2",
        ),
        (
            PolicySpec(jwt=(JwtSpec(issuer="https://ci", audience="a"),), cidr_allow=("10.0.0.0/8",)),
            "programs with a token of https://ci for a, whichever account it is for, from 10.0.0.0/8 only",
        ),
        (
            login(bearer=("", "https://api")),
            "anyone who can log in at https://acme.okta.com; programs with a token of https://acme.okta.com for id or "
            "https://api, by the same rules",
        ),
    ],
)
def test_who_is_let_in_is_said_in_words(policy, words):
    assert describe(policy) == words


def test_a_login_that_keeps_nobody_out_is_called_that():
    assert describe(login("https://accounts.google.com")) == ("anyone with a Google account: no rule narrows it")
    assert "anyone" not in describe(login("https://accounts.google.com", allow_emails=("a@x.org",)))


def test_the_words_hold_no_secret():
    assert "pw" not in describe(PolicySpec(basic_auth=("ann:pw",)))
    assert "s3cret" not in describe(login())
