"""Answers requests whose heads are too large, by the part of the head that was read.

In a browser the cause is mostly cookies, and then every request to the host is too large, also the one that should
clear the cookies. That request is recognised by its request line and its first fields: all tested browsers send those
before the cookies.
"""

from tunnelctl.http1.errors import HttpError
from tunnelctl.http1.head import MAX_FIELDS, RequestHead, parse_request
from tunnelrelay.model import Reply
from tunnelrelay.pages.cookies import CLEAR_COOKIES_PATH, cookies_cleared, head_too_large
from tunnelrelay.policy.classify import wants_html

_BY_A_CLICK = {b"sec-fetch-site": b"same-origin", b"sec-fetch-mode": b"navigate", b"sec-fetch-user": b"?1"}
"""The `Sec-Fetch-*` fields that a browser sends when a person submits a form on a page of the same origin."""


def glimpse(part: bytes) -> RequestHead | None:
    """Parse the part of a request head that was read; None when it is no valid head, or has no Host.

    Args:
        part: The first bytes of the head; the last line may be incomplete.
    """
    lines = part[: part.rfind(b"\r\n")].rstrip(b"\r\n").split(b"\r\n")[: MAX_FIELDS + 1]
    try:
        return parse_request(b"\r\n".join((*lines, b"", b"")))
    except HttpError:
        return None


def reply(head: RequestHead, *, host: str, origin: bytes, request_id: str) -> Reply:
    """Return the error page for an oversized head, or the response that clears the browser's cookies.

    Args:
        host: The canonical host; "" when the relay does not serve it, or the TLS connection is for another host.
        origin: The host's origin, as browsers send it in `Origin`.
    """
    if host and _asks_to_clear(head, origin):
        return cookies_cleared(host=host)
    return head_too_large(request_id=request_id, host=host, wants_html=wants_html(head))


def _asks_to_clear(head: RequestHead, origin: bytes) -> bool:
    """Whether a person has pressed the button on the error page that clears the browser's cookies.

    Browsers then clear the cookies of the whole site, with sessions at other tunnels, so a click is required: another
    site's page cannot send this request with the host's origin, and a script on the host cannot imitate a click.
    """
    if head.method != b"POST" or head.target != CLEAR_COOKIES_PATH.encode() or head.get_all(b"origin") != [origin]:
        return False
    fetch_metadata = {name: head.get(name) for name in _BY_A_CLICK}
    return fetch_metadata[b"sec-fetch-site"] is None or fetch_metadata == _BY_A_CLICK
