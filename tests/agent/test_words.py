import pytest

from tunnelctl.agent.address import UpstreamAddress
from tunnelctl.agent.config import TunnelConfig
from tunnelctl.agent.words import who_is_let_in, who_may_visit
from tunnelctl.wire.messages import JwtSpec, OidcSpec, PolicySpec


def login(issuer="https://acme.okta.com", **rules):
    return PolicySpec(oidc=OidcSpec(issuer=issuer, client_id="id", client_secret="s3cret", **rules))


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (PolicySpec(), "anyone who has the address"),
        (PolicySpec(cidr_allow=("10.0.0.0/8",)), "anyone who can reach the address, from 10.0.0.0/8 only"),
        (PolicySpec(cidr_deny=("10.0.0.0/8", "::/0")), "anyone who has the address, not from 10.0.0.0/8 or ::/0"),
        (PolicySpec(basic_auth=("ann:pw", "bob:pw")), "everyone who knows the password of ann or bob"),
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
    assert who_is_let_in(policy) == words


def test_a_login_that_keeps_nobody_out_is_called_that():
    assert who_is_let_in(login("https://accounts.google.com")) == (
        "anyone with a Google account: no --oidc-allow-… rule narrows it"
    )
    assert "anyone" not in who_is_let_in(login("https://accounts.google.com", allow_emails=("a@x.org",)))


def test_the_words_hold_no_secret():
    assert "pw" not in who_is_let_in(PolicySpec(basic_auth=("ann:pw",)))
    assert "s3cret" not in who_is_let_in(login())


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"policy": PolicySpec(basic_auth=("ann:pw",))}, "everyone who knows the password of ann"),
        ({"edge": "shop"}, "whom the rules of the edge shop let in; they are kept at the relay"),
        ({"labels": (("edge", "edghts_1"),)}, "whom each edge's rules let in; they are kept at the relay"),
    ],
)
def test_who_may_visit_an_edge_is_the_edges_to_say(asked, words):
    assert who_may_visit(TunnelConfig(upstream=UpstreamAddress("http", "localhost", 80), **asked)) == words
