"""Tables of the header fields that the relay treats specially in requests and responses; headers.py applies them.

Names are compared as the most lenient program behind the relay reads them (`loose_name`): PHP, CGI, WSGI and Rack map
several HTTP names to one variable. docs/reference/headers.md contains the table, and a test compares both.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from tunnelctl.http1.fields import HOP_BY_HOP, loose_name
from tunnelctl.memo import Memo

MAX_NAME = 64
"""Maximum bytes of a name whose meaning is cached, so that 4,096 of them stay below half a megabyte."""

KEEP, DROP, COOKIE, HOST, AUTHORIZATION, TE, FORGED = range(7)
SET_COOKIE, LOCATION, CONNECTION, CACHE_CONTROL, CDN_CACHE, CLEAR_SITE_DATA, REFRESH = range(2, 9)
"""Numbers for the treatment of field names: in requests those of the first line; in responses KEEP, DROP and those of
the second line."""

_FRAMING = (HOP_BY_HOP - {b"trailer"}) | {b"content-length"}
"""Fields that are generated anew for each connection. `Trailer` is forwarded, as trailers are (RFC 9110 section
6.6.2)."""


class HeaderGroup(Enum):
    """What kind of fact about a request apps read from a header field.

    Decides whether a visitor who sends the field is reported as a forger.
    """

    ADDRESS = "where a request comes from, under which scheme and host"
    """Fields about the visitor's address, scheme and host. Proxies of the visitor set them legitimately: they are
    removed without a report."""
    IDENTITY = "who sent it"
    TARGET = "what it really asks for"


@dataclass(frozen=True, slots=True)
class Believed:
    """A request field that only the relay may send to an app; it is removed from visitors' requests.

    Attributes:
        pattern: A field name in the form of `loose_name`; one `*` at its begin or end matches any bytes.
        written_by: The software that sets the field, for display.
        is_relays: Header rules of owners must not contain the field.
    """

    pattern: bytes
    group: HeaderGroup
    written_by: str
    is_relays: bool = False


def _rows(group: HeaderGroup, written_by: str, patterns: bytes, *, is_relays: bool = False) -> tuple[Believed, ...]:
    return tuple(Believed(pattern, group, written_by, is_relays) for pattern in patterns.split())


BELIEVED: tuple[Believed, ...] = (
    *_rows(HeaderGroup.ADDRESS, "this relay", b"x-forwarded-for* x-forwarded-proto* x-forwarded-host*", is_relays=True),
    *_rows(
        HeaderGroup.ADDRESS,
        "proxies in general",
        b"x-forwarded-port x-forwarded-server x-forwarded-scheme x-forwarded-by x-forwarded-ssl forwarded x-real-ip"
        b" x-client-ip x-cluster-client-ip x-original-host",
        is_relays=True,
    ),
    *_rows(
        HeaderGroup.ADDRESS,
        "proxies in general",
        b"*client-ip *clientip *connecting-ip *originating-ip *real-ip *remote-ip *user-ip *src-ip x-real-*"
        b" x-remote-addr x-remote-host x-remote-port x-forwarded x-forward-for forwarded-for forwarded-proto"
        b" front-end-https https x-https x-scheme x-url-scheme x-host x-http-host-override"
        b" x-original-forwarded-for x-proxyuser-ip",
    ),
    *_rows(HeaderGroup.ADDRESS, "Cloudflare, Akamai", b"cf-connecting-ip true-client-ip", is_relays=True),
    *_rows(HeaderGroup.ADDRESS, "Cloudflare", b"cf-connecting-* cf-pseudo-ipv4 cf-visitor"),
    *_rows(HeaderGroup.ADDRESS, "Fastly", b"fastly-ssl"),
    *_rows(HeaderGroup.ADDRESS, "Fly.io", b"fly-forwarded-*"),
    *_rows(HeaderGroup.ADDRESS, "Amazon CloudFront", b"cloudfront-viewer-address cloudfront-forwarded-proto"),
    *_rows(HeaderGroup.ADDRESS, "Azure", b"x-azure-socketip x-arr-ssl"),
    *_rows(
        HeaderGroup.ADDRESS, "Vercel, Netlify", b"x-vercel-forwarded-* x-vercel-proxied-* x-nf-client-connection-ip"
    ),
    *_rows(HeaderGroup.ADDRESS, "WebLogic", b"wl-proxy-ssl"),
    *_rows(HeaderGroup.ADDRESS, "Envoy", b"x-envoy-external-address"),
    *_rows(HeaderGroup.IDENTITY, "this relay", b"x-tunnel-*", is_relays=True),
    *_rows(HeaderGroup.IDENTITY, "ngrok", b"ngrok-auth-*", is_relays=True),
    *_rows(HeaderGroup.IDENTITY, "oauth2-proxy, Traefik", b"x-forwarded-* x-auth-request-*", is_relays=True),
    *_rows(
        HeaderGroup.IDENTITY,
        "Authelia, Apache",
        b"remote-user remote-name remote-email remote-groups x-remote-*",
        is_relays=True,
    ),
    *_rows(HeaderGroup.IDENTITY, "Authelia, CGI", b"remote-*"),
    *_rows(HeaderGroup.IDENTITY, "Cloudflare Access", b"cf-access-*", is_relays=True),
    *_rows(HeaderGroup.IDENTITY, "authentik", b"x-authentik-*", is_relays=True),
    *_rows(HeaderGroup.IDENTITY, "Pomerium", b"x-pomerium-*", is_relays=True),
    *_rows(HeaderGroup.IDENTITY, "Grafana, Gitea and others behind a proxy", b"x-webauth-*", is_relays=True),
    *_rows(HeaderGroup.IDENTITY, "AWS load balancers", b"x-amzn-oidc-*", is_relays=True),
    *_rows(HeaderGroup.IDENTITY, "AWS load balancers", b"x-amzn-mtls-*"),
    *_rows(HeaderGroup.IDENTITY, "Google Identity-Aware Proxy", b"x-goog-authenticated-* x-goog-iap-*", is_relays=True),
    *_rows(HeaderGroup.IDENTITY, "Google App Engine, API Gateway", b"x-appengine-* x-apigateway-api-userinfo"),
    *_rows(HeaderGroup.IDENTITY, "Google Cloud Endpoints", b"x-endpoint-api-userinfo"),
    *_rows(HeaderGroup.IDENTITY, "Azure App Service", b"x-ms-client-principal*", is_relays=True),
    *_rows(HeaderGroup.IDENTITY, "Azure App Service, Front Door", b"x-ms-token-* x-arr-clientcert x-azure-fdid"),
    *_rows(HeaderGroup.IDENTITY, "Tailscale", b"tailscale-*"),
    *_rows(HeaderGroup.IDENTITY, "home-made single sign-on", b"x-sso-user x-proxy-user"),
    *_rows(HeaderGroup.IDENTITY, "Vouch", b"x-vouch-*"),
    *_rows(HeaderGroup.IDENTITY, "Teleport", b"teleport-jwt-assertion"),
    *_rows(
        HeaderGroup.IDENTITY,
        "Kong, APISIX",
        b"x-consumer-* x-credential-* x-authenticated-* x-anonymous-consumer x-userinfo",
    ),
    *_rows(HeaderGroup.IDENTITY, "WSO2", b"x-jwt-assertion"),
    *_rows(
        HeaderGroup.IDENTITY,
        "Louketo (Keycloak Gatekeeper)",
        b"x-auth-userid x-auth-username x-auth-subject x-auth-email x-auth-groups x-auth-roles",
    ),
    *_rows(HeaderGroup.IDENTITY, "mod_auth_openidc, mod_auth_mellon, Shibboleth", b"oidc-* mellon-* shib-*"),
    *_rows(
        HeaderGroup.IDENTITY,
        "SiteMinder, WebSEAL",
        b"sm-user sm-userdn smuser iv-user iv-groups iv-creds iv-remote-address",
    ),
    *_rows(HeaderGroup.IDENTITY, "Oracle and WebLogic", b"oam-remote-user proxy-remote-user wl-proxy-client-cert"),
    *_rows(HeaderGroup.IDENTITY, "Apache NiFi", b"x-proxiedentitieschain"),
    *_rows(
        HeaderGroup.IDENTITY,
        "proxies that check client certificates (RFC 9440)",
        b"client-cert* ssl-client-* x-ssl-* x-tls-client-* x-client-cert* x-client-verify* x-client-dn x-client-s-dn",
    ),
    *_rows(
        HeaderGroup.TARGET,
        "IIS, nginx, Symfony",
        b"x-original-url x-original-uri x-original-method x-rewrite-url",
        is_relays=True,
    ),
    *_rows(
        HeaderGroup.TARGET,
        "clients that cannot send every method",
        b"x-http-method x-http-method-override x-method-override",
        is_relays=True,
    ),
    *_rows(HeaderGroup.TARGET, "proxies that take a prefix off the path", b"x-original-* x-script-name x-ingress-path"),
    *_rows(HeaderGroup.TARGET, "Envoy", b"x-envoy-*"),
    *_rows(HeaderGroup.TARGET, "Next.js, to itself", b"x-middleware-subrequest*"),
    *_rows(HeaderGroup.TARGET, "nginx, to Rack", b"x-sendfile-type x-accel-mapping"),
    *_rows(HeaderGroup.TARGET, "attackers: CGI makes `HTTP_PROXY` of it", b"proxy"),
)
"""All request fields that only the relay may send. Visitors may send fields with other names."""


class _Patterns:
    """Matches names against many patterns quickly."""

    def __init__(self, rows: Iterable[Believed]) -> None:
        patterns = [row.pattern for row in rows]
        self._names = frozenset(patterns)
        self._prefixes = tuple(pattern[:-1] for pattern in patterns if pattern.endswith(b"*"))
        self._endings = tuple(pattern[1:] for pattern in patterns if pattern.startswith(b"*"))

    def match(self, name: bytes) -> bool:
        return name in self._names or name.startswith(self._prefixes) or name.endswith(self._endings)


_SPOOFABLE = _Patterns(BELIEVED)
_RELAYS = _Patterns(row for row in BELIEVED if row.is_relays)
_ADDRESS = _Patterns(row for row in BELIEVED if row.group is HeaderGroup.ADDRESS)

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
"""Response fields that an upstream must not send: our error code, alternative addresses of the host, and fields that
tell an nginx, Apache or lighttpd in front of the relay to send one of its private files."""

_CDN_CACHING = frozenset({b"surrogate-control", b"x-accel-expires"})
HARMLESS = frozenset({b"", b"keep-alive", b"Keep-Alive", b"close", b"Upgrade", b"upgrade", b"keep-alive, Upgrade"})
"""Values of `Connection` that name only fields which are dropped in any case."""


def is_spoofable(name: bytes) -> bool:
    """Return whether a name in the form of `loose_name` sets a variable of the upstream that only the relay may set.

    CGI maps `X-Forwarded-For` to `HTTP_X_FORWARDED_FOR`; Java and .NET programs may read a field of the latter name
    too.
    """
    return _SPOOFABLE.match(name) or (name.startswith(b"http-") and _SPOOFABLE.match(name[5:]))


def is_relays(name: bytes) -> bool:
    """Return whether owners' header rules must not contain this request field; the name has the form of
    `loose_name`.
    """
    return _RELAYS.match(name)


def is_framing(name: bytes) -> bool:
    """Return whether a field is about framing or belongs to a single connection; the name has the form of
    `loose_name`.
    """
    return name in _FRAMING


def is_for_front_servers(name: bytes) -> bool:
    """Return whether an upstream must not send this response field; the name has the form of `loose_name`."""
    return name in _FOR_FRONT_SERVERS


def _request_kind(name: bytes) -> int:
    if name == b"te":
        return TE
    if name in _FRAMING or _ADDRESS.match(name.removeprefix(b"http-")):
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
        b"content-location": LOCATION,
        b"refresh": REFRESH,
        b"cache-control": CACHE_CONTROL,
        b"clear-site-data": CLEAR_SITE_DATA,
    }.get(name, KEEP)


REQUEST = Memo[bytes, int](lambda name: _request_kind(loose_name(name)), max_bytes=MAX_NAME)
RESPONSE = Memo[bytes, int](lambda name: _response_kind(loose_name(name)), max_bytes=MAX_NAME)
"""Caches the kind of each spelling of a field name."""
