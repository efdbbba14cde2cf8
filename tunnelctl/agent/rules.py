"""From options as people write them to the `PolicySpec` the relay is asked for. Pure; every mistake is told at once.

The relay judges all of this again and knows more (its own names, what the provider says). What is checked here is what
can be said before anything is dialled. The rule above all: never publish an app more open than was asked.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import urlsplit

from tunnelctl.agent.address import is_loopback
from tunnelctl.wire.messages import HeaderEdit, OidcSpec, PolicySpec

T = TypeVar("T")

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
"""A field name, RFC 9110 section 5.6.2."""
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_DOMAIN = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
MAX_DURATION = 365 * 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleOptions:
    """The options that guard and shape a tunnel, each as its flag takes it.

    Attributes:
        oidc: Issuer.
        oidc_client_secret: Already read, not a form of it.
        oidc_allow_claim: `NAME=VALUE`.
        oidc_idle, oidc_max: Durations like `1h30m`; "" for the default.
        basic_auth: `USER:PASS`.
        host_header: `rewrite`, `preserve`, a value, or "" for `preserve`.
        request_add, response_add: `Name: value`.
    """

    oidc: str = ""
    oidc_client_id: str = ""
    oidc_client_secret: str = field(default="", repr=False)
    oidc_scope: tuple[str, ...] = ()
    oidc_allow_email: tuple[str, ...] = ()
    oidc_allow_domain: tuple[str, ...] = ()
    oidc_allow_group: tuple[str, ...] = ()
    oidc_allow_claim: tuple[str, ...] = ()
    oidc_idle: str = ""
    oidc_max: str = ""
    basic_auth: tuple[str, ...] = field(default=(), repr=False)
    cidr_allow: tuple[str, ...] = ()
    cidr_deny: tuple[str, ...] = ()
    host_header: str = ""
    request_add: tuple[str, ...] = ()
    request_remove: tuple[str, ...] = ()
    response_add: tuple[str, ...] = ()
    response_remove: tuple[str, ...] = ()


class RulesInvalid(ValueError):
    """Mistakes in the options.

    Attributes:
        problems: One sentence each, beginning with the flag.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def build_policy(options: RuleOptions) -> PolicySpec:
    """The policy these options ask for.

    Raises:
        RulesInvalid: With every mistake.
    """
    problems: list[str] = []
    policy = PolicySpec(
        oidc=_oidc(options, problems),
        basic_auth=_each("--basic-auth", options.basic_auth, _pair, problems),
        cidr_allow=_each("--cidr-allow", options.cidr_allow, _network, problems),
        cidr_deny=_each("--cidr-deny", options.cidr_deny, _network, problems),
        host_header=_host_header(options.host_header, problems),
        request_headers=_edit("request", options.request_add, options.request_remove, problems),
        response_headers=_edit("response", options.response_add, options.response_remove, problems),
    )
    if options.oidc and options.basic_auth:
        problems.append("--basic-auth: not together with --oidc; visitors prove who they are in one way")
    if problems:
        raise RulesInvalid(problems)
    return policy


def parse_duration(text: str) -> int:
    """Seconds of `1h30m`, `90s` or `45m`.

    Raises:
        ValueError: It is none of these, nothing, or longer than a year.
    """
    match = _DURATION.fullmatch(text)
    hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match else (0, 0, 0)
    total = hours * 3600 + minutes * 60 + seconds
    if not 0 < total <= MAX_DURATION:
        raise ValueError(f"{text!r} is not a duration like 1h, 30m or 1h30m")
    return total


# OpenID Connect


def _oidc(options: RuleOptions, problems: list[str]) -> OidcSpec | None:
    if not options.oidc:
        problems.extend(f"{flag}: needs --oidc ISSUER" for flag in _oidc_flags_given(options))
        return None
    missing = {"--oidc-client-id": options.oidc_client_id, "--oidc-client-secret": options.oidc_client_secret}
    problems.extend(f"{flag}: missing, --oidc needs it" for flag, value in missing.items() if not value)
    emails = _each("--oidc-allow-email", options.oidc_allow_email, _email, problems)
    domains = _each("--oidc-allow-domain", options.oidc_allow_domain, _mail_domain, problems)
    groups = _each("--oidc-allow-group", options.oidc_allow_group, _not_empty, problems)
    claims = _each("--oidc-allow-claim", options.oidc_allow_claim, _claim, problems)
    scopes = _each("--oidc-scope", options.oidc_scope, _scope, problems)
    return OidcSpec(
        issuer=next(iter(_each("--oidc", (options.oidc,), _issuer, problems)), ""),
        client_id=options.oidc_client_id,
        client_secret=options.oidc_client_secret,
        scopes=scopes,
        allow_emails=emails,
        allow_domains=domains,
        allow_groups=groups,
        allow_claims=claims,
        **_durations(options, problems),
    )


