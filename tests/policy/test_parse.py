import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.policy.making import typed
from tunnelctl.policy.check import check_policy
from tunnelctl.policy.fields import BY_PATH, FIELDS, FLAGS
from tunnelctl.policy.parse import PolicyTexts, PolicyTextsInvalid, build_policy
from tunnelctl.wire.messages import PolicySpec, RateLimitSpec

LOGIN = {"oidc": "https://acme.okta.com", "oidc_client_id": "id", "oidc_client_secret": "secret"}


def problems(**options):
    with pytest.raises(PolicyTextsInvalid) as caught:
        build_policy(typed(**options))
    return [f"{FLAGS[problem.field]}: {problem.text}" for problem in caught.value.problems]


def test_no_options_make_the_empty_policy():
    assert build_policy(typed()) == PolicySpec()


def test_everything_missing_for_a_login_is_said_at_once():
    assert problems(oidc="https://acme.okta.com") == [
        "--oidc-client-id: missing, --oidc needs it",
        "--oidc-client-secret: missing, --oidc needs it",
    ]


def test_rules_about_logins_without_a_login_are_refused_and_not_ignored():
    assert problems(oidc_allow_domain=("acme.com",), oidc_client_id="id") == [
        "--oidc-client-id: needs --oidc ISSUER",
        "--oidc-allow-domain: needs --oidc ISSUER",
    ]


def test_mistakes_in_all_places_are_said_together():
    said = problems(
        **LOGIN,
        oidc_allow_email=("ann",),
        oidc_allow_claim=("dept",),
        basic_auth=("ann",),
        cidr_allow=("10.0.0.1/8",),
        request_header_add=("no colon",),
        response_header_remove=("bad name",),
        host_header="a b",
    )
    flags = [text.partition(":")[0] for text in said]
    assert flags == [
        "--oidc-allow-email", "--oidc-allow-claim", "--basic-auth", "--basic-auth", "--cidr-allow", "--host-header",
        "--request-header-add", "--response-header-remove",
    ]  # fmt: skip


def test_a_login_is_asked_for_as_written():
    oidc = build_policy(
        typed(
            **LOGIN,
            oidc_scope=("groups",),
            oidc_allow_email=("Ann@Acme.com",),
            oidc_allow_domain=("@ACME.com",),
            oidc_allow_group=("Ops, EU",),
            oidc_allow_claim=("dept=a=b",),
            oidc_idle_session_duration="30m",
            oidc_max_session_duration="1h30m",
        )
    ).oidc
    assert oidc is not None
    assert (oidc.issuer, oidc.client_id, oidc.client_secret) == ("https://acme.okta.com", "id", "secret")
    assert (oidc.allow_emails, oidc.allow_domains) == (("ann@acme.com",), ("acme.com",))
    assert (oidc.allow_groups, oidc.allow_claims) == (("Ops, EU",), (("dept", "a=b"),))
    assert (oidc.scopes, oidc.idle_seconds, oidc.max_seconds) == (("groups",), 1800, 5400)


@pytest.mark.parametrize(
    "issuer", ["acme.okta.com", "http://acme.okta.com", "https://a?x=1", "https://u:p@a", "ftp://a", "https://a\nb"]
)
def test_an_issuer_is_an_https_url(issuer):
    assert problems(**{**LOGIN, "oidc": issuer})[0].startswith("--oidc: ")


def test_an_issuer_on_this_machine_may_be_plain_http():
    policy = build_policy(typed(**{**LOGIN, "oidc": "http://127.0.0.1:9400"}))
    assert policy.oidc is not None


def test_a_mistake_in_a_password_does_not_repeat_it():
    assert "hunter2" not in str(problems(basic_auth=(":hunter2",)))
    (short,) = problems(basic_auth=("ann:hunter2",))
    assert "has 7 characters, it takes at least 8" in short
    assert "hunter2" not in short
    assert "hunter2" not in repr(typed(basic_auth=("a:hunter2",), oidc_client_secret="hunter2"))


