"""The relay's public address as its operator configured it: scheme, domain, port, and the relay's own hosts.

Printed URLs, cookie rules, redirect URIs and the check of a Host's port all come from here; never from the Host field
of a request.
"""

import re
from dataclasses import dataclass
from typing import Literal

from tunnelctl.wire.texts import is_name

MAX_HOST = 253
OWN_HSTS_SECONDS = 365 * 86_400
"""For how long browsers open the relay's own hosts over https only, once they have seen one of its pages."""
HOST_CALLBACK_PATH = "/_tunnel/oidc/callback"
"""Where providers send visitors back to on an endpoint's own host, for owners who register that."""
CallbackKind = Literal["shared", "connection", "host"]
"""The one callback of all owners, one for each connection, or one on the endpoint's own host."""
CallbackPage = Literal["callback", "logged-out", "backchannel-logout"]
"""The callback host's pages for providers: back from a login, back from a logout, and where logout tokens go."""
RESERVED_LABELS = frozenset({"idp", "dashboard", "api", "www", "mail", "autoconfig", "wpad", "admin", "status"})
"""Names no tunnel can take: the relay's own hosts, and those that mail clients and browsers look up by themselves."""
TCP = "tcp://"
"""Begins the host of an endpoint that is a TCP port: `tcp://tun.example:20022`. No Host field can hold it, so that no
request is routed there, and no name of a web app is ever taken for one."""
_HOST_VALUE = re.compile(rb"([A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)\.?(?::([0-9]{1,5}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicAddress:
    """Where visitors reach this relay.

    Attributes:
        scheme: `http` or `https`, as visitors see it.
        domain: Lower-case, without a port.
        port: As visitors see it.
        callback_url: Replaces the default redirect URI; the other pages for providers lie beside it. "" for the
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
        """Whether visitors come over TLS."""
        return self.scheme == "https"

    @property
    def is_local(self) -> bool:
        """Whether the domain is `localhost` or below it: no DNS, no TLS, loopback only."""
        return self.domain == "localhost" or self.domain.endswith(".localhost")

    def strict_transport(self, seconds: int) -> str:
        """The value of `Strict-Transport-Security`; "" where browsers must not remember it.

        Not on `localhost`: browsers take it for every port, and the owner's other apps there speak plain http.
        """
        return f"max-age={seconds}" if seconds and self.is_secure and not self.is_local else ""

    @property
    def port_suffix(self) -> str:
        """`:8080`, or "" when it is the scheme's own."""
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
        """The callback host's address as providers know it, without a path.

        On `localhost` and below it is that literal name: several providers take plain http for nothing else.
        """
        return self.url("localhost" if self.is_local else self.idp_host)

    def callback_uri(self, page: CallbackPage, connection_id: str = "") -> str:
        """The URI of a page on the callback host; with a connection's id, of that connection's own page.

        With `callback_url` set, the other pages lie beside it, as they do beside the default.
        """
        callback = self.callback_url or self.callback_base + callback_path("callback")
        uri = callback if page == "callback" else f"{callback.rpartition('/')[0]}/{page}"
        return f"{uri}/{connection_id}" if connection_id else uri

    def logged_out_uri(self, connection_id: str) -> str:
        """The URI to which a provider sends visitors after its own logout; one for each connection with
        `is_multi_tenant`."""
        return self.callback_uri("logged-out", connection_id if self.is_multi_tenant else "")

    def callback_kind(self, callback: str) -> CallbackKind:
        """Which callback a connection uses, by its owner's setting (`relay`, `shared` or `host`).

        With one callback for all, a hostile owner's provider can have another provider's code delivered into a login of
        its own (the COAT attack). A path registered at one provider only cannot be reached from another.
        """
        if callback == "host":
            return "host"
        return "connection" if self.is_multi_tenant and callback != "shared" else "shared"

    def redirect_uri(self, callback: str, connection_id: str, host: str) -> str:
        """The redirect URI that an owner registers at the provider, exactly as logins send it.

        Args:
            callback: The connection's `callback`.
            host: The endpoint's.
        """
        kind = self.callback_kind(callback)
        if kind == "host":
            return self.url(host) + HOST_CALLBACK_PATH
        return self.callback_uri("callback", "" if kind == "shared" else connection_id)

    def url(self, host: str) -> str:
        """The address of a host, without a path; of a TCP port, which is its own address, the same."""
        if host.startswith(TCP):
            return host
        return f"{self.scheme}://{host}{self.port_suffix}"

    def canonical_host(self, value: bytes) -> str | None:
        """A Host field's value as the one spelling used everywhere else.

        Returns:
            Lower-case, without a trailing dot or port; None when it is no host name or names another port.
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
        """The host of a name under the domain."""
        return f"{label}.{self.domain}"

    def parts_of(self, host: str) -> tuple[str, str, int]:
        """Scheme, host name and port at which visitors reach an endpoint's host."""
        port = tcp_port(host)
        return (self.scheme, host, self.port) if port is None else ("tcp", self.domain, port)

    def tcp_host(self, port: int) -> str:
        """The host of the endpoint at a TCP port of this relay, as everything that goes by host has it."""
        return f"{TCP}{self.domain}:{port}"

    def label_of(self, host: str) -> str | None:
        """The reverse of `host_for_label`; None for hosts that are not one label below the domain."""
        label = host.removesuffix(f".{self.domain}")
        return label if label != host and "." not in label else None


def tcp_port(host: str) -> int | None:
    """The port of an endpoint's host that is a TCP port (`PublicAddress.tcp_host`); None for a web app's host."""
    return int(host.rpartition(":")[2]) if host.startswith(TCP) else None


def callback_path(page: CallbackPage) -> str:
    """The path of a page for providers on the callback host; with a connection's id, one segment below it."""
    return f"/oauth2/{page}"


def host_label_problem(label: str) -> str | None:
    """Why a name cannot be used as a host label, for people; None when it can.

    One canonical form (letters, digits, hyphens; RFC 5890 section 2.3.1) keeps look-alikes and second spellings out.
    """
    if label.startswith("_") or label in RESERVED_LABELS:
        return f"the name {label!r} is reserved"
    if not is_name(label):
        return f"{label[:80]!r} is not a name: use a-z, 0-9 and hyphens inside, at most 63 characters"
    if label[2:4] == "--":
        return f"{label!r} looks like an internationalised name, which are not offered"
    return None