def _oidc_flags_given(options: RuleOptions) -> list[str]:
    flags = {
        "--oidc-client-id": options.oidc_client_id,
        "--oidc-client-secret": options.oidc_client_secret,
        "--oidc-scope": options.oidc_scope,
        "--oidc-allow-email": options.oidc_allow_email,
        "--oidc-allow-domain": options.oidc_allow_domain,
        "--oidc-allow-group": options.oidc_allow_group,
        "--oidc-allow-claim": options.oidc_allow_claim,
        "--oidc-idle-session-duration": options.oidc_idle,
        "--oidc-max-session-duration": options.oidc_max,
    }
    return [flag for flag, value in flags.items() if value]


def _durations(options: RuleOptions, problems: list[str]) -> dict[str, int]:
    durations: dict[str, int] = {}
    for key, flag, text in (
        ("idle_seconds", "--oidc-idle-session-duration", options.oidc_idle),
        ("max_seconds", "--oidc-max-session-duration", options.oidc_max),
    ):
        if text:
            durations.update((key, seconds) for seconds in _each(flag, (text,), parse_duration, problems))
    return durations


def _issuer(text: str) -> str:
    parts = urlsplit(text)
    is_plain = text.isascii() and text.isprintable() and " " not in text
    if not is_plain or parts.scheme not in ("https", "http") or not parts.hostname:
        raise ValueError(f"{text!r} is not an issuer's URL like https://acme.okta.com")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ValueError(f"{text}: an issuer is reached over https (plain http only on this machine)")
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError(f"{text}: an issuer has no query, fragment or user (OpenID Connect Discovery section 4.1)")
    return text


def _email(text: str) -> str:
    name, at, domain = text.strip().rpartition("@")
    if not at or not name or "@" in name or not _DOMAIN.fullmatch(domain.lower()):
        raise ValueError(f"{text!r} is not an e-mail address")
    return text.strip().lower()


def _mail_domain(text: str) -> str:
    domain = text.strip().lower().removeprefix("@")
    if not _DOMAIN.fullmatch(domain):
        raise ValueError(f"{text!r} is not a domain like example.com")
    return domain


def _claim(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name or not value:
        raise ValueError(f"{text!r} is not NAME=VALUE")
    return name, value


def _scope(text: str) -> str:
    if not re.fullmatch(r"[!#-\[\]-~]+", text):  # RFC 6749 section 3.3
        raise ValueError(f"{text!r} is not one scope; give the flag once for each")
    return text


# The rest


def _pair(text: str) -> str:
    user, colon, password = text.partition(":")
    if not colon or not user or not password:
        raise ValueError("it takes USER:PASS, neither of them empty")  # without the value: it may be a password
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


def _host_header(text: str, problems: list[str]) -> str | None:
    if text in ("", "preserve"):
        return None
    if not text.isascii() or not text.isprintable() or " " in text:
        problems.append(f"--host-header: {text!r} cannot stand in a header")
    return text


def _edit(which: str, add: tuple[str, ...], remove: tuple[str, ...], problems: list[str]) -> HeaderEdit:
    names = tuple(name for group in remove for name in group.split(","))
    return HeaderEdit(
        add=_each(f"--{which}-header-add", add, _field, problems),
        remove=_each(f"--{which}-header-remove", names, _field_name, problems),
    )


def _field(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise ValueError(f"{text!r} is not 'Name: value'")
    value = value.strip(" \t")
    if any(ord(character) < 32 or ord(character) == 127 for character in value):
        raise ValueError(f"{_field_name(name)}: the value holds a control character")
    return _field_name(name), value


def _field_name(text: str) -> str:
    if not _TOKEN.fullmatch(text.strip()):
        raise ValueError(f"{text!r} is not a header name")
    return text.strip()


def _not_empty(text: str) -> str:
    if not text.strip():
        raise ValueError("it is empty")
    return text


def _each(flag: str, texts: Iterable[str], parse: Callable[[str], T], problems: list[str]) -> tuple[T, ...]:
    """What the texts mean; each that means nothing becomes a problem."""
    values: list[T] = []
    for text in texts:
        try:
            values.append(parse(text))
        except ValueError as error:
            problems.append(f"{flag}: {error}")
    return tuple(values)
