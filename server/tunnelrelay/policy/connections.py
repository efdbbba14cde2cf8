"""An owner's OpenID settings, checked and given their names: the half of compile.py that is about logins.

Ids are keyed digests of the canonical settings, not counters: an agent or a relay that restarts with the same flags
finds every login still good, and without the key another owner's ids cannot be worked out.
"""

import hmac
import re
from base64 import b32encode
from collections.abc import Callable, Iterable

import httpx

from tunnelctl.secret import Secret
from tunnelctl.wire.messages import OidcSpec
from tunnelctl.wire.problem import Problem
from tunnelrelay.policy.login_options import login_options
from tunnelrelay.policy.named_provider import NamedOidc
from tunnelrelay.policy.rules import Connection, Rules, verified_email

MAX_SESSION = 30 * 24 * 3600
"""Seconds. A login that lasts longer than this is no longer a login."""
MIN_RECHECK = 10
"""Seconds. More often than this is a load on the provider that no owner can mean."""
MIN_LOCAL_RECHECK = 1
"""The same at a relay that serves its own machine only: users who try things out there may want to see them happen."""
MAX_ISSUER, MAX_CLIENT_ID = 2048, 1024
"""Characters. A session is kept with both."""
ID_LENGTH = 26
"""Characters of base32, 130 bits: no two connections ever meet."""

RefusesIssuer = Callable[[str], str]
"""Says why the relay does not call providers with an issuer; "" when it does."""

_DOMAIN = re.compile(r"[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*", re.ASCII)
_SCOPE = re.compile(r"[!#-\[\]-~]{1,128}", re.ASCII)
"""RFC 6749 section 3.3."""
_MANY_TENANTS = re.compile(r"/(common|organizations|consumers)(/|$)")
_DEFAULT_SCOPES = ("openid", "profile", "email")


def calls_any(issuer: str) -> str:
    """The `RefusesIssuer` of a relay that calls every provider."""
    return ""


def compile_connection(
    spec: OidcSpec,
    *,
    owner: str,
    key: bytes,
    problems: list[Problem],
    is_local: bool = False,
    refuses_issuer: RefusesIssuer = calls_any,
) -> Connection:
    """Returns the connection; what is wrong with it is appended to `problems`, and then it must not be used."""
    problems += issuer_problems(spec.issuer, "oidc.issuer", refuses_issuer)
    for name, field, text in (
        ("client id", "oidc.client_id", spec.client_id),
        ("client secret", "oidc.client_secret", spec.client_secret),
    ):
        if not text.strip() or not text.isprintable():
            problems.append(Problem(field, f"the {name} is empty or has control characters"))
    if len(spec.client_id) > MAX_CLIENT_ID:
        text = f"the client id has {len(spec.client_id)} characters, expected at most {MAX_CLIENT_ID}"
        problems.append(Problem("oidc.client_id", text))
    for name, field, seconds in (
        ("idle", "oidc.idle_seconds", spec.idle_seconds),
        ("max", "oidc.max_seconds", spec.max_seconds),
    ):
        if not 1 <= seconds <= MAX_SESSION:
            problems.append(Problem(field, f"{name} session duration is {seconds} s, must be 1 to {MAX_SESSION}"))
    least = MIN_LOCAL_RECHECK if is_local else MIN_RECHECK
    if not (spec.recheck_seconds == 0 or least <= spec.recheck_seconds <= MAX_SESSION):
        text = f"the provider would be asked again every {spec.recheck_seconds} s; it must be 0 (never) or "
        problems.append(Problem("oidc.recheck_seconds", f"{text}{least} to {MAX_SESSION}"))
    rules = _rules(spec, problems)
    scopes = _scopes(spec, problems)
    options = login_options(spec, problems)
    return Connection(
        id=connection_id(spec, owner=owner, key=key),
        issuer=spec.issuer,
        client_id=spec.client_id,
        client_secret=Secret(spec.client_secret),
        scopes=scopes,
        rules=rules,
        idle_seconds=spec.idle_seconds,
        max_seconds=spec.max_seconds,
        epoch=digest(
            key,
            "epoch",
            (spec.issuer, spec.client_id, spec.client_secret, *sorted(scopes), *_canonical_options(spec)),
        ),
        rules_version=digest(key, "rules", _canonical_rules(rules)),
        recheck_seconds=spec.recheck_seconds,
        on_recheck_error=spec.on_recheck_error,
        groups_claim=spec.groups_claim,
        email_verified=spec.email_verified,
        request_params=spec.request_params,
        required_acr=frozenset(spec.require_acr),
        max_age=options.max_age,
        callback=spec.callback,
        bearer=frozenset(audience or spec.client_id for audience in spec.bearer),
        owner=owner,
        provider=spec.provider if isinstance(spec, NamedOidc) else "",
    )


def connection_id(spec: OidcSpec, *, owner: str, key: bytes) -> str:
    """Returns the id of the connection that a spec is compiled to."""
    if isinstance(spec, NamedOidc):
        return digest(key, "named connection", (spec.provider, spec.issuer, spec.client_id))
    return digest(key, "connection", (owner, spec.issuer, spec.client_id))


