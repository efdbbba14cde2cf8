"""THE table of every error a visitor can be shown by the relay. docs/reference/errors.md tells the same to people.

A code is a promise: scripts compare it, so it never changes its meaning. The words may be improved at any time.
"""

from dataclasses import dataclass
from typing import Literal

Source = Literal["ingress", "agent", "upstream"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorKind:
    """One error.

    Attributes:
        code: What `Tunnel-Error`, the JSON body, the page and the logs call it.
        source: Whose side it is on: the relay's public side, the agent (or the way to it), or the local service.
        title: The page's headline.
        message: What happened. `{host}` stands for the host the visitor asked for.
        hint: What to do about it, for whoever can.
        retry_after: Seconds to wait before another try is worth while; 0 when waiting does not help.
    """

    code: str
    status: int
    source: Source
    title: str
    message: str
    hint: str
    retry_after: int = 0


def _kind(
    code: str, status: int, source: Source, title: str, message: str, hint: str, retry_after: int = 0
) -> tuple[str, ErrorKind]:
    kind = ErrorKind(
        code=code, status=status, source=source, title=title, message=message, hint=hint, retry_after=retry_after
    )
    return code, kind


ERRORS: dict[str, ErrorKind] = dict(
    (
        # Nobody there
        _kind(
            "endpoint_not_found",
            404,
            "ingress",
            "Nothing is published here",
            "Tunnel {host} not found.",
            "Check the address. If it is yours, start the tunnel: addresses exist only while an agent serves them.",
        ),
        _kind(
            "endpoint_offline",
            503,
            "agent",
            "This tunnel is offline",
            "The agent that serves {host} is not connected at the moment.",
            "It reconnects by itself: try again in a few seconds. If it is yours, check that the agent still runs.",
            5,
        ),
        _kind(
            "endpoint_busy",
            503,
            "agent",
            "Too many requests at once",
            "The tunnel behind {host} has as many requests open as it can take.",
            "Try again in a moment.",
            2,
        ),
        # The local service
        _kind(
            "upstream_unreachable",
            502,
            "upstream",
            "The app behind this address does not answer",
            "The tunnel works, but the agent could not connect to its local service.",
            "If it is yours, start the local service, or check the port the tunnel was given.",
        ),
        _kind(
            "upstream_broken",
            502,
            "upstream",
            "The app behind this address broke off",
            "The local service closed the connection early or did not answer in HTTP.",
            "If it is yours, look at the local service's own log; an https service needs an https:// upstream.",
        ),
        _kind(
            "upstream_timeout",
            504,
            "upstream",
            "The app behind this address took too long",
            "The local service accepted the request and did not begin to answer in time.",
            "Try again. If it is yours, look at what the local service is busy with.",
        ),
        # The agent
        _kind(
            "agent_bad_response",
            502,
            "agent",
            "The tunnel sent an answer that cannot be passed on",
            "What came through the tunnel is not a valid HTTP answer, so it was not let through.",
            "If it is yours, look for control characters or conflicting lengths in the answer's headers.",
        ),
        _kind(
            "agent_lost",
            502,
            "agent",
            "The tunnel broke off",
            "The connection to the agent was lost while it worked on this request.",
            "It is not known whether the request took effect. Check before you send it again.",
        ),
        # The request
        _kind(
            "bad_request",
            400,
            "ingress",
            "This request cannot be understood",
            "The request is not valid HTTP/1.1.",
            "Programs that write HTTP by hand should follow RFC 9112; browsers should try again.",
        ),
        _kind(
            "target_too_long",
            414,
            "ingress",
            "This address is too long",
            "The path and query are longer than 8 KiB.",
            "Send long values in the request's body.",
        ),
        _kind(
            "head_too_large",
            431,
            "ingress",
            "This request carries too much in its headers",
            "The request's headers are larger than 32 KiB or more than 100.",
            "In a browser this is mostly too many cookies: clear the cookies of this site and try again.",
        ),
        _kind(
            "request_timeout",
            408,
            "ingress",
            "This request took too long to arrive",
            "The request was not complete in time.",
            "Try again on a better connection.",
        ),
        _kind(
            "not_implemented",
            501,
            "ingress",
            "This kind of request is not supported",
            "The request uses a transfer coding or an upgrade that is not supported.",
            "Use chunked transfer coding only; upgrades other than h2c and TLS are fine.",
        ),
        _kind(
            "version_not_supported",
            505,
            "ingress",
            "This version of HTTP is not supported",
            "The request is neither HTTP/1.1 nor HTTP/1.0.",
            "Send HTTP/1.1.",
        ),
        _kind(
            "expectation_failed",
            417,
            "ingress",
            "This expectation cannot be met",
            "The request's Expect header asks for something other than 100-continue.",
            "Send the request without it.",
        ),
        _kind(
            "body_too_large",
            413,
            "ingress",
            "This is more than the page takes",
            "The relay's own pages take small forms only.",
            "Send less, or send it to the app.",
        ),
        _kind(
            "connect_refused",
            403,
            "ingress",
            "Agents only",
            "A web page, a name that is not this machine's, or an agent without TLS asked to open a tunnel.",
            "Open tunnels with the agent: under https:// where the relay has TLS, else as localhost or 127.0.0.1.",
        ),
        _kind(
            "token_required",
            401,
            "ingress",
            "An authtoken is needed",
            "This relay takes agents with an authtoken only.",
            "Ask its operator for one (tunnelrelay token create), then: tunnel config add-authtoken TOKEN.",
        ),
        _kind(
            "token_refused",
            401,
            "ingress",
            "The authtoken is not good",
            "The authtoken is unknown to this relay, or was revoked.",
            "Ask the relay's operator for a new one (tunnelrelay token create).",
        ),
        _kind(
            "page_not_found",
            404,
            "ingress",
            "Nothing here",
            "The relay has no page of its own at this address.",
            "Addresses below /_tunnel/ belong to the relay. The app is at every other one.",
        ),
        _kind(
            "method_not_allowed",
            405,
            "ingress",
            "This method is not allowed",
            "The method cannot be used here.",
            "CONNECT and TRACE are never passed on, and the relay's own pages take only what their forms send.",
        ),
        _kind(
            "misdirected",
            421,
            "ingress",
            "This request came over the wrong connection",
            "The TLS connection was opened for another host name than {host}.",
            "Open a new connection for this host.",
        ),
        # Who may pass
        _kind(
            "login_required",
            401,
            "ingress",
            "Sign in to go on",
            "{host} is only for people who sign in, and this request carries no valid sign-in.",
            "Open the address in a browser and sign in there.",
        ),
        _kind(
            "password_required",
            401,
            "ingress",
            "401 Unauthorized",
            "{host} asks for a user name and a password.",
            "Ask whoever sent you this address for them.",
        ),
        _kind(
            "network_denied",
            403,
            "ingress",
            "Not from this network",
            "{host} does not accept requests from your network address.",
            "Use the network or VPN you were told to use, or ask the owner of this address to allow yours.",
        ),
        _kind(
            "access_denied",
            403,
            "ingress",
            "The sign-in was declined",
            "The sign-in service did not let you through to {host}.",
            "If you did not cancel the sign-in yourself, ask the owner of this address to give you access there.",
        ),
        _kind(
            "not_admitted",
            403,
            "ingress",
            "This account has no access",
            "You are signed in, but your account is not among those that may open {host}.",
            "Use another account, or ask the owner of this address to let you in.",
        ),
        # The login
        _kind(
            "login_state_invalid",
            400,
            "ingress",
            "This sign-in cannot be completed",
            "The answer of the sign-in service does not belong to a sign-in that is under way here.",
            "Go back to the address you wanted to open and start again.",
        ),
        _kind(
            "login_restart",
            400,
            "ingress",
            "Please sign in again",
            "This sign-in was started in another browser, was already used, or has expired.",
            "Start again from the address you wanted to open.",
        ),
        _kind(
            "provider_error",
            502,
            "ingress",
            "The sign-in service reported a problem",
            "The sign-in could not be completed because of an answer of the sign-in service.",
            "Try again. If it stays like this, the owner should check client id, secret and redirect URI.",
        ),
        _kind(
            "provider_unreachable",
            502,
            "ingress",
            "The sign-in service cannot be reached",
            "The sign-in service of {host} could not be reached or did not answer as one.",
            "Try again in a minute. If it stays like this, the owner should check the issuer's address.",
        ),
        _kind(
            "prefetch_refused",
            503,
            "ingress",
            "Not loaded ahead of time",
            "The browser asked for this page before anybody opened it, and it is behind a sign-in.",
            "Open the page: the browser will then ask again.",
        ),
        # The relay itself
        _kind(
            "relay_busy",
            503,
            "ingress",
            "One moment, please",
            "The relay cannot take this request right now.",
            "Try again in a few seconds.",
            5,
        ),
        _kind(
            "internal_error",
            500,
            "ingress",
            "Something went wrong here",
            "The relay made a mistake while it handled this request. It is not your fault.",
            "Try again, and tell the relay's operator the request id if it happens again.",
        ),
    )
)
"""Every error by its code."""
