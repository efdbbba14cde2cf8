"""Judges a discovery document, for logins and for tokens of programs. The findings are for the provider's owner. Makes
no network calls.

The relay's own rules (`metadata.py`) decide: a document that they refuse always gives an error here.
"""

from collections.abc import Callable, Mapping
from typing import Any

from tunnelctl.oidc.errors import ProviderError
from tunnelctl.oidc.findings import Finding, error, ok, warning
from tunnelctl.oidc.judge_issuer import mismatch_hint
from tunnelctl.oidc.metadata import ALGORITHMS, Metadata, read_issuer, read_metadata, texts_of


def judge_metadata(
    document: Mapping[str, Any], *, issuer: str, allow_http: bool
) -> tuple[Metadata | None, list[Finding]]:
    """Return the metadata as the relay reads it, or None when it refuses the document; and all findings."""
    findings = [
        *_issuer(document, issuer),
        *_flow(document),
        *_signatures(document),
        *_pkce(document),
        *_claims(document),
        *_answers(document),
        *_sessions(document),
    ]
    return _ruled(findings, lambda: read_metadata(document, configured=issuer, has_secret=True, allow_http=allow_http))


def judge_token_issuer(
    document: Mapping[str, Any], *, issuer: str, allow_http: bool
) -> tuple[Metadata | None, list[Finding]]:
    """Judge the metadata of an issuer that is used for tokens only: CI systems, for example, offer no login."""
    findings = [*_issuer(document, issuer), *_signatures(document)]
    return _ruled(findings, lambda: read_issuer(document, configured=issuer, allow_http=allow_http))


def _ruled(findings: list[Finding], read: Callable[[], Metadata]) -> tuple[Metadata | None, list[Finding]]:
    """Return the metadata as the relay reads it, and add an error to the findings if it refuses."""
    try:
        return read(), findings
    except ProviderError as problem:
        if not any(finding.level == "error" for finding in findings):
            findings.append(error("metadata", problem.detail, why="the relay uses no provider that says this"))
        return None, findings


def _issuer(document: Mapping[str, Any], issuer: str) -> list[Finding]:
    document_issuer = document.get("issuer")
    if document_issuer == issuer:
        return [ok("issuer", f"it calls itself {issuer}, as asked")]
    if not isinstance(document_issuer, str):
        return [error("issuer_mismatch", "its discovery document names no issuer", fix="is this an OpenID provider?")]
    if document_issuer.removesuffix("/") == issuer.removesuffix("/"):
        return [ok("issuer", f"it calls itself {document_issuer}: one slash more or less, which is forgiven")]
    return [
        error(
            "issuer_mismatch",
            f"it calls itself {document_issuer[:200]}, not {issuer[:200]}",
            why="its tokens will carry that name, and tokens of another issuer are refused",
            fix=mismatch_hint(issuer, document_issuer[:200]),
        )
    ]


def _flow(document: Mapping[str, Any]) -> list[Finding]:
    if "code" in texts_of(document, "response_types_supported", ("code",)):
        return []
    return [
        error(
            "code_flow",
            "it does not offer the authorization code flow (response type `code`)",
            why="the relay uses no other: the others show tokens to the browser",
            fix="switch the authorization code flow on at the provider",
        )
    ]


def _signatures(document: Mapping[str, Any]) -> list[Finding]:
    listed = texts_of(document, "id_token_signing_alg_values_supported", ("RS256",))
    accepted = [algorithm for algorithm in listed if algorithm in ALGORITHMS]
    if accepted:
        return [ok("signatures", f"it signs ID tokens with {', '.join(accepted)}")]
    only_shared = all(algorithm.startswith("HS") for algorithm in listed if algorithm != "none")
    return [
        error(
            "signatures",
            f"it signs ID tokens only with {', '.join(listed)[:200] or 'nothing'}, none of which is accepted",
            why="with HS256 everyone who knows the client secret can make tokens for any user" if only_shared else "",
            fix="give the provider (or this client) an RSA or EC signing key, and choose RS256 or ES256",
        )
    ]


def _pkce(document: Mapping[str, Any]) -> list[Finding]:
    methods = document.get("code_challenge_methods_supported")
    if not isinstance(methods, list):
        return [ok("pkce", "it does not say whether it knows PKCE; every login uses it all the same")]
    if "S256" in methods:
        return [ok("pkce", "it knows PKCE with S256")]
    return [
        warning(
            "pkce",
            "it does not list PKCE method S256",
            why="every login here uses it; a provider that does not know it may refuse them",
            fix="switch PKCE (S256) on at the provider, if it has it",
        )
    ]


def _claims(document: Mapping[str, Any]) -> list[Finding]:
    """Judge what logins learn about users: e-mail, groups, userinfo.

    A missing list gives no finding (Discovery section 3).
    """
    findings = []
    scopes, claims = texts_of(document, "scopes_supported"), texts_of(document, "claims_supported")
    if "userinfo_endpoint" not in document:
        findings.append(
            warning(
                "userinfo",
                "it has no userinfo endpoint",
                why="what its ID tokens lack (mostly e-mail, name or groups) cannot be had elsewhere",
                fix="have the provider put these claims in the ID token",
            )
        )
    missing = [scope for scope in ("email", "profile") if scopes and scope not in scopes]
    if missing:
        findings.append(
            warning(
                "scopes",
                f"it does not list the scope {' and '.join(missing)}",
                why="every login asks for openid, profile and email; it may refuse them (`invalid_scope`)",
                fix="allow these scopes for the client",
            )
        )
    if scopes and "groups" not in scopes:
        findings.append(
            ok(
                "groups",
                "it lists no scope `groups`",
                why="rules about groups need a claim `groups` all the same",
                fix="to use --oidc-allow-group, have the provider send groups; --oidc-groups-claim names the claim",
            )
        )
    if "email" in claims and "email_verified" not in claims:
        findings.append(
            warning(
                "email_verified",
                "it does not list the claim email_verified",
                why="rules about e-mail let in only addresses that the provider says are verified",
                fix="use rules about groups or other claims; `--oidc-email-verified assumed` only where you alone "
                "set addresses in the directory",
            )
        )
    return findings


def _answers(document: Mapping[str, Any]) -> list[Finding]:
    if document.get("authorization_response_iss_parameter_supported") is True:
        return [ok("iss", "it names itself in its answers (RFC 9207)")]
    return [
        ok(
            "iss",
            "it does not promise to name itself in its answers (RFC 9207)",
            why="a relay for several tenants then needs a redirect URI for each connection; other relays do not care",
        )
    ]


def _sessions(document: Mapping[str, Any]) -> list[Finding]:
    """Judge what the provider offers after the login: sign-out, logout notices, token revocation."""
    offers = {
        "refresh tokens (offline_access)": "offline_access" in texts_of(document, "scopes_supported"),
        "logout at the provider": "end_session_endpoint" in document,
        "back-channel logout": document.get("backchannel_logout_supported") is True,
        "front-channel logout": document.get("frontchannel_logout_supported") is True,
    }
    given = [name for name, there in offers.items() if there]
    absent = [name for name, there in offers.items() if not there]
    words = f"it offers {', '.join(given)}" if given else "it offers nothing for the time after the login"
    return [ok("sessions", words + (f"; not listed: {', '.join(absent)}" if given and absent else ""))]
