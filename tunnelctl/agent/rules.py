"""From options as people write them to the `PolicySpec` the relay is asked for. Pure; every mistake is told at once.

The relay judges all of this again and knows more (its own names, what the provider says). What is checked here is what
can be said before anything is dialled. The rule above all: never publish an app more open than was asked.
"""

import ipaddress
import re

from tunnelctl.agent.flagvalues import each
from tunnelctl.agent.jwtrules import jwt_specs
from tunnelctl.agent.oidcrules import oidc_spec
from tunnelctl.agent.options import RuleOptions
from tunnelctl.wire.messages import MIN_PASSWORD, HeaderEdit, PolicySpec
from tunnelctl.wire.problem import Problem, joined

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
"""A field name, RFC 9110 section 5.6.2."""


class RulesInvalid(ValueError):
    """Mistakes in the options.

    Attributes:
        problems: Each names the flag it is about.
    """

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(joined(problems))
        self.problems = problems


def build_policy(options: RuleOptions) -> PolicySpec:
    """The policy these options ask for.

    Raises:
        RulesInvalid: With every mistake.
    """
    problems: list[Problem] = []
    policy = PolicySpec(
        oidc=oidc_spec(options, problems),
        jwt=jwt_specs(options, problems),
        basic_auth=each("--basic-auth", options.basic_auth, _pair, problems),
        cidr_allow=each("--cidr-allow", options.cidr_allow, _network, problems),
        cidr_deny=each("--cidr-deny", options.cidr_deny, _network, problems),
        host_header=_host_header(options.host_header, problems),
        request_headers=_edit("request", options.request_add, options.request_remove, problems),
        response_headers=_edit("response", options.response_add, options.response_remove, problems),
    )
    if options.oidc and options.basic_auth:
        problems.append(Problem("--basic-auth", "not together with --oidc; visitors prove who they are in one way"))
    if problems:
        raise RulesInvalid(problems)
    return policy


def _pair(text: str) -> str:
    user, colon, password = text.partition(":")
    if not colon or not user or not password:
        raise ValueError("it takes USER:PASS, neither of them empty")  # without the value: it may be a password
    if len(password) < MIN_PASSWORD:
        count = "1 character" if len(password) == 1 else f"{len(password)} characters"
        raise ValueError(f"the password of {user} has {count}, it takes at least {MIN_PASSWORD}")
    return text


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text.strip()))
    except ValueError:
        pass
    try:
        widened = ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is not a network like 10.0.0.0/8 or 2001:db8::/32") from None
    raise ValueError(f"{text} names a host inside a network; did you mean {widened}?")


def _host_header(text: str, problems: list[Problem]) -> str | None:
    if text in ("", "preserve"):
        return None
    if not text.isascii() or not text.isprintable() or " " in text:
        problems.append(Problem("--host-header", f"{text!r} cannot stand in a header"))
    return text


def _edit(which: str, add: tuple[str, ...], remove: tuple[str, ...], problems: list[Problem]) -> HeaderEdit:
    names = tuple(name for group in remove for name in group.split(","))
    return HeaderEdit(
        add=each(f"--{which}-header-add", add, _field, problems),
        remove=each(f"--{which}-header-remove", names, _field_name, problems),
    )


def _field(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise ValueError("it takes 'Name: value'")  # without what was typed: it may be a secret
    value = value.strip(" \t")
    if any(ord(character) < 32 or ord(character) == 127 for character in value):
        raise ValueError(f"{_field_name(name)}: the value holds a control character")
    return _field_name(name), value


def _field_name(text: str) -> str:
    if not _TOKEN.fullmatch(text.strip()):
        raise ValueError(f"{text!r} is not a header name")
    return text.strip()
