"""Judges how an issuer is written, and suggests others where no provider is found. Makes no network calls.

The forms of well-known providers' issuers come from their public documentation. They only improve hints and never
decide what the relay accepts.
"""

import re
from urllib.parse import urlsplit

from tunnelctl.oidc.findings import Finding, error
from tunnelctl.oidc.judge_answer import WELL_KNOWN
from tunnelctl.oidc.ports import PortRule, hint
from tunnelctl.policy import values

MAX_CANDIDATES = 4
LOOKS_LIKE = "an issuer looks like https://acme.okta.com"
_OKTA = re.compile(r"(^|\.)(okta|oktapreview|okta-emea)\.com$")
_OKTA_ADMIN = re.compile(r"-admin(?=\.(okta|oktapreview|okta-emea)\.com$)")
_ENTRA = re.compile(r"^(login\.microsoftonline\.(com|us)|sts\.windows\.net)$")
_GOOGLE = re.compile(r"(^|\.)google\.com$")


def judge_issuer(issuer: str, *, allow_http: bool) -> list[Finding]:
    """Return what is wrong with an issuer before it is called; empty when it can be called.

    Args:
        allow_http: Plain http is allowed (the issuer is on this machine).
    """
    if issuer.endswith(WELL_KNOWN):
        bare = issuer.removesuffix(WELL_KNOWN)
        return [error("issuer", "this is the address of the discovery document, not the issuer", fix=f"use {bare}")]
    if tenant := values.shared_tenant(issuer):
        return [error("issuer", values.ALL_TENANTS.format(tenant), fix=values.USE_A_TENANT)]
    if text := values.issuer(issuer):
        return [error("issuer", text, fix=LOOKS_LIKE)]
    scheme, host = urlsplit(issuer).scheme, urlsplit(issuer).hostname or ""
    if scheme == "http" and not allow_http:
        return [
            error(
                "http",
                "the issuer is reached over plain http",
                why="anybody in between could sign in as anybody; the relay refuses it, but for this very machine",
                fix=f"use https://{issuer.removeprefix('http://')}",
            )
        ]
    if _OKTA_ADMIN.search(host):
        right = issuer.replace(host, _OKTA_ADMIN.sub("", host), 1)
        return [error("issuer", "this is the address of Okta's Admin Console, not the issuer", fix=f"use {right}")]
    return []


def judge_port(url: str, what: str, issuer: str, ports: PortRule) -> list[Finding]:
    """Return an error if the relay refuses to call the port of this URL.

    Args:
        what: Name of the URL for sentences.
        issuer: The issuer that the URL belongs to.
        ports: The relay's rule about ports.
    """
    refusal = ports.refusal(url, issuer) if url else ""
    if not refusal:
        return []
    return [error("port", f"{what} {url[:200]} cannot be used: {refusal}", fix=hint(url))]


def candidates(issuer: str) -> tuple[str, ...]:
    """Return other issuers on the same host that may be meant if there is none here, the likeliest first."""
    parts = urlsplit(issuer)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.strip("/")
    host, found = parts.hostname or "", []
    if _OKTA.search(host):
        found += [f"{origin}/oauth2/default", origin]
    elif _ENTRA.match(host) and path:
        found += [f"https://login.microsoftonline.com/{path.partition('/')[0]}/v2.0"]
    elif _GOOGLE.search(host):
        found += ["https://accounts.google.com"] if host == "accounts.google.com" else []
    else:
        # Every Keycloak has a realm `master`; until version 17 all its URLs began with /auth.
        found += [f"{origin}/realms/master", f"{origin}/auth/realms/master"]
        found += [f"{origin}/{path.rpartition('/')[0]}" if "/" in path else origin] if path else []
    return tuple(dict.fromkeys(one for one in found if one.rstrip("/") != issuer.rstrip("/")))[:MAX_CANDIDATES]


def path_hint(issuer: str, found: tuple[str, ...]) -> str:
    """Suggest which issuer was meant.

    Args:
        found: Those of `candidates` whose discovery document names exactly that issuer.
    """
    for one in found:
        if one.endswith("/realms/master"):
            return f"this is Keycloak, whose issuers name a realm: {one.removesuffix('master')}REALM"
    if found:
        return f"there is a provider at {found[0]}: is it the one?"
    host = urlsplit(issuer).hostname or ""
    if _OKTA.search(host):
        return "at Okta it is https://NAME.okta.com, or with a custom authorization server its Issuer URI"
    if _ENTRA.match(host):
        return "at Microsoft Entra ID it is https://login.microsoftonline.com/TENANT-ID/v2.0"
    if _GOOGLE.search(host):
        return "at Google it is https://accounts.google.com"
    return (
        "the issuer is what the provider's discovery document calls `issuer`: with Keycloak https://HOST/realms/REALM, "
        "with Authentik https://HOST/application/o/SLUG/, with Auth0 https://TENANT.auth0.com/"
    )


def mismatch_hint(configured: str, found_issuer: str) -> str:
    """Advise on a provider whose discovery document names another issuer."""
    if found_issuer.startswith("https://sts.windows.net/"):
        tenant = found_issuer.removeprefix("https://sts.windows.net/").strip("/")
        return f"these are Entra's v1.0 tokens; use https://login.microsoftonline.com/{tenant}/v2.0"
    if "{tenantid}" in found_issuer.lower():
        return "use the id of your own tenant: https://login.microsoftonline.com/TENANT-ID/v2.0"
    return f"if that is your provider, use --oidc {found_issuer}"
