"""Judges a provider's response apart from its content: whether it arrived, is JSON, was fast, and has a correct clock.
Makes no network calls.
"""

from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from tunnelctl.oidc.findings import Answer, Answered, Finding, Unanswered, error, warning
from tunnelctl.oidc.strict_json import NotStrictJson, parse_object

MAX_DOCUMENT = 256 * 1024
"""Maximum bytes of a document; the relay reads as many."""
SLOW_SECONDS = 2.0
"""Seconds from which a response counts as slow; a visitor waits for the provider several times in one login."""
MAX_SKEW = 60
"""Maximum seconds by which clocks may differ: the relay's leeway for tokens."""
WELL_KNOWN = "/.well-known/openid-configuration"


def read_document(answer: Answer, what: str, *, fix: str) -> tuple[dict[str, Any] | None, list[Finding]]:
    """Return the JSON object in a response, or None and the finding that it is something else.

    Args:
        what: Name of the document for sentences, such as "discovery document".
        fix: Advice for the case that it is something else.
    """
    if isinstance(answer, Unanswered):
        return None, [_unanswered(answer, what)]
    if answer.redirect:
        return None, [_redirected(answer, what)]
    if answer.status != 200:
        return None, [_status(answer, what, fix)]
    if not answer.is_json:
        kind = answer.media_type or "no type"
        return None, [
            error(
                "not_json",
                f"where the {what} should be there is something else ({kind})",
                why="the relay takes only application/json: a web page is mostly an app or an error page",
                fix=fix,
            )
        ]
    if answer.headers.get("content-encoding", "identity").lower() != "identity":
        return None, [
            error(
                "compressed",
                f"the {what} came compressed, which was not asked for",
                why="the relay takes no compressed answer: a small one can unpack to any size",
                fix="have the provider, or the proxy in front of it, heed `Accept-Encoding: identity`",
            )
        ]
    if answer.is_cut:
        return None, [error("too_large", f"the {what} has more than {MAX_DOCUMENT} bytes, the relay reads no more")]
    try:
        return parse_object(answer.body, max_bytes=MAX_DOCUMENT), []
    except NotStrictJson as problem:
        return None, [error("not_json", f"the {what} is not JSON that every reader reads alike: {problem}")]


def judge_pace(answer: Answer, now: float) -> list[Finding]:
    """Return findings about a slow response, and about a clock that differs from ours.

    Args:
        now: Unix time at which the response arrived.
    """
    if isinstance(answer, Unanswered):
        return []
    findings = []
    if answer.seconds > SLOW_SECONDS:
        findings.append(
            warning("latency", f"it took {answer.seconds:.1f} s to answer", why="visitors wait for it at every login")
        )
    skew = clock_skew(answer, now)
    if skew is not None and abs(skew) > MAX_SKEW:
        findings.append(
            warning(
                "clock",
                f"its clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} this machine's",
                why=f"tokens are refused when the provider's and the relay's clocks differ by more than {MAX_SKEW} s",
                fix="set this machine's clock by NTP, and look at the relay's",
            )
        )
    return findings


def clock_skew(answer: Answered, now: float) -> float | None:
    """Return by how many seconds the server's clock is ahead of ours; None without a Date in its response."""
    try:
        return parsedate_to_datetime(answer.headers["date"]).timestamp() - now
    except (KeyError, ValueError, TypeError, OverflowError):
        return None


def _unanswered(answer: Unanswered, what: str) -> Finding:
    host = urlsplit(answer.url).hostname or ""
    match answer.topic:
        case "dns":
            return error(
                "dns", f"the name {host} is not known here", fix="check the spelling, or use the right network"
            )
        case "tls":
            return error(
                "tls",
                f"{host} shows no certificate this machine trusts: {answer.detail}",
                why="a machine in between could sign in as any user",
                fix="for a private authority, give its PEM file with --issuer-ca (or SSL_CERT_FILE), to the relay too",
            )
        case "slow":
            return error("slow", f"{host} did not send the {what} in time", fix="try again, or look at the network")
        case _:
            return error(
                "unreachable", f"{host} could not be reached: {answer.detail}", fix="is it running, and the port right?"
            )


def _redirected(answer: Answered, what: str) -> Finding:
    target = answer.redirect
    issuer = target.removesuffix(WELL_KNOWN) if target.endswith(WELL_KNOWN) else ""
    return error(
        "redirect",
        f"the {what} is not there, it redirects to {target[:200]}",
        why="a redirect is not followed: it could lead to an attacker's keys",
        fix=f"if that is your provider, the issuer is {issuer}" if issuer else "use the address it really lives at",
    )


def _status(answer: Answered, what: str, fix: str) -> Finding:
    if answer.status >= 500 or answer.status == 429:
        return error("server_error", f"instead of the {what} came the status {answer.status}", fix="try again later")
    if answer.status in (404, 410):
        return error("not_found", f"there is no {what} at {answer.url[:300]} ({answer.status})", fix=fix)
    return error("status", f"the {what} is not public, the provider answers {answer.status}", fix=fix)
