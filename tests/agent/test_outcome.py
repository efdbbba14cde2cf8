"""What refusals say to the person at the terminal."""

import pytest

from tunnelctl.agent.outcome import FLAGS, Invalid, judge_refusal
from tunnelctl.cli.http import http
from tunnelctl.wire.messages import PolicySpec, Refused


def refusal(code: str, message: str) -> str:
    outcome = judge_refusal(Refused(tunnel=1, code=code, message=message, hint=""))
    assert isinstance(outcome, Invalid)
    return outcome.message


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("jwt: an issuer is named twice", "--jwt-issuer: an issuer is named twice"),
        (
            "oidc: the client id is empty; cidr_deny: 'x' is none",
            "--oidc: the client id is empty; --cidr-deny: 'x' is none",
        ),
        ("oidc: 'a; b: c' is not a scope", "--oidc: 'a; b: c' is not a scope"),
        ("request header X-Up: the relay sets this", "request header X-Up: the relay sets this"),
        ("a jwt: too many", "a jwt: too many"),
    ],
)
def test_a_refused_policy_is_told_by_the_flags_that_were_typed(message: str, shown: str) -> None:
    assert refusal("policy_invalid", message) == shown


def test_other_refusals_are_told_as_the_relay_says_them() -> None:
    assert refusal("name_invalid", "oidc: is no name") == "oidc: is no name"


def test_the_parts_are_the_policys_and_the_flags_exist() -> None:
    flags = {option for parameter in http.params for option in parameter.opts}
    assert set(FLAGS) <= set(PolicySpec.__struct_fields__)
    assert set(FLAGS.values()) <= flags
