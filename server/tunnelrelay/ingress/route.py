"""Routing: decides by a request's head whether it goes to an endpoint, to the relay's own pages, or is refused."""

from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate
from typing import Literal

import msgspec

from tunnelctl import __version__
from tunnelctl.http1.head import MAX_FIELDS, MAX_REQUEST_HEAD, MAX_TARGET, RequestHead
from tunnelctl.memo import Memo
from tunnelctl.wire.messages import SUBPROTOCOL
from tunnelrelay.address import PublicAddress
from tunnelrelay.model import Reply
from tunnelrelay.policy.headers import origin_form
from tunnelrelay.registry.endpoint import Endpoint
from tunnelrelay.registry.registry import Registry

CONNECT_PATH = b"/_tunnel/connect"
INFO_PATH = b"/_tunnel/info"
READY_PATH = b"/_tunnel/ready"
RESERVED_PREFIX = b"/_tunnel/"
LOGIN_ALIASES = (b"/ngrok/login", b"/ngrok/logout")
"""ngrok's paths for login and logout, which people may have bookmarked. Only endpoints with a login reserve them."""

API_PATH = b"/_tunnel/api/"
"""The path under which a relay on localhost serves the API too, as many clients do not resolve `api.localhost`."""

Kind = Literal["endpoint", "idp", "domain", "dashboard", "api"]


@dataclass(frozen=True, slots=True)
class Forwarded:
    """Routing decision: forward the request to a tunnel of this endpoint."""

    host: str
    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class Own:
    """Routing decision: pass the request to the relay's own pages; `kind` names the part of them."""

    host: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Accept:
    """Routing decision: the request is an agent's, for a link."""


@dataclass(frozen=True, slots=True)
class Unwanted:
    """Routing decision: answer with the error of this code."""

    code: str
    host: str = ""
    closes: bool = False


Routed = Forwarded | Own | Accept | Unwanted | Reply