def test_a_password_and_a_login_do_not_go_together():
    assert "not together with an OpenID login" in problems(**LOGIN, basic_auth=("ann:long-enough",))[0]


def test_a_network_written_as_a_host_is_explained():
    assert problems(cidr_deny=("10.1.2.3/8",)) == [
        "--cidr-deny: 10.1.2.3/8 names a host inside a network; did you mean 10.0.0.0/8?"
    ]


def test_networks_and_single_addresses_are_taken():
    policy = build_policy(typed(cidr_allow=("10.0.0.0/8", "2001:db8::/32", "192.0.2.1")))
    assert policy.cidr_allow == ("10.0.0.0/8", "2001:db8::/32", "192.0.2.1/32")


@pytest.mark.parametrize("field", ["X: a\r\nSet-Cookie: b", "X: \0", "X Y: a", ": a", "X:\x7f"])
def test_no_header_can_smuggle_another(field):
    assert problems(request_header_add=(field,))


def test_headers_are_edited_as_ngrok_writes_it():
    policy = build_policy(
        typed(request_header_add=("X-A:1", "X-B: 2 "), request_header_remove=("X-C,X-D", "X-E"), host_header="rewrite")
    )
    assert policy.request_headers.add == (("X-A", "1"), ("X-B", "2"))
    assert policy.request_headers.remove == ("X-C", "X-D", "X-E")
    assert policy.host_header == "rewrite"


def test_preserving_the_host_is_the_default():
    assert build_policy(typed(host_header="preserve")).host_header is None


def test_what_is_asked_of_logins_goes_into_the_policy():
    policy = build_policy(
        typed(
            **LOGIN,
            oidc_userinfo_refresh_interval="0",
            oidc_refresh_error="502",
            oidc_groups_claim="realm_access.roles",
            oidc_email_verified="text",
            oidc_request_param=("max_age=600", "acr_values=gold silver"),
            oidc_audience="https://api.acme.com",
            oidc_require_acr=("gold",),
            oidc_callback="host",
            oidc_cross_site=("allow:https://a.example,https://b.example:8443",),
            oidc_allow_cors_preflight=True,
            public_path=("/health", "/webhooks/*"),
        )
    )

    assert policy.oidc is not None
    assert (policy.oidc.recheck_seconds, policy.oidc.on_recheck_error) == (0, "502")
    assert (policy.oidc.groups_claim, policy.oidc.email_verified) == ("realm_access.roles", "text")
    assert policy.oidc.request_params == (("max_age", "600"), ("acr_values", "gold silver"))
    assert policy.oidc.audience == "https://api.acme.com"
    assert (policy.oidc.require_acr, policy.oidc.callback) == (("gold",), "host")
    assert policy.oidc.allow_origins == ("https://a.example", "https://b.example:8443")
    assert policy.oidc.allow_preflight
    assert policy.oidc.public_paths == ("/health", "/webhooks/*")


def test_a_rate_limit_is_taken_as_it_is_typed():
    assert build_policy(typed(rate_limit="100/1m:20")).rate_limit == RateLimitSpec(limit="100/1m:20", by="visitor")
    by_address = build_policy(typed(rate_limit="10/s", rate_limit_by="address")).rate_limit
    assert by_address == RateLimitSpec(limit="10/s", by="address")


def test_whom_a_rate_limit_counts_means_nothing_without_one():
    assert problems(rate_limit_by="visitor") == ["--rate-limit-by: needs --rate-limit N/PERIOD"]


def test_what_is_no_rate_limit_is_said():
    assert problems(rate_limit="10/0s", rate_limit_by="cookie") == [
        "--rate-limit: its period is 0 s, must be 1 to 86400",
        "--rate-limit-by: 'cookie' is none of visitor, address",
    ]


