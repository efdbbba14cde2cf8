"""Judges from a provider's responses whether it knows a client's id, redirect URI and secret. Makes no network calls.

The authorization endpoint gets a request like that of a login, but with `prompt=none`: a provider that knows the client
sends the browser back at once, with the error that no user is signed in. The token endpoint gets an invalid code: it
must check the client's credentials first.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tunnelctl.oidc.authorize import authorization_url
from tunnelctl.oidc.findings import Answer, Answered, Finding, Unanswered, error, ok, warning
from tunnelctl.oidc.judge_answer import MAX_DOCUMENT
from tunnelctl.oidc.metadata import Metadata
from tunnelctl.oidc.strict_json import NotStrictJson, parse_object

SCOPES = ("openid", "profile", "email")
"""Scopes that every login requests."""
_NOBODY_SIGNED_IN = frozenset(
    {"login_required", "interaction_required", "consent_required", "account_selection_required"}
)
"""Error codes with which a provider answers `prompt=none` when no user is signed in (OpenID Connect Core section
3.1.2.6)."""
_PAGE_WORDS = (
    # From public documentation: Entra's error codes, and the texts of Keycloak and others. Redirect URIs come first, as
    # a page about a wrong redirect URI usually names the client too.
    ("redirect", r"AADSTS50011|redirect[ _-]?ur[il]|callback url mismatch|reply (url|address)"),
    ("client", r"AADSTS700016|invalid[ _]client|unknown client|client[^.<]{0,40} not[ _]found|unauthorized_client"),
)
_WORD = re.compile(r"[a-z_]{1,40}")


def probe_url(metadata: Metadata, *, client_id: str, redirect_uri: str, random: tuple[str, str, str]) -> str:
    """Return the URL of an authorization request that tests whether a login could begin.

    Args:
        random: State, nonce and PKCE challenge, which are never used again.
    """
    state, nonce, challenge = random
    parameters = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "scope": " ".join(SCOPES),
        "state": state,
        "nonce": nonce,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
        "prompt": "none",
    }
    return authorization_url(metadata.authorization_endpoint, parameters)


def judge_authorization(answer: Answer, metadata: Metadata, *, redirect_uri: str, state: str) -> list[Finding]:
    """Judge from the authorization endpoint's response whether client id and redirect URI are correct."""
    if isinstance(answer, Unanswered):
        return [warning("authorization", f"its login page could not be reached: {answer.detail or answer.topic}")]
    if answer.redirect:
        if _same_place(answer.redirect, redirect_uri):
            return _sent_back(answer.redirect, metadata, state)
        return [_sent_on(answer.redirect)]
    if answer.status >= 500 or answer.status == 429:
        return [warning("authorization", f"its login page answers {answer.status}", fix="try again later")]
    return [_shown(answer, redirect_uri)]


def judge_token_answer(answer: Answer, method: str) -> list[Finding]:
    """Judge client id and secret from the token endpoint's response to an invalid code.

    Args:
        method: How the secret was sent, as in `Metadata.auth_method`.
    """
    if isinstance(answer, Unanswered):
        return [warning("secret", f"its token endpoint could not be reached: {answer.detail or answer.topic}")]
    error_code = _json(answer).get("error")
    match error_code:
        case "invalid_grant":
            return [ok("secret", "it takes the client id and the secret")]
        case "invalid_client":
            return [
                error(
                    "secret",
                    "it does not take the client id and the secret (`invalid_client`)",
                    why=f"they were shown by `{method}`, as every login would",
                    fix="compare both with the provider's console: secrets expire, and are copied with blanks",
                )
            ]
        case "unauthorized_client" | "unsupported_grant_type":
            return [
                error(
                    "secret",
                    f"the client may not use the authorization code flow (`{error_code}`)",
                    fix="allow it the grant type Authorization Code at the provider",
                )
            ]
    words = f" (`{error_code}`)" if isinstance(error_code, str) and _WORD.fullmatch(error_code) else ""
    return [
        warning(
            "secret",
            f"its token endpoint answers {answer.status}{words}, which does not tell whether the secret is right",
        )
    ]


