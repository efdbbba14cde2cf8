"""What an owner changed is told by digests, and only what decides who may visit is a change."""

import pytest

from tunnelctl.wire.messages import HeaderEdit, OidcSpec, PolicySpec, RateLimitSpec
from tunnelrelay.agents.policy_diff import NONE, changes
from tunnelrelay.policy.compile import compile_policy

KEY = b"k" * 32


def policy(**changed):
    return compile_policy(PolicySpec(**changed), upstream="http://localhost", owner="ann", key=KEY)


def oidc(**changed):
    return OidcSpec(issuer="https://op.test", **{"client_id": "c", "client_secret": "s", **changed})


GUARDED = {"oidc": oidc()}
STEPS = {
    "the same again": (GUARDED, GUARDED, []),
    "another secret": (GUARDED, {"oidc": oidc(client_secret="t")}, ["connection.changed"]),
    "another rule": (GUARDED, {"oidc": oidc(allow_emails=("ann@acme.com",))}, ["rules.changed"]),
    "a public path": (GUARDED, {"oidc": oidc(public_paths=("/health",))}, ["rules.changed"]),
    "the same public paths": (
        {"oidc": oidc(public_paths=("/a", "/b"))},
        {"oidc": oidc(public_paths=("/b", "/a", "/b"))},
        [],
    ),
    "preflights": (GUARDED, {"oidc": oidc(allow_preflight=True)}, ["rules.changed"]),
    "another network": (GUARDED, {**GUARDED, "cidr_allow": ("192.0.2.0/24",)}, ["rules.changed"]),
    "another password": (
        {"basic_auth": ("ann:long-enough",)},
        {"basic_auth": ("ann:longer-still",)},
        ["rules.changed"],
    ),
    "another rate limit": (
        {"rate_limit": RateLimitSpec(limit="10/s")},
        {"rate_limit": RateLimitSpec(limit="20/s")},
        ["rules.changed"],
    ),
    "no login any more": (GUARDED, {}, ["connection.changed", "rules.changed"]),
    "a header": (GUARDED, {**GUARDED, "request_headers": HeaderEdit(add=(("X-A", "b"),))}, []),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_change_of_who_may_visit_is_an_event_and_nothing_else_is(step):
    former, later, expected = STEPS[step]

    found = list(changes(policy(**former), policy(**later), KEY))

    assert [kind for kind, _ in found] == expected
    assert all(details["old"] != details["new"] for _, details in found)


def test_a_login_that_is_taken_away_is_told_as_none():
    (provider, _) = changes(policy(**GUARDED), policy(), KEY)

    assert provider[1]["new"] == NONE


def test_nobody_is_named_and_no_secret_told():
    """Row 158."""
    later = policy(oidc=oidc(client_secret="canary-secret", allow_emails=("canary@acme.com",)))

    assert "canary" not in repr(list(changes(policy(), later, KEY)))
