"""An owner's OpenID settings, checked and given their names: the half of compile.py that is about logins.

Ids are keyed digests of the canonical settings, not counters: an agent or a relay that restarts with the same flags
finds every login still good, and nobody without the key can work out another owner's ids.
"""

import hmac
import re
from base64 import b32encode
from collections.abc import Iterable

import httpx

from tunnelctl.secret import Secret
from tunnelctl.wire.messages import OidcSpec
from tunnelrelay.policy.login_wishes import login_wishes
from tunnelrelay.policy.named import NamedOidc
from tunnelrelay.policy.rules import Connection, Rules, verified_email

MAX_SESSION = 30 * 24 * 3600
"""Seconds. A login that lasts longer than this is no longer a login."""
MIN_RECHECK = 10
"""Seconds. More often than this is a load on the provider that no owner can mean."""
MIN_LOCAL_RECHECK = 1
"""The same at a relay that serves its own machine only: whoever tries things out there may want to see them happen."""
MAX_ISSUER, MAX_CLIENT_ID = 2048, 1024
"""Characters. A session is kept with both."""
ID_LENGTH = 26
"""Characters of base32, 130 bits: no two connections ever meet."""

_DOMAIN = re.compile(r"[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*", re.ASCII)
_SCOPE = re.compile(r"[!#-\[\]-~]{1,128}", re.ASCII)
"""RFC 6749 section 3.3."""
_MANY_TENANTS = re.compile(r"/(common|organizations|consumers)(/|$)")
_DEFAULT_SCOPES = ("openid", "profile", "email")


def compile_connection(
    spec: OidcSpec, *, owner: str, key: bytes, problems: list[str], is_local: bool = False
) -> Connection:
    """Returns the connection; what is wrong with it is appended to `problems`, and then it must not be used."""
    problems += issuer_problems(spec.issuer, "oidc")
    for flag, text in (("client id", spec.client_id), ("client secret", spec.client_secret)):
        if not text.strip() or not text.isprintable():
            problems.append(f"oidc: the {flag} is empty or has control characters")
    if len(spec.client_id) > MAX_CLIENT_ID:
        problems.append(f"oidc: the client id has {len(spec.client_id)} characters, expected at most {MAX_CLIENT_ID}")
    for flag, seconds in (("idle", spec.idle_seconds), ("max", spec.max_seconds)):
        if not 1 <= seconds <= MAX_SESSION:
            problems.append(f"oidc: {flag} session duration is {seconds} s, must be 1 to {MAX_SESSION}")
    least = MIN_LOCAL_RECHECK if is_local else MIN_RECHECK
    if not (spec.recheck_seconds == 0 or least <= spec.recheck_seconds <= MAX_SESSION):
        problems.append(
            f"oidc: the provider would be asked again every {spec.recheck_seconds} s; it must be 0 (never) or "
            f"{least} to {MAX_SESSION}"
        )
    rules = _rules(spec, problems)
    scopes = _scopes(spec, problems)
    wishes = login_wishes(spec, problems)
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
            (spec.issuer, spec.client_id, spec.client_secret, *sorted(scopes), *_canonical_wishes(spec)),
        ),
        rules_version=digest(key, "rules", _canonical_rules(rules)),
        recheck_seconds=spec.recheck_seconds,
        on_recheck_error=spec.on_recheck_error,
        groups_claim=spec.groups_claim,
        email_verified=spec.email_verified,
        request_params=spec.request_params,
        required_acr=frozenset(spec.require_acr),
        max_age=wishes.max_age,
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


def issuer_problems(issuer: str, setting: str) -> list[str]:
    """Returns what is wrong with an issuer, each beginning with `setting`.

    Only the form: whether the address may be called at all is the guard's to say, at the moment it is dialled.
    """
    if len(issuer) > MAX_ISSUER:
        return [f"{setting}: the issuer has {len(issuer)} characters, expected at most {MAX_ISSUER}"]
    if not issuer.isascii() or not issuer.isprintable() or set(issuer) & set(' \\"<>'):
        return [f"{setting}: the issuer {issuer[:128]!r} is not a URL"]
    try:
        url = httpx.URL(issuer)
    except httpx.InvalidURL:
        return [f"{setting}: the issuer {issuer[:128]!r} is not a URL"]
    if url.scheme not in ("https", "http") or not url.host or not 1 <= (url.port or 443) <= 65_535:
        return [f"{setting}: the issuer {issuer[:128]!r} is not an https:// address"]
    if url.userinfo or "?" in issuer or "#" in issuer or "@" in issuer:
        return [f"{setting}: the issuer {issuer[:128]!r} has a user, a query or a fragment"]
    if url.host == "login.microsoftonline.com" and (tenant := _MANY_TENANTS.match(url.path)):
        return [
            f"{setting}: '/{tenant[1]}' lets every Microsoft account in: use https://login.microsoftonline.com/TENANT-ID/v2.0"
        ]
    return []


def _scopes(spec: OidcSpec, problems: list[str]) -> tuple[str, ...]:
    problems += [f"oidc: {scope[:64]!r} is not a scope" for scope in spec.scopes if not _SCOPE.fullmatch(scope)]
    return tuple(dict.fromkeys((*_DEFAULT_SCOPES, *spec.scopes)))


def _rules(spec: OidcSpec, problems: list[str]) -> Rules:
    emails = [text.strip().lower() for text in spec.allow_emails]
    domains = [text.strip().lower().removeprefix("@") for text in spec.allow_domains]
    problems += [
        f"oidc: {email[:128]!r} is not an e-mail address (for a whole domain, use a domain rule)"
        for email in emails
        if not email or "*" in email or verified_email({"email": email, "email_verified": True}) != email
    ]
    problems += [
        f"oidc: {domain[:128]!r} is not a domain (no wildcards; international ones as xn--...)"
        for domain in domains
        if not _DOMAIN.fullmatch(domain)
    ]
    if any(not group.strip() for group in spec.allow_groups):
        problems.append("oidc: an allowed group is empty")
    problems += [problem for name, value in spec.allow_claims for problem in _claim_problems(name, value)]
    return Rules(
        emails=frozenset(emails),
        domains=frozenset(domains),
        groups=frozenset(spec.allow_groups),
        claims=frozenset(spec.allow_claims),
    )


def _claim_problems(name: str, value: str) -> list[str]:
    if not name.strip() or not value:
        return [f"oidc: the claim rule {name[:64]!r}={value[:64]!r} lacks its name or its value"]
    if name == "email":
        return ["oidc: a claim rule on email would not check that it is verified: use an e-mail or domain rule"]
    return []


def _canonical_wishes(spec: OidcSpec) -> list[str]:
    """What a login must be like, beyond who provides it: nothing for a connection without such wishes."""
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
