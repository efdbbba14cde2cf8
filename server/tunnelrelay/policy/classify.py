"""Classifies a visitor's request, as far as the answer to "not signed in" depends on it.

Browsers send Fetch Metadata (`Sec-Fetch-*`), which scripts cannot set; other clients are recognised by `Accept` and
`User-Agent`. Only a plain navigation of a browser may be sent to a login (`starts_login`): a redirect in
answer to anything else is taken for success by scripts, fills the login provider with prefetches, or loses a form.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tunnelrelay.model import RequestKind

if TYPE_CHECKING:
    from tunnelctl.http1.head import RequestHead

_FRAMES = frozenset({b"iframe", b"frame", b"embed", b"object", b"fencedframe"})
OWN_SITES = frozenset({b"same-origin", b"none"})
"""Who may have caused a request: this very origin, or the user by typing or a bookmark. All else is another owner."""
_PURPOSES = (b"sec-purpose", b"purpose", b"x-moz")
_FETCH_METADATA = (b"sec-fetch-site", b"sec-fetch-dest", b"sec-fetch-user")
_BROWSER = re.compile(rb"Mozilla/5\.0 \((?!compatible;)")
"""How the `User-Agent` of every browser begins, and that of many programs; crawlers say `compatible`."""
_ROBOT = re.compile(rb"bot\b|crawler|spider|preview|externalhit|headless|https?://", re.IGNORECASE)
"""What programs say in it that fetch pages for others (search, link previews) and do not hide it."""


def classify(head: RequestHead) -> RequestKind:
    """The kind of this request."""
    if head.upgrade:
        return RequestKind.UPGRADE
    if any(b"prefetch" in (head.get(name) or b"").lower() for name in _PURPOSES):
        return RequestKind.PREFETCH
    mode = head.get(b"sec-fetch-mode")
    if mode is None:
        return _classify_old(head)
    if mode != b"navigate":
        return RequestKind.OTHER
    dest = head.get(b"sec-fetch-dest")
    if dest in _FRAMES:
        return RequestKind.FRAME
    if dest == b"empty":
        # An app's own service worker passes it on (Chromium). `Sec-Fetch-Site` still tells who began it.
        return _by_method(head.method) if head.get(b"sec-fetch-site") in OWN_SITES else RequestKind.PASSED_ON
    return _by_method(head.method) if dest == b"document" else RequestKind.OTHER


def starts_login(head: RequestHead, *, is_secure: bool) -> bool:
    """Whether a navigation may be redirected to the login.

    Programs ask for `text/html` too (Java's `HttpURLConnection` by itself, curl when told so); they would follow the
    redirect and take the provider's page for the app's. Every browser since 2023 sends `Sec-Fetch-Mode` to an https
    address, Chromium and Firefox to `localhost` too. Safari does not over plain http, where this takes what all
    browsers send when a page is opened, and no library by itself.

    Args:
        is_secure: The public address is https.
    """
    if head.get(b"sec-fetch-mode") is not None:
        return True
    accept = (head.get(b"accept") or b"").lower()
    return (
        not is_secure
        and b"text/html" in accept
        and b"application/xhtml+xml" in accept
        and head.get(b"upgrade-insecure-requests") == b"1"
        and bool(head.get(b"accept-language"))
        and head.get(b"user-agent") is not None
        and not _is_program(head)
    )


def wants_html(head: RequestHead) -> bool:
    """Whether a person will see the answer, so that an error should be a page and not JSON."""
    mode = head.get(b"sec-fetch-mode")
    if mode is not None:
        return mode == b"navigate"
    return _accepts_html(head) and head.get(b"x-requested-with") is None


def _classify_old(head: RequestHead) -> RequestKind:
    if not wants_html(head) or any(head.get(name) is not None for name in (*_FETCH_METADATA, b"range")):
        return RequestKind.OTHER
    return _by_method(head.method)


def _is_program(head: RequestHead) -> bool:
    """Whether the client's User-Agent is that of a program. Nearly all programs have one."""
    agent = head.get(b"user-agent")
    return agent is not None and (_BROWSER.match(agent) is None or _ROBOT.search(agent) is not None)


def _by_method(method: bytes) -> RequestKind:
    if method == b"GET":
        return RequestKind.NAVIGATION
    return RequestKind.OTHER if method == b"HEAD" else RequestKind.FORM


def _accepts_html(head: RequestHead) -> bool:
    return b"text/html" in (head.get(b"accept") or b"").lower()
