"""What refusals say to the person at the terminal."""

import msgspec
import pytest

from tunnelctl.agent.outcome import Invalid, judge_dial, judge_refusal
from tunnelctl.agent.tunnelfile import TUNNEL_KEYS
from tunnelctl.cli.http import http
from tunnelctl.cli.tunnel_command import tunnel
from tunnelctl.link.dial import DialFailed
from tunnelctl.policy.fields import FLAGS, KEYS
from tunnelctl.wire.messages import HeaderEdit, JwtSpec, OidcSpec, PolicySpec, RateLimitSpec, Refused
from tunnelctl.wire.problem import Problem

TYPED = "a; b; jwt: x@y"
"""Looks like the beginning of another problem."""


def refusal(code: str, message: str, *problems: Problem, names=FLAGS) -> str:
    refused = Refused(tunnel=1, code=code, message=message, problems=problems)
    outcome = judge_refusal(refused, names)
    assert isinstance(outcome, Invalid)
    return outcome.message


def settings() -> set[str]:
    """Every setting a relay may name."""
    inner = {
        "oidc": OidcSpec,
        "jwt": JwtSpec,
        "rate_limit": RateLimitSpec,
        "request_headers": HeaderEdit,
        "response_headers": HeaderEdit,
    }
    names = {"weight", "labels", "oidc", "jwt"}
    for name in PolicySpec.__struct_fields__:
        names |= {f"{name}.{part}" for part in inner[name].__struct_fields__} if name in inner else {name}
    return names


def test_a_refused_policy_is_told_by_the_flags_that_were_typed() -> None:
    problems = (Problem("oidc.allow_emails", repr(TYPED)), Problem("cidr_deny", "'x' is none"))

    shown = refusal("policy_invalid", "oidc: as older agents read it", *problems)

    assert shown == f"--oidc-allow-email: {TYPED!r}; --cidr-deny: 'x' is none"


def test_a_tunnel_of_the_file_is_told_by_its_keys() -> None:
    problems = (Problem("oidc.client_id", "is empty"), Problem("oidc.max_seconds", "is 0 s"))

    shown = refusal("policy_invalid", "", *problems, names=KEYS)

    assert shown == "oidc.client_id: is empty; --oidc-max-session-duration: is 0 s"


@pytest.mark.parametrize("message", ["jwt: an issuer is named twice", f"oidc: {TYPED!r} is not a scope"])
def test_an_older_relay_names_no_settings_and_is_told_as_it_says_it(message: str) -> None:
    assert refusal("policy_invalid", message) == message


def test_other_refusals_are_told_as_the_relay_says_them() -> None:
    assert refusal("name_invalid", "oidc: is no name") == "oidc: is no name"


def test_every_setting_a_relay_may_name_has_a_flag_or_key_that_exists() -> None:
    flags = {option for command in (http, tunnel) for parameter in command.params for option in parameter.opts}

    assert set(FLAGS) == set(KEYS) == settings()
    assert set(FLAGS.values()) <= flags
    assert set(KEYS.values()) <= flags | set(TUNNEL_KEYS)


def test_agents_of_earlier_releases_read_a_refusal_with_problems() -> None:
    class OldRefused(msgspec.Struct, tag="refused", frozen=True, kw_only=True):
        tunnel: int
        code: str
        message: str
        hint: str = ""

    new = Refused(tunnel=1, code="policy_invalid", message="m", problems=(Problem("oidc.issuer", "t"),))
    old = OldRefused(tunnel=1, code="policy_invalid", message="m")

    assert msgspec.json.decode(msgspec.json.encode(new), type=OldRefused) == old
    assert msgspec.json.decode(msgspec.json.encode(old), type=Refused).problems == ()


@pytest.mark.parametrize(
    ("relay_from", "said"),
    [
        ("", "no relay was named, so it is looked for on this machine"),
        ("", "`tunnel config add-relay URL`"),
        ("--relay", "the address is from --relay"),
        ("/etc/t.yml: connect_url", "the address is from /etc/t.yml: connect_url"),
    ],
)
def test_a_relay_that_nobody_answers_for_is_told_with_what_named_it(relay_from, said):
    failure = DialFailed("unreachable", "no connection")
    assert said in judge_dial(failure, was_connected=False, relay_from=relay_from).reason
    assert judge_dial(failure, was_connected=True, relay_from=relay_from).reason == "no connection"


def test_a_relay_that_answers_is_not_looked_for_elsewhere():
    busy = DialFailed("unreachable", "the relay answered 503", status=503)
    assert judge_dial(busy, was_connected=False).reason == "the relay answered 503"