def test_what_cannot_be_asked_of_logins_is_said():
    assert problems(
        **LOGIN,
        oidc_userinfo_refresh_interval="often",
        oidc_refresh_error="open",
        oidc_email_verified="yes",
        oidc_callback="https://idp.example",
        oidc_request_param=("acr_values",),
        oidc_cross_site=("*",),
    ) == [
        "--oidc-userinfo-refresh-interval: 'often' is not a duration like 1h, 30m or 1h30m",
        "--oidc-refresh-error: 'open' is none of keep, login, 502",
        "--oidc-request-param: 'acr_values' is not NAME=VALUE",
        "--oidc-email-verified: 'yes' is none of claim, text, assumed",
        "--oidc-callback: 'https://idp.example' is none of relay, shared, host",
        "--oidc-cross-site: '*' is not allow:ORIGIN, as in allow:https://app.example",
    ]


def test_a_provider_the_relay_knows_needs_no_client_and_takes_rules():
    policy = build_policy(
        typed(
            oidc="@work",
            oidc_allow_group=("ops",),
            oidc_idle_session_duration="5m",
            oidc_max_session_duration="2h",
            oidc_require_acr=("mfa",),
            oidc_request_param=("max_age=60",),
            public_path=("/health",),
        )
    )
    assert policy.oidc is not None
    assert (policy.oidc.issuer, policy.oidc.client_id, policy.oidc.client_secret) == ("@work", "", "")
    assert (policy.oidc.allow_groups, policy.oidc.idle_seconds, policy.oidc.max_seconds) == (("ops",), 300, 7200)
    assert (policy.oidc.require_acr, policy.oidc.request_params) == (("mfa",), (("max_age", "60"),))
    assert policy.oidc.public_paths == ("/health",)


@pytest.mark.parametrize(
    "others",
    [
        {},
        {"basic_auth": ("ann:correct-horse",)},
        {"jwt": (("--jwt-issuer", "https://ci.acme.example"), ("--jwt-audience", "a"))},
    ],
)
def test_a_public_path_without_a_login_is_refused(others):
    """It would be a rule that says nothing, or one that opens what a password guards."""
    assert problems(public_path=("/health",), **others) == ["--public-path: needs --oidc ISSUER"]


def test_each_public_path_that_cannot_be_one_is_said():
    assert problems(**LOGIN, public_path=("/health", "/*", "health", "/a/../b")) == [
        "--public-path: '/*' would take the login off every path",
        "--public-path: 'health' is not a path like /health or /webhooks/*",
        "--public-path: '/a/../b' could be read as another path: it takes letters, digits and -._~!$&'(),:=@, "
        "and no segment that is empty or of dots",
    ]


def test_what_the_relay_knows_of_a_provider_is_not_told_it_again():
    said = problems(
        oidc="@work",
        oidc_client_id="id",
        oidc_client_secret="secret",
        oidc_scope=("groups",),
        oidc_audience="https://api.acme.com",
        oidc_groups_claim="roles",
        oidc_email_verified="text",
        oidc_callback="host",
    )
    assert said == [
        f"{flag}: not together with --oidc=@work; the relay knows it"
        for flag in (
            "--oidc-client-id",
            "--oidc-client-secret",
            "--oidc-scope",
            "--oidc-audience",
            "--oidc-groups-claim",
            "--oidc-email-verified",
            "--oidc-callback",
        )
    ]


@pytest.mark.parametrize("name", ["@", "@Work", "@-a", "@a-", "@a b", "@a/b", "@@a", "@" + "a" * 64])
def test_what_is_no_name_of_a_provider(name):
    assert "is not a provider's name like @work" in problems(oidc=name)[0]


@given(texts=st.lists(st.tuples(st.sampled_from([row.path for row in FIELDS]), st.text(max_size=12)), max_size=8))
def test_any_texts_make_a_policy_or_say_which_setting_is_wrong(texts):
    try:
        spec, problems = build_policy(PolicyTexts(tuple(texts))), []
    except PolicyTextsInvalid as error:
        spec, problems = PolicySpec(), error.problems

    assert check_policy(spec) == []
    assert {problem.field for problem in problems} <= BY_PATH.keys()
