"""The rule at which ports a relay calls OpenID providers, for relay, agent and dashboard. Pure."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

DEFAULT_PORTS = frozenset({443, 8443})
"""What a public relay calls unless its operator says otherwise. Few other services answer there: a tenant who chooses
addresses cannot use the relay to look for them."""


@dataclass(frozen=True, slots=True)
class PortRule:
    """Which ports may be called.

    Attributes:
        ports: None for any.
        takes_issuers: The port that an issuer names is fine too, at the issuer's own host. Not where owners are
            strangers: each could name any port.
    """

    ports: frozenset[int] | None = None
    takes_issuers: bool = False

    def to_info(self) -> dict[str, Any]:
        """The rule for the relay's public information; `port_rule_in` reads it."""
        return {"ports": None if self.ports is None else sorted(self.ports), "issuers_own": self.takes_issuers}

    def refusal(self, url: str, issuer: str = "") -> str:
        """Why a URL is not called; "" when it may be, or is no URL and refused elsewhere.

        Args:
            issuer: Whose endpoint it is; "" when the URL is none.
        """
        where = place(url)
        if where is None or self.ports is None or where[1] in self.ports:
            return ""
        if self.takes_issuers and where == place(issuer):
            return ""
        known = ", ".join(str(port) for port in sorted(self.ports))
        return f"port {where[1]} is none at which this relay calls OpenID providers (it calls {known})"


def hint(url: str) -> str:
    """What to do about a refused port."""
    where = place(url)
    return f"the relay's operator can allow it with --issuer-port {where[1]}" if where else ""


def place(url: str) -> tuple[str, int] | None:
    """Host and port of a URL; None when it has none."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    except ValueError:
        return None
    host = (parts.hostname or "").rstrip(".")
    return (host, port) if host and port else None


def port_rule_in(document: Any) -> PortRule:
    """The rule that a relay tells in its information; any port where it tells none."""
    rule = document.get("issuer_ports")
    if not isinstance(rule, dict):
        return PortRule()
    ports = rule.get("ports")
    if not isinstance(ports, list) or not all(isinstance(port, int) for port in ports):
        return PortRule()
    return PortRule(frozenset(ports), rule.get("issuers_own") is True)
