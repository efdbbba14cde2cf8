"""From the `--oidc…` options to the `OidcSpec` the relay is asked for. Pure; mistakes are gathered."""

import re
from typing import Any
from urllib.parse import urlsplit

from tunnelctl.agent.address import is_loopback
from tunnelctl.agent.flagvalues import duration_or_never, each, name_value, not_empty, one_of, parse_duration
from tunnelctl.agent.options import OIDC_FLAGS, RuleOptions
from tunnelctl.wire.messages import OidcSpec
from tunnelctl.wire.problem import Problem
from tunnelctl.wire.texts import NAME_PATTERN

_DOMAIN = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")

_OF_THE_PROVIDER = (
    "oidc_client_id",
    "oidc_client_secret",
    "oidc_scope",
    "oidc_groups_claim",
    "oidc_email_verified",
    "oidc_callback",
)
"""Options that tell how to speak with a provider: of one that the relay knows by name, the relay's operator does."""
_NAME = re.compile(f"@{NAME_PATTERN}")

_LISTS = (
    ("allow_emails", "oidc_allow_email", lambda text: _email(text)),
    ("allow_domains", "oidc_allow_domain", lambda text: _mail_domain(text)),
    ("allow_groups", "oidc_allow_group", not_empty),
    ("allow_claims", "oidc_allow_claim", name_value),
    ("scopes", "oidc_scope", lambda text: _scope(text)),
    ("request_params", "oidc_request_param", name_value),
    ("require_acr", "oidc_require_acr", not_empty),
    ("bearer", "oidc_bearer", str),
)
_SINGLES = (
    ("idle_seconds", "oidc_idle", parse_duration),
    ("max_seconds", "oidc_max", parse_duration),
    ("recheck_seconds", "oidc_recheck", duration_or_never),
    ("on_recheck_error", "oidc_recheck_error", one_of("keep", "login", "502")),
    ("groups_claim", "oidc_groups_claim", not_empty),
    ("email_verified", "oidc_email_verified", one_of("claim", "text", "assumed")),
    ("callback", "oidc_callback", one_of("relay", "shared", "host")),
)
"""Member of the spec, option, and how its text is read. What is not given keeps the spec's own default."""


def oidc_spec(options: RuleOptions, problems: list[Problem]) -> OidcSpec | None:
    """The spec, None without `--oidc`; what is wrong is appended to `problems`."""
    if not options.oidc:
        lone = [flag for name, flag in OIDC_FLAGS.items() if getattr(options, name)]
        problems.extend(Problem(flag, "needs --oidc ISSUER") for flag in lone)
        return None
    _judge_client(options, problems)
    members: dict[str, Any] = {}
    for member, name, read in _LISTS:
        members[member] = each(OIDC_FLAGS[name], getattr(options, name), read, problems)
    for member, name, read_one in _SINGLES:
        text, flag = getattr(options, name), OIDC_FLAGS[name]
        if text:
            members.update((member, value) for value in each(flag, (text,), read_one, problems))
    return OidcSpec(
        issuer=next(iter(each("--oidc", (options.oidc,), _issuer_or_name, problems)), ""),
        client_id=options.oidc_client_id,
        client_secret=options.oidc_client_secret,
        allow_origins=tuple(
            origin
            for group in each("--oidc-cross-site", options.oidc_cross_site, _origins, problems)
            for origin in group
        ),
        allow_preflight=options.oidc_allow_preflight,
        **members,
    )


def is_named(issuer: str) -> bool:
    """Whether this is a provider's name at the relay, as in `@work`, and no address."""
    return issuer.startswith("@")


def issuer(text: str) -> str:
    """An issuer as it may be asked for. Raises ValueError when it cannot be one (Discovery section 4.1)."""
    parts = urlsplit(text)
    if "@" in text:  # not repeated: what stands before it may be a password
        raise ValueError("an issuer has no user or password in it (OpenID Connect Discovery section 4.1)")
    is_plain = text.isascii() and text.isprintable() and " " not in text
    if not is_plain or parts.scheme not in ("https", "http") or not parts.hostname:
        raise ValueError(f"{text!r} is not an issuer's URL like https://acme.okta.com")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ValueError(f"{text}: an issuer is reached over https (plain http only on this machine)")
    if parts.query or parts.fragment:
        raise ValueError("an issuer has no query or fragment (OpenID Connect Discovery section 4.1)")
    return text


def _judge_client(options: RuleOptions, problems: list[Problem]) -> None:
    """The client's options are all needed, or, at a provider that the relay knows by name, all its operator's."""
    given = [OIDC_FLAGS[name] for name in _OF_THE_PROVIDER if getattr(options, name)]
    if is_named(options.oidc):
        problems.extend(Problem(flag, f"not together with --oidc={options.oidc}; the relay knows it") for flag in given)
    else:
        needed = ("--oidc-client-id", "--oidc-client-secret")
        problems.extend(Problem(flag, "missing, --oidc needs it") for flag in needed if flag not in given)


def _issuer_or_name(text: str) -> str:
    if not is_named(text):
        return issuer(text)
    if not _NAME.fullmatch(text):
        raise ValueError(f"{text!r} is not a provider's name like @work")
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


def _scope(text: str) -> str:
    if not re.fullmatch(r"[!#-\[\]-~]+", text):  # RFC 6749 section 3.3
        raise ValueError(f"{text!r} is not one scope; give the flag once for each")
    return text


def _origins(text: str) -> tuple[str, ...]:
    word, colon, origins = text.partition(":")
    if word != "allow" or not colon or not origins:
        raise ValueError(f"{text!r} is not allow:ORIGIN, as in allow:https://app.example")
    for origin in origins.split(","):
        parts = urlsplit(origin)
        if parts.scheme not in ("https", "http") or not parts.hostname or parts.path.strip("/") or parts.query:
            raise ValueError(f"{origin!r} is not an origin like https://app.example")
    return tuple(origins.split(","))
