"""The first answers after a name has changed hands: a browser throws away what the former owner planted there.

A service worker, a cached page or a storage entry outlives the owner who put it there and would serve the next one's
visitors. So a browser that cannot show that it was told already hears `Clear-Site-Data` with the first page it gets,
and a cookie is set by which the next answer knows. Its value is a secret of the relay's: the former owner could else
have set it while the name was still theirs.

What a planted worker answers by itself never comes here. The browser's own look for a newer worker does, a moment after
each visit, and no worker can answer it.

Only pages and workers' scripts: browsers heed the field there (Chromium does not for an image, and would still keep the
cookie); and what another site embeds comes without our cookie, which would let that site clear an app's storage.

Not `"cookies"`: browsers clear those of the whole domain, which are the neighbours' too. Those seen are ended by name.
"""

import hmac
import re

from tunnelctl.http1.head import RequestHead, ResponseHead
from tunnelctl.memo import Memo
from tunnelrelay.policy import cookies
from tunnelrelay.policy.classify import wants_html

COOKIE, COOKIE_PLAIN = b"__Host-tunnel-gen", b"tunnel-gen"
COOKIE_SECONDS = 400 * 86_400
"""The longest that browsers keep a cookie (RFC 6265bis section 5.5)."""
MAX_ENDED = 20
"""Cookies ended by one answer; the next one ends the next."""
MAX_HOST = 300
"""Longest host whose cookie is remembered."""
_CLEAR = b'Clear-Site-Data: "cache", "storage"\r\n'
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}")
_SCRIPT = re.compile(rb"(?:text|application)/(?:x-)?(?:java|ecma)script\b", re.IGNORECASE)


class ClearSiteData:
    """Makes the `Clear-Site-Data` and cookie lines of a browser's first answer after a change of owner.

    Args:
        key: Secret; the same on every relay of one store.
        is_secure: The public address is https.
    """

    def __init__(self, key: bytes, *, is_secure: bool) -> None:
        self._key = key
        self._secure = b"; Secure" if is_secure else b""
        self._name = COOKIE if is_secure else COOKIE_PLAIN
        self._values = Memo(self._sign, max_bytes=MAX_HOST)

    def lines(self, host: str, generation: int, request: RequestHead, response: ResponseHead | None = None) -> bytes:
        """Header lines to put before an answer's own; b"" for a browser that got them before, or would ignore them.

        Args:
            generation: Of the name, above 1.
            response: The app's; None for an answer of the relay's own.
        """
        if not _is_heeded(request):
            return b""
        value = self._values[host, generation]
        sent = request.get_all(b"cookie")
        if cookies.one(sent, self._name) != value:
            set_cookie = b"Set-Cookie: %b=%b; Path=/; Max-Age=%d; HttpOnly; SameSite=Lax%b\r\n"
            return _CLEAR + set_cookie % (self._name, value, COOKIE_SECONDS, self._secure) + self._ended(sent)
        return _CLEAR if response is not None and _has_no_such_worker(request, response) else b""

    def _sign(self, name: tuple[str, int]) -> bytes:
        """The cookie's value for a host and its generation."""
        host, generation = name
        digest = hmac.digest(self._key, b"%d %b" % (generation, host.encode()), "sha256")
        return b"%d-%b" % (generation, digest[:16].hex().encode())

    def _ended(self, sent: list[bytes]) -> bytes:
        """Lines that delete the cookies which the browser sent. They precede the app's own Set-Cookie lines, which
        win."""
        names = dict.fromkeys(pair.partition(b"=")[0].strip(b" \t") for value in sent for pair in value.split(b";"))
        app_cookies = [name for name in names if _TOKEN.fullmatch(name) and not cookies.is_ours(name)]
        return b"".join(
            b"Set-Cookie: %b=; Path=/; Max-Age=0%b\r\n" % (name, self._secure) for name in app_cookies[:MAX_ENDED]
        )


def before(head: bytes, lines: bytes) -> bytes:
    """A response head with `lines` inserted before its own field lines."""
    line, rest = head.split(b"\r\n", 1)
    return b"%b\r\n%b%b" % (line, lines, rest)


def _is_heeded(request: RequestHead) -> bool:
    """Whether browsers heed `Clear-Site-Data` here: a page is opened, or a worker's script fetched. Not POST: another
    site's forms come without our cookie."""
    if request.method != b"GET":
        return False
    kind = request.get(b"sec-fetch-dest")
    if kind is None:  # an old browser, or none
        return wants_html(request)
    return kind in (b"document", b"serviceworker")


def _has_no_such_worker(request: RequestHead, response: ResponseHead) -> bool:
    """Whether the browser looks for an update of a service worker that the app does not have: the former owner's.

    Then the cookie is not believed, as that worker may have set it.
    """
    if request.get(b"service-worker") != b"script":
        return False
    if response.status in (404, 410):
        return True
    return 200 <= response.status < 300 and not _SCRIPT.match(response.get(b"content-type") or b"")
