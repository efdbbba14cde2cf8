"""From the `--oidc…` options to the `OidcSpec` the relay is asked for. Pure; mistakes are gathered."""

import re
from typing import Any
from urllib.parse import urlsplit

from tunnelctl.agent.address import is_loopback
from tunnelctl.agent.flagvalues import duration_or_never, each, name_value, not_empty, one_of, parse_duration
from tunnelctl.agent.options import RuleOptions
from tunnelctl.wire.messages import OidcSpec

_DOMAIN = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")

_FLAGS = {
    "--oidc-client-id": "oidc_client_id",
    "--oidc-client-secret": "oidc_client_secret",
    "--oidc-scope": "oidc_scope",
    "--oidc-allow-email": "oidc_allow_email",
    "--oidc-allow-domain": "oidc_allow_domain",
    "--oidc-allow-group": "oidc_allow_group",
    "--oidc-allow-claim": "oidc_allow_claim",
    "--oidc-idle-session-duration": "oidc_idle",
    "--oidc-max-session-duration": "oidc_max",
    "--oidc-userinfo-refresh-interval": "oidc_recheck",
    "--oidc-refresh-error": "oidc_recheck_error",
    "--oidc-groups-claim": "oidc_groups_claim",
    "--oidc-email-verified": "oidc_email_verified",
    "--oidc-request-param": "oidc_request_param",
    "--oidc-require-acr": "oidc_require_acr",
    "--oidc-callback": "oidc_callback",
    "--oidc-cross-site": "oidc_cross_site",
    "--oidc-allow-cors-preflight": "oidc_allow_preflight",
    "--oidc-bearer": "oidc_bearer",
}
"""Every flag that is of no use without `--oidc`, and the option it fills."""

_LISTS = (
    ("allow_emails", "--oidc-allow-email", lambda text: _email(text)),
    ("allow_domains", "--oidc-allow-domain", lambda text: _mail_domain(text)),
    ("allow_groups", "--oidc-allow-group", not_empty),
    ("allow_claims", "--oidc-allow-claim", name_value),
    ("scopes", "--oidc-scope", lambda text: _scope(text)),
    ("request_params", "--oidc-request-param", name_value),
    ("require_acr", "--oidc-require-acr", not_empty),
    ("bearer", "--oidc-bearer", str),
)
_SINGLES = (
    ("idle_seconds", "--oidc-idle-session-duration", parse_duration),
    ("max_seconds", "--oidc-max-session-duration", parse_duration),
    ("recheck_seconds", "--oidc-userinfo-refresh-interval", duration_or_never),
    ("on_recheck_error", "--oidc-refresh-error", one_of("keep", "login", "502")),
    ("groups_claim", "--oidc-groups-claim", not_empty),
    ("email_verified", "--oidc-email-verified", one_of("claim", "text", "assumed")),
    ("callback", "--oidc-callback", one_of("relay", "shared", "host")),
)
"""Member of the spec, flag, and how its text is read. What is not given keeps the spec's own default."""


def oidc_spec(options: RuleOptions, problems: list[str]) -> OidcSpec | None:
    """The spec, None without `--oidc`; what is wrong is appended to `problems`."""
    if not options.oidc:
        problems.extend(f"{flag}: needs --oidc ISSUER" for flag, name in _FLAGS.items() if getattr(options, name))
        return None
    missing = {"--oidc-client-id": options.oidc_client_id, "--oidc-client-secret": options.oidc_client_secret}
    problems.extend(f"{flag}: missing, --oidc needs it" for flag, value in missing.items() if not value)
    members: dict[str, Any] = {}
    for member, flag, read in _LISTS:
        members[member] = each(flag, getattr(options, _FLAGS[flag]), read, problems)
    for member, flag, read_one in _SINGLES:
        text = getattr(options, _FLAGS[flag])
        if text:
            members.update((member, value) for value in each(flag, (text,), read_one, problems))
    return OidcSpec(
        issuer=next(iter(each("--oidc", (options.oidc,), issuer, problems)), ""),
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


def issuer(text: str) -> str:
    """An issuer as it may be asked for. Raises ValueError when it cannot be one (Discovery section 4.1)."""
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
