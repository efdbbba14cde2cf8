"""Whatever is set or found: a value, or a documented refusal."""

import json
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.policy.making import KEY
from tunnelctl.policy.modules import MODULES
from tunnelctl.wire.messages import HeaderEdit, JwtSpec, OidcSpec, PolicySpec, RateLimitSpec
from tunnelctl.wire.problem import Problem
from tunnelrelay.observe.audit import MAX_CHANGE
from tunnelrelay.policy.compile import PolicyInvalid, compile_policy
from tunnelrelay.policy.named_provider import NamedOidc
from tunnelrelay.services.backends import checked_labels
from tunnelrelay.services.edge_settings import (
    HEADERS,
    KEPT,
    EdgeSecrets,
    EdgeSettings,
    RouteSettings,
    by_field,
    in_force,
    take_values,
    without_secrets,
)
from tunnelrelay.services.problems import ManageError
from tunnelrelay.services.provider_settings import ProviderSettings, merged
from tunnelrelay.services.service_base import diff

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
TEXTS = st.lists(TEXT, max_size=3).map(tuple)
PAIRS = st.lists(st.tuples(TEXT, TEXT), max_size=3).map(tuple)
LOGINS = st.builds(
    OidcSpec,
    issuer=st.sampled_from(["https://acme.example", "@work", "", "https://a@b"]) | TEXT,
    client_id=TEXT,
    client_secret=TEXT,
    scopes=TEXTS,
    allow_emails=TEXTS,
    allow_domains=TEXTS,
    allow_claims=PAIRS,
    idle_seconds=st.integers(),
    recheck_seconds=st.integers(),
    groups_claim=TEXT,
    callback=st.sampled_from(["relay", "shared", "host"]) | TEXT,
    request_params=PAIRS | st.just((("max_age", "60"),)),
    allow_origins=TEXTS,
    bearer=TEXTS,
)
POLICIES = st.builds(
    PolicySpec,
    oidc=st.none() | LOGINS,
    jwt=st.lists(st.builds(JwtSpec, issuer=TEXT, audience=TEXT, claims=PAIRS), max_size=2).map(tuple),
    basic_auth=TEXTS,
    cidr_allow=TEXTS,
    cidr_deny=TEXTS,
    host_header=st.none() | TEXT,
    rate_limit=st.none() | st.builds(RateLimitSpec, limit=TEXT | st.just("10/1m"), by=TEXT | st.just("address")),
    request_headers=st.builds(HeaderEdit, add=PAIRS, remove=TEXTS),
)
SETTINGS = st.builds(
    EdgeSettings,
    policy=POLICIES,
    disabled=st.lists(st.sampled_from(sorted(MODULES)), max_size=3).map(tuple),
    sticky=st.booleans(),
    route=st.none() | st.builds(RouteSettings, id=TEXT, created_at=st.floats(allow_nan=False, allow_infinity=False)),
)


@given(SETTINGS)
def test_settings_are_read_as_they_were_written(settings):
    assert EdgeSettings.parse(settings.encode()) == settings


@given(st.text(st.characters(codec="utf-8")) | st.from_regex(r'\{"(policy|route|disabled)":.*\}'))
def test_any_text_is_settings_or_refused(text):
    with suppress(msgspec.MsgspecError):
        EdgeSettings.parse(text)


@given(POLICIES)
def test_what_is_kept_in_the_clear_holds_no_secret(policy):
    kept = without_secrets(policy)

    assert kept.basic_auth == ()
    assert {value for part in HEADERS for _, value in getattr(kept, part).add} <= {KEPT}
    assert kept.oidc is None or kept.oidc.client_secret == ""


@given(SETTINGS, TEXT, TEXTS)
def test_whatever_is_in_force_compiles_or_names_a_field_for_every_problem(settings, client_secret, pairs):
    spec = in_force(settings, EdgeSecrets(client_secret=client_secret, basic_auth=pairs))
    problems: list[Problem] = []
    try:
        compile_policy(spec, upstream="", owner="ann", key=KEY)
    except PolicyInvalid as invalid:
        problems = invalid.problems

    fields = by_field(problems)
    assert bool(fields) is bool(problems)
    assert all(fields.values())
    assert "policy" not in fields


@given(SETTINGS)
def test_a_module_that_is_off_guards_nothing_and_one_that_is_on_is_never_lost(settings):
    settings, secrets = take_values(settings, EdgeSecrets())
    spec = in_force(settings, secrets)
    for module, described in MODULES.items():
        for part in described.parts:
            now, kept = getattr(spec, part), getattr(settings.policy, part)
            if module in settings.disabled:
                assert now == getattr(PolicySpec(), part)
            elif part in HEADERS:
                assert [name for name, _ in now.add] == [name for name, _ in kept.add]
            elif part not in ("basic_auth", "oidc"):
                assert now == kept
            elif part == "oidc":
                assert (now is None) is (kept is None)


@given(LOGINS)
def test_nothing_an_owner_asks_for_replaces_what_is_the_provider_s(asked):
    settings = ProviderSettings(issuer="https://acme.example", client_id="c", request_params=(("hd", "acme.com"),))

    whole = merged(asked, settings, provider="prv_1", client_secret="s")

    if isinstance(whole, NamedOidc):
        for name in ("issuer", "client_id", "scopes", "groups_claim", "email_verified", "callback"):
            assert getattr(whole, name) == getattr(settings, name)
        assert whole.client_secret == "s"
        assert whole.request_params[0] == ("hd", "acme.com")
        assert {name for name, _ in whole.request_params[1:]} <= {"max_age", "acr_values", "prompt"}
    else:
        assert whole.text.startswith("with ")


@given(PAIRS)
def test_any_labels_are_sorted_pairs_or_refused(pairs):
    labels: tuple[tuple[str, str], ...] = ()
    fields: list[str] = []
    try:
        labels = checked_labels(pairs)
    except ManageError as refused:
        fields = list(refused.fields)

    assert (labels, fields) in [(tuple(sorted(pairs)), []), ((), ["labels"])]
    assert labels or fields


@given(st.dictionaries(TEXT, TEXT | st.integers() | TEXTS | st.booleans()), st.integers(0, 3000))
def test_any_change_is_told_as_whole_json_within_the_limit(values, more):
    told_values = {**values, "long": "x" * more}

    text = diff(None, told_values)["after"]

    assert len(text) <= MAX_CHANGE
    assert isinstance(json.loads(text), dict)


@pytest.mark.parametrize("module", MODULES)
def test_every_module_is_a_part_of_a_policy(module):
    assert all(part in PolicySpec.__struct_fields__ for part in MODULES[module].parts)