def without_client(connection_id: str, issuer: str, *, owner: str = "") -> Connection:
    """What the relay's knowledge of an issuer hangs on where nobody logs in, and only its keys are asked for."""
    return Connection(
        id=connection_id,
        issuer=issuer,
        client_id="",
        client_secret=Secret(""),
        scopes=(),
        rules=Rules(),
        idle_seconds=0,
        max_seconds=0,
        epoch="",
        rules_version="",
        owner=owner,
    )


def digest(key: bytes, purpose: str, texts: Iterable[str]) -> str:
    """Returns a keyed digest of a list of texts, 26 characters of lower-case base32.

    Each text is preceded by its length, so that no two lists are the same bytes.
    """
    parts = [text.encode("utf-8", "surrogatepass") for text in (purpose, *texts)]
    message = b"".join(b"%d:%b" % (len(part), part) for part in parts)
    return b32encode(hmac.digest(key, message, "sha256")).decode().lower()[:ID_LENGTH]


def issuer_problems(issuer: str, field: str, refuses_issuer: RefusesIssuer = calls_any) -> list[Problem]:
    """Returns what is wrong with an issuer that stands in this field: one problem at most.

    Only what can be told from its text. What its name resolves to is the guard's to judge, when it is dialled.
    """
    text = _issuer_problem(issuer)
    if not text and (refusal := refuses_issuer(issuer)):
        text = f"this relay does not call the issuer {issuer[:128]}: {refusal}"
    return [Problem(field, text)] if text else []


def _issuer_problem(issuer: str) -> str:
    if len(issuer) > MAX_ISSUER:
        return f"the issuer has {len(issuer)} characters, expected at most {MAX_ISSUER}"
    shown = repr(issuer[:128])
    if "@" in issuer:
        return "the issuer has a user or a password in it"  # never what it is: it may be a secret
    if not issuer.isascii() or not issuer.isprintable() or set(issuer) & set(' \\"<>'):
        return f"the issuer {shown} is not a URL"
    try:
        url = httpx.URL(issuer)
    except httpx.InvalidURL:
        return f"the issuer {shown} is not a URL"
    if url.scheme not in ("https", "http") or not url.host or not 1 <= (url.port or 443) <= 65_535:
        return f"the issuer {shown} is not an https:// address"
    if "?" in issuer or "#" in issuer:
        return "the issuer has a query or a fragment"
    if url.host == "login.microsoftonline.com" and (tenant := _MANY_TENANTS.match(url.path)):
        return f"'/{tenant[1]}' lets every Microsoft account in: use https://login.microsoftonline.com/TENANT-ID/v2.0"
    return ""


def _scopes(spec: OidcSpec, problems: list[Problem]) -> tuple[str, ...]:
    wrong = [scope for scope in spec.scopes if not _SCOPE.fullmatch(scope)]
    problems += [Problem("oidc.scopes", f"{scope[:64]!r} is not a scope") for scope in wrong]
    return tuple(dict.fromkeys((*_DEFAULT_SCOPES, *spec.scopes)))


def _rules(spec: OidcSpec, problems: list[Problem]) -> Rules:
    emails = [text.strip().lower() for text in spec.allow_emails]
    domains = [text.strip().lower().removeprefix("@") for text in spec.allow_domains]
    problems += [
        Problem(
            "oidc.allow_emails", f"{email[:128]!r} is not an e-mail address (for a whole domain, use a domain rule)"
        )
        for email in emails
        if not email or "*" in email or verified_email({"email": email, "email_verified": True}) != email
    ]
    problems += [
        Problem("oidc.allow_domains", f"{domain[:128]!r} is not a domain (no wildcards; international ones as xn--...)")
        for domain in domains
        if not _DOMAIN.fullmatch(domain)
    ]
    if any(not group.strip() for group in spec.allow_groups):
        problems.append(Problem("oidc.allow_groups", "an allowed group is empty"))
    wrong = [text for name, value in spec.allow_claims if (text := _claim_problem(name, value))]
    problems += [Problem("oidc.allow_claims", text) for text in wrong]
    return Rules(
        emails=frozenset(emails),
        domains=frozenset(domains),
        groups=frozenset(spec.allow_groups),
        claims=frozenset(spec.allow_claims),
    )


def _claim_problem(name: str, value: str) -> str:
    if not name.strip() or not value:
        return f"the claim rule {name[:64]!r}={value[:64]!r} lacks its name or its value"
    if name == "email":
        return "a claim rule on email would not check that it is verified: use an e-mail or domain rule"
    return ""


def _canonical_options(spec: OidcSpec) -> list[str]:
    """What a login must be like, beyond who provides it: nothing for a connection without such options."""
    return [
        *(f"param {len(name)} {name} {value}" for name, value in sorted(spec.request_params)),
        *(f"acr {acr}" for acr in sorted(spec.require_acr)),
        *(f"groups {spec.groups_claim}" for _ in range(spec.groups_claim != "groups")),
        *(f"email {spec.email_verified}" for _ in range(spec.email_verified != "claim")),
    ]


def _canonical_rules(rules: Rules) -> list[str]:
    return [
        *(f"email {email}" for email in sorted(rules.emails)),
        *(f"domain {domain}" for domain in sorted(rules.domains)),
        *(f"group {group}" for group in sorted(rules.groups)),
        *(f"claim {len(name)} {name} {value}" for name, value in sorted(rules.claims)),
    ]
