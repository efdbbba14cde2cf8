"""The table of settings: it names every field of the wire's structs, and each by one name only."""

import pytest

from tests.policy.making import oidc
from tunnelctl.policy.fields import BY_PATH, FIELDS, POINTERS, STRUCTS, default_of
from tunnelctl.policy.modules import MODULES
from tunnelctl.wire.messages import PolicySpec


def wire_paths() -> set[str]:
    """Every setting the wire has."""
    paths = set()
    for part in PolicySpec.__struct_fields__:
        inner = STRUCTS.get(part)
        paths |= {f"{part}.{name}" for name in inner.__struct_fields__} if inner else {part}
    return paths


def test_every_setting_of_the_wire_has_one_row():
    assert {row.path for row in FIELDS} == wire_paths()
    assert len(BY_PATH) == len(FIELDS)


@pytest.mark.parametrize("column", ["flag", "parameter", "key", "variable"])
def test_no_two_settings_have_the_same_name(column):
    names = [name for row in FIELDS if (name := getattr(row, column))]

    assert len(set(names)) == len(names)


def test_a_row_has_what_its_kind_needs():
    strange = [
        row.path
        for row in FIELDS
        if bool(row.choices) != (row.kind == "choice")
        or (row.high > 0) != (row.kind == "duration")
        or not row.help.endswith(".")
        or len(row.help) > 110
        or bool(row.card) > bool(row.label)
    ]

    assert strange == []


def test_a_module_with_a_form_shows_all_its_settings_there_but_for_the_login():
    forms = [module for module in MODULES.values() if module.has_form and module.name != "oidc"]

    assert [row.path for module in forms for row in module.rows if not row.label] == []


def test_every_default_is_one_that_the_row_allows():
    from tunnelctl.policy.check import check_field

    given = {row.path: default_of(row) for row in FIELDS}

    assert {path for path, value in given.items() if value is None} == {
        "oidc.issuer", "oidc.client_id", "oidc.client_secret", "jwt.issuer", "jwt.audience", "host_header",
        "rate_limit.limit",
    }  # fmt: skip
    assert [path for path, value in given.items() if value and [*check_field(BY_PATH[path], value)]] == []


def test_the_values_of_secrets_are_known_as_such():
    assert {row.path for row in FIELDS if row.is_secret} == {
        "oidc.client_secret", "basic_auth", "request_headers.add", "response_headers.add",
    }  # fmt: skip


def test_the_api_knows_the_modules_and_fields_of_the_table():
    assert set(MODULES) == {row.module for row in FIELDS if row.module}
    assert MODULES["ip_restriction"].parts == ("cidr_allow", "cidr_deny")
    assert POINTERS["oidc.idle_seconds"] == "oidc.inactivity_timeout"
    assert POINTERS["jwt.claims"] == "jwt"
    assert POINTERS["host_header"] == "host_header"


def test_what_belongs_to_the_provider_can_all_be_left_out():
    """Else nobody could name one that the relay knows."""
    needed = {"client_id": "", "client_secret": ""}
    assert oidc(issuer="@work", **needed).scopes == ()
    assert {row.name for row in FIELDS if row.is_of_provider and default_of(row) is None} == set(needed)
