"""Answers requests whose heads are too large, by the part that was read.

In a browser cookies are mostly the cause, and then every request to the host is too large, also the one that would
clear them. That request is recognised by its request line and the fields before the limit, which come before the
cookies in every browser that was tested.
"""

from tunnelctl.http1.errors import HttpError
from tunnelctl.http1.head import MAX_FIELDS, RequestHead, parse_request
from tunnelrelay.model import Reply
from tunnelrelay.pages.cookies import CLEAR_COOKIES_PATH, cookies_cleared, head_too_large
from tunnelrelay.policy.classify import wants_html

_BY_A_CLICK = {b"sec-fetch-site": b"same-origin", b"sec-fetch-mode": b"navigate", b"sec-fetch-user": b"?1"}
"""What a browser says of a form that a person has sent from a page of the same origin."""


def glimpse(part: bytes) -> RequestHead | None:
    """The head as far as it was read, by the same parser as whole ones; None when that is no head, or names no host.

    Args:
        part: From the request line to anywhere.
    """
    lines = part[: part.rfind(b"\r\n")].rstrip(b"\r\n").split(b"\r\n")[: MAX_FIELDS + 1]
    try:
        return parse_request(b"\r\n".join((*lines, b"", b"")))
    except HttpError:
        return None


def reply(head: RequestHead, *, host: str, origin: bytes, request_id: str) -> Reply:
    """The error page, or the answer that clears the cookies.

    Args:
        host: Canonical; "" when it is none of ours, or not that of the connection.
        origin: The host's address as browsers write it in `Origin`.
    """
    if host and _asks_to_clear(head, origin):
        return cookies_cleared(host=host)
    return head_too_large(request_id=request_id, host=host, wants_html=wants_html(head))


def _asks_to_clear(head: RequestHead, origin: bytes) -> bool:
    """Whether a person pressed the button on our page.

    Browsers clear the cookies of the whole site, neighbours' sessions included, so nothing less will do: another page
    can send this request, but not with our origin, and a script on the host itself cannot pretend to be a click.
    """
    if head.method != b"POST" or head.target != CLEAR_COOKIES_PATH.encode() or head.get_all(b"origin") != [origin]:
        return False
    fetch_metadata = {name: head.get(name) for name in _BY_A_CLICK}
    return fetch_metadata[b"sec-fetch-site"] is None or fetch_metadata == _BY_A_CLICK