def _sent_back(target: str, metadata: Metadata, state: str) -> list[Finding]:
    """Judge a redirect to the redirect URI, which shows that the provider knows both client and redirect URI."""
    given = dict(parse_qsl(urlsplit(target).query or urlsplit(target).fragment))
    error_code = given.get("error", "")
    findings = []
    if given.get("state") != state:
        findings.append(
            error("state", "it does not give `state` back unchanged", why="no login can be told from a forged one")
        )
    if metadata.sends_iss and given.get("iss") != metadata.issuer:
        findings.append(
            error(
                "iss",
                "it promises to name itself in its answers (RFC 9207), and does not"
                if "iss" not in given
                else "it names another issuer in its answer than its own",
                why="such answers are refused: they may come from another provider",
                fix="update the provider, or switch the promise off",
            )
        )
    if not error_code or error_code in _NOBODY_SIGNED_IN:
        return [ok("client", "it knows the client id and the redirect URI"), *findings]
    word = error_code if _WORD.fullmatch(error_code) else "an error"
    hints = {
        "invalid_scope": f"allow the client the scopes {', '.join(SCOPES)}",
        "unauthorized_client": "allow the client the authorization code flow (response type `code`)",
        "unsupported_response_type": "allow the client the authorization code flow (response type `code`)",
        "access_denied": "the provider may want a user to be signed in first; try a login in a browser",
    }
    level = warning if error_code in ("access_denied", "server_error", "temporarily_unavailable") else error
    detail = _plain(given.get("error_description", ""))
    return [
        level(
            "client",
            f"it sends every login back with `{word}`{': ' + detail if detail else ''}",
            fix=hints.get(error_code, ""),
        ),
        *findings,
    ]


def _sent_on(target: str) -> Finding:
    parts = urlsplit(target)
    if "error" in f"{parts.path}?{parts.query}".lower():
        return _unknown("", f"it leads to an error page at {parts.hostname}")
    return ok(
        "client",
        f"it leads on to its login page at {parts.hostname}",
        why="it does not answer `prompt=none`; whether it knows client and redirect URI shows at the first login",
    )


def _shown(answer: Answered, redirect_uri: str) -> Finding:
    """Judge a page that came instead of a redirect, and that usually says what is wrong."""
    answered = _json(answer)
    text = (
        f"{answered.get('error', '')} {answered.get('error_description', '')}"
        if answered
        else answer.body.decode("utf-8", "replace")
    )
    # A page may repeat the request, so the name and value of the parameter alone are no error message.
    text = text.replace(redirect_uri, "").replace("redirect_uri=", "")
    kind = next((kind for kind, words in _PAGE_WORDS if re.search(words, text, re.IGNORECASE)), "")
    detail = _plain(str(answered.get("error_description", "")))
    if answer.status >= 400:
        return _unknown(kind, f"its login page answers {answer.status}{': ' + detail if detail else ''}")
    if kind:
        return _unknown(kind, "it shows a page instead of sending the browser back")
    return ok(
        "client",
        "it shows a page, probably for the login",
        why="it does not answer `prompt=none`; whether it knows client and redirect URI shows at the first login",
    )


def _unknown(kind: str, found: str) -> Finding:
    match kind:
        case "redirect":
            return error(
                "redirect_uri",
                f"{found}: it does not know the redirect URI",
                why="a provider sends people back only to addresses that were registered, compared letter by letter",
                fix="register the redirect URI exactly as given, scheme, port and slashes included",
            )
        case "client":
            return error(
                "client", f"{found}: it does not know the client id", fix="compare it with the provider's console"
            )
        case _:
            return error(
                "client",
                found,
                why="that is what providers do with an unknown client id, or a redirect URI that is not registered",
                fix="compare both with the provider's console, letter by letter",
            )


def _same_place(target: str, redirect_uri: str) -> bool:
    one, other = urlsplit(target), urlsplit(redirect_uri)
    return (one.scheme, one.netloc, one.path) == (other.scheme, other.netloc, other.path)


def _json(answer: Answered) -> Mapping[str, Any]:
    if not answer.is_json:
        return {}
    try:
        return parse_object(answer.body, max_bytes=MAX_DOCUMENT)
    except NotStrictJson:
        return {}


def _plain(text: str) -> str:
    """Shorten a text of the provider to one line, for display in a terminal."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())[:160]
