"""What people type, read: durations, forms, and the login that a form comes to."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnelctl.policy.fields import BY_PATH, FIELDS, PolicyField
from tunnelctl.wire.messages import OidcSpec
from tunnelrelay.dashboard.form import Form
from tunnelrelay.dashboard.policy_form import text_of, values_of
from tunnelrelay.dashboard.sign_in_redirects import own_path
from tunnelrelay.dashboard.views.edge_oidc import form_of, typed_in
from tunnelrelay.services.edge_settings import KEPT

IDLE = BY_PATH["oidc.idle_seconds"]


def typed_for(row: PolicyField, text: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The values and the errors of a form with this text in the field of this setting."""
    errors: dict[str, str] = {}
    return values_of((row,), Form([(row.api_name, text)]), errors), errors


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("30m", 1800), ("1h 30m", 5400), ("1h30min", 5400), ("2D", 172_800), ("0s", 0)],
)
def test_a_duration_is_read_as_people_type_it(text, seconds):
    assert typed_for(IDLE, text) == ({"idle_seconds": seconds}, {})


@pytest.mark.parametrize("text", ["", " ", "soon", "1x", "-5", "1.5h", "h", "1h,30m", "\u0661h", "\u0661", "9" * 40])
def test_what_is_no_duration_is_told_at_its_field(text):
    values, errors = typed_for(IDLE, text)

    assert values == {}
    assert "is not a duration like" in errors["inactivity_timeout"]


@given(st.integers(0, 10**8))
def test_a_duration_comes_back_as_it_was(seconds):
    assert typed_for(IDLE, text_of(IDLE, seconds)) == ({"idle_seconds": seconds}, {})


def test_every_setting_comes_back_from_its_form_as_it_was():
    kept = {
        "oidc.scopes": ("groups", "offline_access"),
        "oidc.allow_claims": (("department", "it=1"), ("level", "5")),
        "oidc.allow_preflight": True,
        "oidc.on_recheck_error": "login",
        "cidr_deny": ("198.51.100.7", "10.0.0.0/8"),
        "request_headers.add": (("X-A", KEPT), ("X-A", KEPT)),
        "request_headers.remove": ("X-B", "X-C"),
    }
    found = {path: typed_for(BY_PATH[path], text_of(BY_PATH[path], value)) for path, value in kept.items()}

    assert found == {path: ({BY_PATH[path].name: value}, {}) for path, value in kept.items()}


CLAIM, GROUPS = BY_PATH["oidc.allow_claims"], BY_PATH["oidc.allow_groups"]
ANY = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12) | st.text(
    '=,"\\ a\n\u2028', min_size=1
)


@given(st.lists(st.tuples(ANY, ANY), min_size=1, max_size=4).map(tuple))
def test_claims_of_any_text_come_back_from_their_form_as_they_were(claims):
    assert typed_for(CLAIM, text_of(CLAIM, claims)) == ({"allow_claims": claims}, {})


@given(st.lists(ANY, min_size=1, max_size=4).map(tuple))
def test_groups_of_any_text_come_back_from_their_form_as_they_were(groups):
    assert typed_for(GROUPS, text_of(GROUPS, groups)) == ({"allow_groups": groups}, {})


def test_only_what_a_line_would_alter_is_shown_in_quotes():
    claims = (("department", "it=1"), ("https://x.example/?a=b", "c"), ("level", "5,"))

    assert text_of(CLAIM, claims) == 'department=it=1\n"https://x.example/?a=b"=c\nlevel="5,"'


@pytest.mark.parametrize("line", ['"a', '"a"', '"a"b', 'a="b', 'a="b"c', '"\\ud800"=b', '"\\x"=b'])
def test_a_line_with_half_a_quotation_is_told_at_its_field(line):
    values, errors = typed_for(CLAIM, line)

    assert values == {}
    assert errors["allow_claims"]


@pytest.mark.parametrize("path", [row.path for row in FIELDS if row.is_secret])
def test_no_secret_comes_into_a_form(path):
    row = BY_PATH[path]
    value = (("X-Key", "hush"),) if row.kind == "header" else ("ann:hush",) if row.is_list else "hush"

    assert "hush" not in text_of(row, value)


@given(st.text(max_size=600))
def test_a_way_on_is_always_a_path_of_ours(text):
    where = own_path(text)

    assert where.startswith("/")
    assert not where.startswith(("//", "/\\"))
    assert where.isascii()
    assert where.isprintable()


def test_lines_and_words_are_taken_apart():
    form = Form([("a", " x@y.example ,\r\n\r\n z@y.example"), ("b", "10.0.0.0/8, ::1\n127.0.0.1")])

    assert form.lines("a") == ("x@y.example", "z@y.example")
    assert form.words("b") == ("10.0.0.0/8", "::1", "127.0.0.1")
    assert form.text("c") == ""
    assert form.lines("c") == form.words("c") == ()


def test_of_a_box_and_its_default_the_last_counts():
    assert Form([("x", "0"), ("x", "1")]).has("x")
    assert not Form([("x", "0")]).has("x")
    assert not Form().has("x")


def test_a_password_is_taken_as_it_was_typed():
    assert Form([("p", " a b ")]).secret("p") == " a b "


LOGIN = OidcSpec(
    issuer="https://login.acme.example",
    client_id="shop",
    client_secret="",
    allow_groups=("staff",),
    request_params=(("prompt", "login"),),
    bearer=("api",),
    allow_origins=("https://app.acme.example",),
    callback="host",
)


def test_a_form_that_is_sent_as_it_came_changes_nothing_also_of_what_it_does_not_show():
    form = Form(form_of(LOGIN).texts.items())

    typed = typed_in(form, LOGIN)

    assert typed.oidc == LOGIN
    assert typed.errors == {}


def test_a_named_provider_is_given_nothing_that_is_its_own():
    form = Form({**form_of(LOGIN).texts, "provider": "@work", "client_secret": "x"}.items())

    oidc = typed_in(form, LOGIN).oidc

    assert (oidc.issuer, oidc.client_id, oidc.client_secret, oidc.request_params) == ("@work", "", "", ())
    assert oidc.allow_groups == ("staff",)


def test_going_from_a_named_provider_to_ones_own_begins_with_nothing_of_the_former():
    named = OidcSpec(issuer="@work", client_id="", client_secret="", allow_emails=("ann@acme.example",))
    form = Form({**form_of(named).texts, "provider": "", "issuer": "https://x.example", "client_id": "c"}.items())

    oidc = typed_in(form, named).oidc

    assert (oidc.issuer, oidc.client_id) == ("https://x.example", "c")
    assert oidc.allow_emails == ("ann@acme.example",)
