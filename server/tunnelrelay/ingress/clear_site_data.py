"""Sends `Clear-Site-Data` after a name has changed owners, so that browsers delete data of the former owner's app.

A service worker, a cached page or a storage entry outlives the owner who put it there and would serve the next owner's
visitors. So each browser gets `Clear-Site-Data` with the first page after the change, and a cookie that shows that it
did. The cookie's value is an HMAC: otherwise the former owner could have set the cookie in advance.

A service worker of the former owner can answer requests without the relay. But the browser itself checks for a newer
worker after each visit, and the worker cannot answer that request.

Only pages and workers' scripts get the field. Browsers ignore it elsewhere (Chromium ignores it for an image, but would
keep the cookie), and requests that another site's page embeds come without the cookie, so that such a page could clear
an app's storage.

The value `"cookies"` is not sent, as browsers then delete the cookies of the whole domain, also those of other tunnels.
Instead, the cookies that the browser sent are deleted by name.
"""

import hmac
import re

from tunnelctl.http1.head import RequestHead, ResponseHead
from tunnelctl.memo import Memo
from tunnelrelay.policy import cookies
from tunnelrelay.policy.classify import wants_html

COOKIE, COOKIE_PLAIN = b"__Host-tunnel-gen", b"tunnel-gen"
COOKIE_SECONDS = 400 * 86_400
"""Lifetime of the cookie: the longest that browsers allow (RFC 6265bis section 5.5)."""
MAX_ENDED = 20
"""Cookies that one response deletes at most; the next response deletes further ones."""
MAX_HOST = 300
"""Bytes of the longest host whose cookie value is cached."""
_CLEAR = b'Clear-Site-Data: "cache", "storage"\r\n'
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}")
_SCRIPT = re.compile(rb"(?:text|application)/(?:x-)?(?:java|ecma)script\b", re.IGNORECASE)


class ClearSiteData:
    """Writes the `Clear-Site-Data` and `Set-Cookie` lines of a browser's first response after a change of owner.

    Args:
        key: HMAC key of the cookie, equal on all relays of one store.
        is_secure: Whether the relay's public URLs are https.
    """

    def __init__(self, key: bytes, *, is_secure: bool) -> None:
        self._key = key
        self._secure = b"; Secure" if is_secure else b""
        self._name = COOKIE if is_secure else COOKIE_PLAIN
        self._values = Memo(self._sign, max_bytes=MAX_HOST)

    def lines(self, host: str, generation: int, request: RequestHead, response: ResponseHead | None = None) -> bytes:
        """Return the header lines for a response; b"" for a browser that got them before, or would ignore them.

        Args:
            generation: The name's generation: 1 plus the number of changes of owner. It is above 1 here.
            response: The head of the app's response; None for a response of the relay's own.
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
        """Return the value of the cookie for a host and the host's generation."""
        host, generation = name
        digest = hmac.digest(self._key, b"%d %b" % (generation, host.encode()), "sha256")
        return b"%d-%b" % (generation, digest[:16].hex().encode())

    def _ended(self, sent: list[bytes]) -> bytes:
        """Return `Set-Cookie` lines that delete the app's cookies which the browser sent.

        They are put before the `Set-Cookie` lines of the app's response, which win.
        """
        names = dict.fromkeys(pair.partition(b"=")[0].strip(b" \t") for value in sent for pair in value.split(b";"))
        app_cookies = [name for name in names if _TOKEN.fullmatch(name) and not cookies.is_ours(name)]
        return b"".join(
            b"Set-Cookie: %b=; Path=/; Max-Age=0%b\r\n" % (name, self._secure) for name in app_cookies[:MAX_ENDED]
        )


def before(head: bytes, lines: bytes) -> bytes:
    """Return a response head with `lines` inserted after its status line."""
    line, rest = head.split(b"\r\n", 1)
    return b"%b\r\n%b%b" % (line, lines, rest)


def _is_heeded(request: RequestHead) -> bool:
    """Whether the request opens a page or fetches a worker's script, for which browsers obey `Clear-Site-Data`.

    False for POST: another site's forms come without the cookie.
    """
    if request.method != b"GET":
        return False
    kind = request.get(b"sec-fetch-dest")
    if kind is None:  # the client is an old browser, or none
        return wants_html(request)
    return kind in (b"document", b"serviceworker")


def _has_no_such_worker(request: RequestHead, response: ResponseHead) -> bool:
    """Whether the browser checks for an update of a service worker that the app does not have.

    That worker is the former owner's. The cookie then proves nothing, as the worker may have set it.
    """
    if request.get(b"service-worker") != b"script":
        return False
    if response.status in (404, 410):
        return True
    return 200 <= response.status < 300 and not _SCRIPT.match(response.get(b"content-type") or b"")
