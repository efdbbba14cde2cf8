"""Classifies a visitor's request, to choose the response for a visitor who is not signed in.

Browsers send Fetch Metadata (`Sec-Fetch-*`), which scripts cannot set; other clients are recognised by `Accept` and
`User-Agent`. Only a plain navigation of a browser may be redirected to a login (`starts_login`): scripts would take a
redirect for success, prefetches would flood the login provider, and forms would lose their content.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tunnelrelay.model import RequestKind

if TYPE_CHECKING:
    from tunnelctl.http1.head import RequestHead

_FRAMES = frozenset({b"iframe", b"frame", b"embed", b"object", b"fencedframe"})
OWN_SITES = frozenset({b"same-origin", b"none"})
"""Values of `Sec-Fetch-Site` for requests from this very origin, or from the user (typed URL or bookmark). All other
values mean another owner's site."""
_PURPOSES = (b"sec-purpose", b"purpose", b"x-moz")
_FETCH_METADATA = (b"sec-fetch-site", b"sec-fetch-dest", b"sec-fetch-user")
_PAGE = b"text/html,application/xhtml+xml"
"""Matches the beginning of `Accept` as every browser sends it to open a page. Programs that accept HTML send another
one."""
_BROWSER = re.compile(rb"Mozilla/5\.0 \((?!compatible;)")
"""Matches the beginning of the `User-Agent` of every browser, and of many programs; crawlers contain `compatible`
instead."""
_ROBOT = re.compile(rb"bot\b|crawler|spider|preview|externalhit|headless|https?://", re.IGNORECASE)
"""Matches the `User-Agent` of programs that fetch pages for others (search, link previews) and admit it."""


def classify(head: RequestHead) -> RequestKind:
    """Return the kind of a request."""
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
        # An app's own service worker forwards the request (Chromium). `Sec-Fetch-Site` still tells who started it.
        return _by_method(head.method) if head.get(b"sec-fetch-site") in OWN_SITES else RequestKind.PASSED_ON
    return _by_method(head.method) if dest == b"document" else RequestKind.OTHER


def starts_login(head: RequestHead, *, is_secure: bool) -> bool:
    """Return whether a navigation may be redirected to the login.

    Some programs accept `text/html` too (Java's `HttpURLConnection` by default, curl on request); they would follow the
    redirect and take the provider's page for the app's. Every browser since 2023 sends `Sec-Fetch-Mode` to https
    addresses, Chromium and Firefox to `localhost` too. Safari does not send it over plain http; there the function
    tests for fields that all browsers send for a navigation, and no library by default.

    Args:
        is_secure: The public address is https.
    """
    if head.get(b"sec-fetch-mode") is not None:
        return True
    accept = (head.get(b"accept") or b"").lower().replace(b" ", b"")
    return (
        not is_secure
        and accept.startswith(_PAGE)
        and head.get(b"upgrade-insecure-requests") == b"1"
        and bool(head.get(b"accept-language"))
        and head.get(b"user-agent") is not None
        and not _is_program(head)
    )


def wants_html(head: RequestHead) -> bool:
    """Return whether a person will see the response, so that an error should be a page instead of JSON."""
    mode = head.get(b"sec-fetch-mode")
    if mode is not None:
        return mode == b"navigate"
    return _accepts_html(head) and head.get(b"x-requested-with") is None


def _classify_old(head: RequestHead) -> RequestKind:
    if not wants_html(head) or any(head.get(name) is not None for name in (*_FETCH_METADATA, b"range")):
        return RequestKind.OTHER
    return _by_method(head.method)


def _is_program(head: RequestHead) -> bool:
    """Return whether the client's User-Agent is that of a program. Nearly all programs send one."""
    agent = head.get(b"user-agent")
    return agent is not None and (_BROWSER.match(agent) is None or _ROBOT.search(agent) is not None)


def _by_method(method: bytes) -> RequestKind:
    if method == b"GET":
        return RequestKind.NAVIGATION
    return RequestKind.OTHER if method == b"HEAD" else RequestKind.FORM


def _accepts_html(head: RequestHead) -> bool:
    return b"text/html" in (head.get(b"accept") or b"").lower()
