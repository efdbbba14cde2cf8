"""What a field name means to the relay, in a request and in a response. The tables; headers.py applies them."""

from tunnelctl.http1.fields import HOP_BY_HOP
from tunnelrelay.policy.memo import Memo

MAX_NAME = 64
"""Longest name remembered, in bytes, so that 4,096 of them stay below half a megabyte."""

KEEP, DROP, COOKIE, HOST, AUTHORIZATION, TE, FORGED = range(7)
SET_COOKIE, LOCATION, CONNECTION, CACHE_CONTROL, CDN_CACHE, CLEAR_SITE_DATA = range(2, 8)
"""What a name means in a request, and in a response."""

_FRAMING = (HOP_BY_HOP - {b"trailer"}) | {b"content-length"}
"""Written anew for each hop. `Trailer` announces what is passed on (RFC 9110 section 6.6.2)."""

_SPOOFABLE = frozenset(
    {
        b"forwarded",
        b"x-real-ip",
        b"x-client-ip",
        b"x-cluster-client-ip",
        b"true-client-ip",
        b"cf-connecting-ip",
        b"remote-user",
        b"remote-name",
        b"remote-email",
        b"remote-groups",
        b"x-original-url",
        b"x-original-uri",
        b"x-original-host",
        b"x-original-method",
        b"x-rewrite-url",
        b"x-http-method",
        b"x-http-method-override",
        b"x-method-override",
    }
)
"""Where a request comes from, who sent it, and what it "really" asks for: apps behind a proxy believe these."""

_SPOOFABLE_PREFIXES = (
    b"x-tunnel-",
    b"ngrok-auth-",
    b"x-forwarded-",
    b"x-auth-request-",
    b"x-remote-",
    b"cf-access-",
    b"x-authentik-",
    b"x-pomerium-",
    b"x-webauth-",
    b"x-amzn-oidc-",
    b"x-goog-authenticated-",
    b"x-goog-iap-",
    b"x-ms-client-principal",
)
"""Identity as this and other proxies assert it. An app moved here from another proxy still believes that one's."""

_HOPS = frozenset(
    {
        b"forwarded",
        b"x-real-ip",
        b"x-client-ip",
        b"x-cluster-client-ip",
        b"true-client-ip",
        b"cf-connecting-ip",
        b"x-original-host",
        *(b"x-forwarded-" + name for name in (b"for", b"proto", b"host", b"port", b"server", b"scheme", b"by", b"ssl")),
    }
)
"""Those that proxies on a visitor's way write in good faith. Every other spoofable field from a visitor is a try."""

_FOR_FRONT_SERVERS = frozenset(
    {
        b"tunnel-error",
        b"alt-svc",
        b"x-accel-redirect",
        b"x-sendfile",
        b"x-lighttpd-send-file",
        b"x-reproxy-url",
    }
)
"""Not an upstream's to say: our error code, where else this host is served, and (to an nginx, Apache or lighttpd in
front of the relay) which of its private files to send instead."""

_CDN_CACHING = frozenset({b"surrogate-control", b"x-accel-expires"})
HARMLESS = frozenset({b"", b"keep-alive", b"Keep-Alive", b"close", b"Upgrade", b"upgrade", b"keep-alive, Upgrade"})
"""Values of `Connection` that name no field beyond those dropped anyway."""


def canonical(name: bytes) -> bytes:
    """A field name as CGI, WSGI and their heirs read it: case and `_` against `-` make no difference."""
    return name.lower().replace(b"_", b"-")


def is_spoofable(name: bytes) -> bool:
    """Says whether a canonical name would tell an upstream what only the relay may tell it."""
    return name in _SPOOFABLE or name.startswith(_SPOOFABLE_PREFIXES)


def is_framing(name: bytes) -> bool:
    """Says whether a canonical name frames the message or belongs to one hop."""
    return name in _FRAMING


def is_for_front_servers(name: bytes) -> bool:
    """Says whether a canonical response name is not an upstream's to send."""
    return name in _FOR_FRONT_SERVERS


def _request_kind(name: bytes) -> int:
    if name == b"te":
        return TE
    if name in _FRAMING or name in _HOPS:
        return DROP
    if is_spoofable(name):
        return FORGED
    return {b"cookie": COOKIE, b"host": HOST, b"authorization": AUTHORIZATION}.get(name, KEEP)


def _response_kind(name: bytes) -> int:
    if name == b"connection":
        return CONNECTION
    if name in _FRAMING or name in _FOR_FRONT_SERVERS:
        return DROP
    if name in _CDN_CACHING or name.endswith(b"cdn-cache-control"):
        return CDN_CACHE
    return {
        b"set-cookie": SET_COOKIE,
        b"location": LOCATION,
        b"cache-control": CACHE_CONTROL,
        b"clear-site-data": CLEAR_SITE_DATA,
    }.get(name, KEEP)


REQUEST = Memo(lambda name: _request_kind(canonical(name)), max_bytes=MAX_NAME)
RESPONSE = Memo(lambda name: _response_kind(canonical(name)), max_bytes=MAX_NAME)
"""What each spelling of a field name means, learnt on first sight."""