class Router:
    """Decides where each request to the relay goes.

    Args:
        is_token_free: Whether agents need no token, on loopback with the domain `localhost` only.
        redirects: Whether plain http is redirected to https.
        issuer_ports: The ports at which OpenID providers are called, in the form of `tunnelctl.oidc.ports`.
    """

    def __init__(
        self,
        address: PublicAddress,
        registry: Registry,
        *,
        is_token_free: bool = False,
        redirects: bool = False,
        issuer_ports: Mapping[str, object] | None = None,
    ) -> None:
        self._address = address
        self._registry = registry
        self._is_token_free = is_token_free
        self._redirects = redirects
        self._issuer_ports = issuer_ports
        self._hosts = Memo(self._read_host, max_bytes=MAX_HOST)

    def route(self, head: RequestHead, *, sni: str | None, is_secure: bool) -> Routed:
        """Decide where a request goes. Returns the decision, or a response of the relay's own.

        Args:
            sni: Server name of the TLS handshake; None without one.
            is_secure: Whether the request came over TLS, to the relay or to a trusted proxy.
        """
        target = head.target
        if target.startswith(RESERVED_PREFIX) and (own := self._matched_before_hosts(head, is_secure)) is not None:
            return own
        known = self._hosts[head.host]
        if known is None:
            return Unwanted("bad_request", closes=True)
        host, spelling = known
        if head.host != spelling:
            head.respell_host(spelling)
        if sni is not None and sni != host:
            return Unwanted("misdirected", host, closes=True)
        if target == b"*":
            return Reply(204, ((b"Allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),))
        if not target.startswith(b"/") and not self._is_same_authority(head, host):
            return Unwanted("bad_request", host, closes=True)
        if self._redirects and not is_secure:
            return self._to_https(head, host)
        endpoint = self._registry.find(host)
        if endpoint is not None:
            return self._within(endpoint, head)
        return self._own_host(head, host)

    def _within(self, endpoint: Endpoint, head: RequestHead) -> Routed:
        path = head.target
        if not path.startswith(b"/"):
            path = b"/" + path.partition(b"://")[2].partition(b"/")[2]
        if path.startswith(RESERVED_PREFIX) and not is_probe(head):
            return Own(endpoint.host, "endpoint")
        if path.startswith(b"/ngrok/") and head.path in LOGIN_ALIASES and self._has_login(endpoint):
            return Own(endpoint.host, "endpoint")
        return Forwarded(endpoint.host, endpoint)

    def _own_host(self, head: RequestHead, host: str) -> Routed:
        address = self._address
        # A relay on localhost has its callback at this host, as providers allow plain http for no other name.
        is_local_callback = address.is_local and host == "localhost" and head.path.startswith(b"/oauth2/")
        if host == address.idp_host or is_local_callback:
            return Own(host, "idp")
        if host == address.domain:
            return Own(host, "domain")
        if host == address.dashboard_host:
            return Own(host, "dashboard")
        if host == address.api_host:
            return Own(host, "api")
        return Unwanted("endpoint_not_found", host)

    def _matched_before_hosts(self, head: RequestHead, is_secure: bool) -> Routed | None:
        """Route the paths for agents and scripts that are served under any Host; None for other paths."""
        path = head.path
        if path == CONNECT_PATH:
            is_here = _is_loopback_name(head.host)
            if head.get(b"origin") is not None or (self._is_token_free and not is_here):
                # Refuse web pages and rebound names, so that no site can publish from a developer's machine.
                return Unwanted("connect_refused", closes=True)
            if self._redirects and not is_secure and not is_here:
                # The token was sent unencrypted. The refusal makes people correct the agent's URL.
                return Unwanted("connect_refused", closes=True)
            return Accept()
        if path.startswith(API_PATH) and self._address.is_local and _is_loopback_name(head.host):
            return Own(self._address.api_host, "api")
        if path == INFO_PATH and head.method in (b"GET", b"HEAD"):
            # `tunnel diagnose` compares clocks by the Date field.
            date = formatdate(usegmt=True).encode()
            return Reply(200, ((b"Content-Type", b"application/json"), (b"Date", date)), self._info())
        return None

    def _info(self) -> bytes:
        address = self._address
        return msgspec.json.encode(
            {
                "version": __version__,
                "protocols": [SUBPROTOCOL],
                "domain": address.domain,
                "url": address.url("*." + address.domain),
                # Names under `localhost` resolve only in browsers and curl.
                "api_url": address.url("127.0.0.1") + API_PATH.decode().rstrip("/")
                if address.is_local
                else address.url(address.api_host),
                "multi_tenant": address.is_multi_tenant,
                "redirect_uri": address.redirect_uri("relay", "{connection}", "{host}"),
                "redirect_uris": {
                    wish: address.redirect_uri(wish, "{connection}", "{host}") for wish in ("relay", "shared", "host")
                },
                "issuer_ports": self._issuer_ports,
                "needs_token": not self._is_token_free,
                "limits": {"head_bytes": MAX_REQUEST_HEAD, "target_bytes": MAX_TARGET, "fields": MAX_FIELDS},
            }
        )

    def _read_host(self, value: bytes) -> tuple[str, bytes] | None:
        """Return the canonical host of a Host field's value, and the value that the app gets; None for an invalid one.

        The app gets the canonical host, with the relay's port if the value had a port.
        """
        host = self._address.canonical_host(value)
        port = b":%d" % self._address.port if b":" in value else b""
        return (host, host.encode() + port) if host is not None else None

    def _is_same_authority(self, head: RequestHead, host: str) -> bool:
        authority = head.target.partition(b"://")[2].partition(b"/")[0].partition(b"?")[0]
        return self._address.canonical_host(authority) == host

    def _to_https(self, head: RequestHead, host: str) -> Routed:
        if not (host == self._address.domain or host.endswith("." + self._address.domain)):
            return Unwanted("endpoint_not_found", host)
        if head.method not in (b"GET", b"HEAD"):
            # The content was sent unencrypted; a redirect would hide that from the sender.
            return Unwanted("https_required", host, closes=True)
        where = self._address.url(host).encode() + origin_form(head.target)
        return Reply(308, ((b"Location", where), (b"Cache-Control", b"no-store")))

    def _has_login(self, endpoint: Endpoint) -> bool:
        return endpoint.policy is None or endpoint.policy.connection is not None


MAX_HOST = 300
"""Bytes of the longest Host value that is cached: a name has at most 253 (RFC 1035), and a port six more."""


def is_probe(head: RequestHead) -> bool:
    """Whether a request is a probe of the public address, which agents send and answer themselves.

    No policy applies to it, so it must be exactly the request that agents answer without their local service.
    """
    return head.target == READY_PATH and head.method == b"GET" and not head.has_body and not head.upgrade


def _is_loopback_name(host: bytes) -> bool:
    name = host.lower()
    name = name[: name.find(b"]") + 1] if name.startswith(b"[") else name.partition(b":")[0]
    if name in (b"localhost", b"[::1]"):
        return True
    parts = name.split(b".")
    return len(parts) == 4 and parts[0] == b"127" and all(part.isdigit() and len(part) <= 3 for part in parts)
