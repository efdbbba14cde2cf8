"""Secrets do not print: the type's promise, and the redactor's."""

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.every import every
from tunnelctl.secret import REDACTED, Secret, redact

CANARY = "canary-7b1e-of-the-tests"
SHAPES = [
    "tt_canaryCANARYcanaryCANARYcanaryCANARYcanary01",
    "ta_canaryCANARYcanaryCANARYcanaryCANARYcanary01",
    "https://dashboard.tun.example/sign-in#code=tc_canaryCANARYcanaryCANARYcanaryCANARYcanary01",
    "eyJhbGciOiJSUzI1NiJ9.eyJjYW5hcnkiOiJjYW5hcnki.canary",
    "v1.0a1b2c3d.canarycanarycanarycanary",
    f"Authorization: Bearer {CANARY}",
    f"authorization: basic {CANARY}=",
    f"Authorization: Digest x={CANARY}",
    f"Cookie: __Host-tunnel={CANARY}; a={CANARY}",
    f"Set-Cookie: sid={CANARY}; Path=/",
    f"[(b'cookie', b'a={CANARY}'), (b'x', b'y')]",
    f'("Authorization", "{CANARY}")',
    f"cookie tunnel={CANARY}",
    f"__Host-tunnel-tx-0a1b2c3d={CANARY}",
    f"POST client_secret={CANARY}&x=y",
    f"password={CANARY}",
    f"refresh_token={CANARY}",
    f"code_verifier={CANARY}",
    f"id_token_hint={CANARY}",
    f"logout_token={CANARY}",
    f"/oauth2/callback?code={CANARY}&state={CANARY}",
    f"/_tunnel/oidc/cb?h={CANARY}",
    f'{{"access_token": "{CANARY}", "id_token":"{CANARY}"}}',
    repr({"client_secret": CANARY, "password": f"with spaces; and {CANARY}"}),
    repr([("refresh_token", CANARY)]),
]
HARMLESS = [
    "basic auth",
    "bearer",
    "status code=200 ok",
    "the code_verifier",
    "tt_1",
    "eyJ",
    "client_secret_basic",
    "id_token: it is missing",
    "the password is wrong",
    "access_token, refresh_token",
    "two cookies, and none is used",
    "/code/v1.2.3",
]


@every("text", SHAPES)
@every("around", ["{}", "before {} after", "a=b&{}", "{}\nnext line"])
def test_what_is_shaped_like_a_secret_is_taken_out(text, around):
    """Row 158."""
    shown = redact(around.format(text))

    assert "canary" not in shown.lower()
    assert "y2fuyxj5" not in shown.lower()
    assert REDACTED in shown


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_none_is_left_alone(text):
    assert redact(text) == text


def test_the_line_still_says_what_it_was_about():
    assert redact("token endpoint: client_secret=x&y=z") == f"token endpoint: client_secret={REDACTED}&y=z"
    assert redact("next\nCookie: a=b\nHost: c") == f"next\nCookie: {REDACTED}\nHost: c"


@given(st.text(max_size=300))
def test_any_text_can_be_redacted_and_twice_is_as_once(text):
    assert redact(redact(text)) == redact(text)


def test_a_megabyte_of_near_misses_is_redacted_in_linear_time():
    """Row 129."""
    for text in ("tt_" * 400_000, "eyJ" * 400_000, "v1.0a1b2c3d." * 90_000, "cookie" * 170_000, "password " * 120_000):
        redact(text)


@pytest.mark.parametrize(
    "show", [str, repr, "{}".format, "{!r:>30}".format, lambda secret: f"{secret}", lambda secret: f"{[secret]}"]
)
def test_a_secret_shows_nowhere(show):
    """Row 158."""
    assert CANARY not in show(Secret(CANARY))


def test_a_secret_in_an_exception_shows_nowhere():
    """Row 158."""
    assert CANARY not in repr(ValueError(Secret(CANARY)))


def test_a_secret_is_neither_copied_nor_written_as_json():
    """Row 158."""
    for attempt in (copy.copy, copy.deepcopy, json.dumps):
        with pytest.raises(TypeError):
            attempt(Secret(CANARY))


def test_a_secret_is_given_out_only_when_asked_for():
    secret = Secret(CANARY)

    assert secret.reveal() == CANARY
    assert secret == Secret(CANARY) != Secret("other")
    assert secret != CANARY
    assert {secret, Secret(CANARY)} == {secret}
    assert [bool(secret), bool(Secret(""))] == [True, False]
