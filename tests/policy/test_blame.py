"""Whatever an owner typed, the setting that is blamed is the one that is wrong."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.policy.making import KEY, oidc, typed
from tunnelctl.policy.fields import FLAGS
from tunnelctl.policy.parse import PolicyTexts, PolicyTextsInvalid, build_policy
from tunnelctl.wire.messages import HeaderEdit, JwtSpec, PolicySpec, RateLimitSpec, Refused
from tunnelctl.wire.problem import MAX_PROBLEMS, Problem
from tunnelrelay.agents.tunnel_offers import policy_invalid
from tunnelrelay.policy.compile import PolicyInvalid, compile_policy
from tunnelrelay.services.edge_settings import by_field

WORDS = st.sampled_from(
    [
        *("audience", "max_age", "; jwt: ", "oidc: ", " claim rule ", "response_mode", "password", "signs tokens"),
        *("issuer ", "is not an origin", "is not a scope", "idle session", "host_header: ", "cidr_deny: x", "@work"),
    ]
)
MISLEADING = st.lists(WORDS | st.text(st.characters(codec="utf-8"), max_size=5), min_size=1, max_size=5).map("".join)
"""Texts with words of other settings and of messages in them."""
JWT = JwtSpec(issuer="https://ci.example", audience="a")

WRONG = {
    "oidc.issuer": lambda text: PolicySpec(oidc=oidc(issuer=f"ftp://{text}")),
    "oidc.client_id": lambda text: PolicySpec(oidc=oidc(client_id=text + "\n")),
    "oidc.client_secret": lambda text: PolicySpec(oidc=oidc(client_secret=text + "\n")),
    "oidc.scopes": lambda text: PolicySpec(oidc=oidc(scopes=(text + " ",))),
    "oidc.allow_emails": lambda text: PolicySpec(oidc=oidc(allow_emails=(text + "*",))),
    "oidc.allow_domains": lambda text: PolicySpec(oidc=oidc(allow_domains=(text + "*",))),
    "oidc.allow_claims": lambda text: PolicySpec(oidc=oidc(allow_claims=((text, ""),))),
    "oidc.public_paths": lambda text: PolicySpec(oidc=oidc(public_paths=(text + "%",))),
    "oidc.on_recheck_error": lambda text: PolicySpec(oidc=oidc(on_recheck_error=text + "!")),
    "oidc.groups_claim": lambda text: PolicySpec(oidc=oidc(groups_claim=text + " ")),
    "oidc.request_params": lambda text: PolicySpec(oidc=oidc(request_params=((text + " ", "x"),))),
    "oidc.audience": lambda text: PolicySpec(oidc=oidc(audience=text + "\n")),
    "oidc.require_acr": lambda text: PolicySpec(oidc=oidc(require_acr=(text + " ",))),
    "oidc.callback": lambda text: PolicySpec(oidc=oidc(callback=text + "!")),
    "oidc.bearer": lambda text: PolicySpec(oidc=oidc(bearer=(text + "\n",))),
    "oidc.allow_origins": lambda text: PolicySpec(oidc=oidc(allow_origins=("https://a?" + text,))),
    "cidr_allow": lambda text: PolicySpec(cidr_allow=(text + "/x",)),
    "cidr_deny": lambda text: PolicySpec(cidr_deny=(text + "/x",)),
    "rate_limit.limit": lambda text: PolicySpec(rate_limit=RateLimitSpec(limit="0/" + text)),
    "rate_limit.by": lambda text: PolicySpec(rate_limit=RateLimitSpec(limit="1/s", by=text + "!")),
    "basic_auth": lambda text: PolicySpec(basic_auth=(text.replace(":", "") + ":",)),
    "host_header": lambda text: PolicySpec(host_header=text + "!"),
    "jwt.issuer": lambda text: PolicySpec(jwt=(msgspec.structs.replace(JWT, issuer=f"ftp://{text}"),)),
    "jwt.audience": lambda text: PolicySpec(jwt=(msgspec.structs.replace(JWT, audience=text + "\n"),)),
    "jwt.claims": lambda text: PolicySpec(jwt=(msgspec.structs.replace(JWT, claims=((text, "*"),)),)),
    "request_headers.add": lambda text: PolicySpec(request_headers=HeaderEdit(add=((text + " ", "x"),))),
    "request_headers.remove": lambda text: PolicySpec(request_headers=HeaderEdit(remove=(text + " ",))),
    "response_headers.add": lambda text: PolicySpec(response_headers=HeaderEdit(add=(("X-A", text + "\n"),))),
}
"""Setting -> a policy in which only that one is wrong, whatever the text."""


def problems_of(spec: PolicySpec) -> list[Problem]:
    with pytest.raises(PolicyInvalid) as caught:
        compile_policy(spec, upstream="http://localhost:3000", owner="ann", key=KEY)
    return caught.value.problems


@pytest.mark.parametrize("field", WRONG)
@given(text=MISLEADING)
def test_the_relay_blames_the_setting_that_is_wrong(field, text):
    problems = problems_of(WRONG[field](text))

    assert {problem.field for problem in problems} == {field}
    assert len(by_field(problems)) == 1
    assert field in FLAGS


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ("ftp://audience.acme.example", "oidc.issuer"),
        ("ftp://max_age.acme.example", "oidc.issuer"),
        ("ftp://acme.example/ claim rule", "oidc.issuer"),
        ("https://acme.example/?jwt: x", "oidc.issuer"),
    ],
)
def test_an_issuer_is_blamed_whatever_words_are_in_it(typed, field):
    assert [problem.field for problem in problems_of(PolicySpec(oidc=oidc(issuer=typed)))] == [field]


def test_a_duration_has_its_own_field_in_the_api():
    problems = problems_of(PolicySpec(oidc=oidc(idle_seconds=0, max_seconds=0, recheck_seconds=1)))

    assert set(by_field(problems)) == {
        "oidc.inactivity_timeout",
        "oidc.maximum_duration",
        "oidc.auth_check_interval",
    }


@given(text=MISLEADING, path=st.sampled_from(["oidc.idle_seconds", "oidc.max_seconds", "oidc.callback"]))
def test_the_agent_blames_the_setting_that_is_wrong(text, path):
    login = typed(oidc="https://a.example", oidc_client_id="c", oidc_client_secret="s")

    with pytest.raises(PolicyTextsInvalid) as caught:
        build_policy(PolicyTexts((*login.entries, (path, text + "!"))))

    assert {problem.field for problem in caught.value.problems} == {path}


@given(st.lists(st.text(), max_size=3 * MAX_PROBLEMS))
def test_a_refusal_fits_into_a_message_whatever_was_typed(texts):
    refused = policy_invalid([Problem("oidc.allow_emails", repr(text) * 100) for text in texts], "hint")
    message = Refused(
        tunnel=1, code=refused.code, message=refused.message, hint=refused.hint, problems=refused.problems
    )

    assert len(msgspec.json.encode(message)) < 32 * 1024


@pytest.mark.parametrize("issuer", ["https://u:hush-hush@a", "ftp://u:hush-hush@a", "https://u:hush hush@a"])
def test_what_stands_before_the_at_sign_of_an_issuer_is_not_repeated(issuer):
    told = problems_of(PolicySpec(oidc=oidc(issuer=issuer)))
    with pytest.raises(PolicyTextsInvalid) as caught:
        build_policy(typed(oidc=issuer, oidc_client_id="c", oidc_client_secret="s"))
    local = caught.value.problems

    assert "hush" not in f"{told} {local}"
    assert [problem.field for problem in (*told, *local)] == ["oidc.issuer", "oidc.issuer"]
