"""The relay's public address as its operator configured it: scheme, domain, port, and the relay's own hosts.

Printed URLs, cookie rules, redirect URIs and the check of a Host's port use this address, never the Host field of a
request.
"""

import re
from dataclasses import dataclass
from typing import Literal

from tunnelctl.wire.texts import is_name

MAX_HOST = 253
OWN_HSTS_SECONDS = 365 * 86_400
"""Seconds for which browsers open the relay's own hosts over https only, after they have seen one of its pages
(HSTS)."""
HOST_CALLBACK_PATH = "/_tunnel/oidc/callback"
"""Path of the OpenID Connect callback on an endpoint's own host, for owners who register that redirect URI."""
CallbackKind = Literal["shared", "connection", "host"]
"""Kind of OpenID Connect callback: one for all owners, one for each connection, or one on the endpoint's own host."""
CallbackPage = Literal["callback", "logged-out", "backchannel-logout"]
"""Pages on the callback host for providers: the end of a login, the end of a logout, and the receiver of logout
tokens."""
RESERVED_LABELS = frozenset({"idp", "dashboard", "api", "www", "mail", "autoconfig", "wpad", "admin", "status"})
"""Names that no tunnel can have: the relay's own hosts, and names that mail clients and browsers look up by
themselves."""
TCP = "tcp://"
"""Prefix of the host of an endpoint that is a TCP port: `tcp://tun.example:20022`. A Host field cannot contain it, so
that no HTTP request is routed there, and no web app's host is mistaken for a TCP port."""
_HOST_VALUE = re.compile(rb"([A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)\.?(?::([0-9]{1,5}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicAddress:
    """The address at which visitors reach this relay.

    Attributes:
        scheme: `http` or `https`, as visitors see it.
        domain: The relay's domain in lower case, without a port.
        port: Port as visitors see it.
        callback_url: Replaces the default redirect URI; the other pages for providers are siblings of it. "" for the
            default.
        is_multi_tenant: Owners do not trust each other, so each connection gets its own callback.
    """

    scheme: str
    domain: str
    port: int
    callback_url: str = ""
    is_multi_tenant: bool = False

    @property
    def is_secure(self) -> bool:
        """Whether visitors use TLS."""
        return self.scheme == "https"

    @property
    def is_local(self) -> bool:
        """Whether the domain is `localhost` or a subdomain of it, which means: no DNS, no TLS, loopback only."""
        return self.domain == "localhost" or self.domain.endswith(".localhost")

    def strict_transport(self, seconds: int) -> str:
        """Return the value of `Strict-Transport-Security`; "" where browsers must not remember it.

        Empty on `localhost`: browsers apply the field to every port, and other apps on this machine use plain http.
        """
        return f"max-age={seconds}" if seconds and self.is_secure and not self.is_local else ""

    @property
    def port_suffix(self) -> str:
        """The port with a colon, such as `:8080`; "" for the scheme's default port."""
        return "" if self.port == (443 if self.is_secure else 80) else f":{self.port}"

    @property
    def idp_host(self) -> str:
        """The host of the login callback."""
        return f"idp.{self.domain}"

    @property
    def dashboard_host(self) -> str:
        """The host of the dashboard."""
        return f"dashboard.{self.domain}"

    @property
    def api_host(self) -> str:
        """The host of the API."""
        return f"api.{self.domain}"

    @property
    def callback_base(self) -> str:
        """The base URL of the callback host, without a path.

        If the domain is `localhost` or below it, the host is `localhost` itself: several providers accept plain http
        only there.
        """
        return self.url("localhost" if self.is_local else self.idp_host)

    def callback_uri(self, page: CallbackPage, connection_id: str = "") -> str:
        """Return the URI of a page on the callback host; with a connection's id, of the page for that connection.

        With `callback_url` set, the other pages are siblings of it, as they are of the default.
        """
        callback = self.callback_url or self.callback_base + callback_path("callback")
        uri = callback if page == "callback" else f"{callback.rpartition('/')[0]}/{page}"
        return f"{uri}/{connection_id}" if connection_id else uri

    def logged_out_uri(self, connection_id: str) -> str:
        """Return the URI to which a provider sends visitors after its logout; with `is_multi_tenant` each connection
        has its own.
        """
        return self.callback_uri("logged-out", connection_id if self.is_multi_tenant else "")

    def callback_kind(self, callback: str) -> CallbackKind:
        """Return the kind of callback a connection uses, by its owner's setting (`relay`, `shared` or `host`).

        With one callback for all owners, a hostile owner's provider could have another provider's code delivered into
        one of its own logins (the COAT attack). A path registered at one provider only cannot be used by another.
        """
        if callback == "host":
            return "host"
        return "connection" if self.is_multi_tenant and callback != "shared" else "shared"

    def redirect_uri(self, callback: str, connection_id: str, host: str) -> str:
        """Return the redirect URI that an owner must register at the provider, exactly as logins send it.

        Args:
            callback: The connection's `callback` setting.
            host: Host of the endpoint.
        """
        kind = self.callback_kind(callback)
        if kind == "host":
            return self.url(host) + HOST_CALLBACK_PATH
        return self.callback_uri("callback", "" if kind == "shared" else connection_id)

    def url(self, host: str) -> str:
        """Return the URL of a host, without a path.

        The host of a TCP port is returned unchanged, as it is a URL already.
        """
        if host.startswith(TCP):
            return host
        return f"{self.scheme}://{host}{self.port_suffix}"

    def canonical_host(self, value: bytes) -> str | None:
        """Return the canonical form of a Host field's value, which all other code uses.

        Returns:
            The host in lower case, without trailing dot and port; None when it is not a host name or has another port.
        """
        match = _HOST_VALUE.fullmatch(value)
        if match is None or len(value) > MAX_HOST + 6:
            return None
        port = match[2]
        if port is not None and int(port) != self.port:
            return None
        host = match[1].decode().lower()
        return host if ".." not in host else None

    def host_for_label(self, label: str) -> str:
        """Return the host for a name under the domain."""
        return f"{label}.{self.domain}"

    def parts_of(self, host: str) -> tuple[str, str, int]:
        """Return scheme, host name and port at which visitors reach an endpoint's host."""
        port = tcp_port(host)
        return (self.scheme, host, self.port) if port is None else ("tcp", self.domain, port)

    def tcp_host(self, port: int) -> str:
        """Return the host of the endpoint at a TCP port of this relay, for tables and functions that are keyed by
        host.
        """
        return f"{TCP}{self.domain}:{port}"

    def label_of(self, host: str) -> str | None:
        """Return the name for a host, the reverse of `host_for_label`; None for hosts that are not one label below the
        domain.
        """
        label = host.removesuffix(f".{self.domain}")
        return label if label != host and "." not in label else None


def tcp_port(host: str) -> int | None:
    """Return the port if the host is that of a TCP endpoint (`PublicAddress.tcp_host`); None for a web app's host."""
    return int(host.rpartition(":")[2]) if host.startswith(TCP) else None


def callback_path(page: CallbackPage) -> str:
    """Return the path of a page for providers on the callback host. A connection's own page is one segment below it."""
    return f"/oauth2/{page}"


def host_label_problem(label: str) -> str | None:
    """Return why a name cannot be a label of a host name, for display; None when it can.

    Only one canonical form is allowed (letters, digits, hyphens; RFC 5890 section 2.3.1), to exclude look-alikes.
    """
    if label.startswith("_") or label in RESERVED_LABELS:
        return f"the name {label!r} is reserved"
    if not is_name(label):
        return f"{label[:80]!r} is not a name: use a-z, 0-9 and hyphens inside, at most 63 characters"
    if label[2:4] == "--":
        return f"{label!r} looks like an internationalised name, which are not offered"
    return None
