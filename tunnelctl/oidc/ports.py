"""The rule for the ports at which a relay calls OpenID providers, shared by relay, agent and dashboard. Makes no
network calls.
"""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

DEFAULT_PORTS = frozenset({443, 8443})
"""Ports that a public relay calls by default. Few other services listen on them, so a tenant who chooses addresses
cannot use the relay to scan for services."""


@dataclass(frozen=True, slots=True)
class PortRule:
    """Which ports the relay may call.

    Attributes:
        ports: Allowed ports; None for all.
        takes_issuers: A port in the issuer's URL is allowed too, at the issuer's own host. False where owners are not
            trusted: each could name any port.
    """

    ports: frozenset[int] | None = None
    takes_issuers: bool = False

    def to_info(self) -> dict[str, Any]:
        """Return the rule as JSON for the relay's public information; `port_rule_in` reads it."""
        return {"ports": None if self.ports is None else sorted(self.ports), "issuers_own": self.takes_issuers}

    def refusal(self, url: str, issuer: str = "") -> str:
        """Return why the relay refuses to call a URL; "" when it may be called, or is not a URL (other checks refuse
        it).

        Args:
            issuer: The issuer that the URL belongs to; "" for none.
        """
        where = place(url)
        if where is None or self.ports is None or where[1] in self.ports:
            return ""
        if self.takes_issuers and where == place(issuer):
            return ""
        known = ", ".join(str(port) for port in sorted(self.ports))
        return f"port {where[1]} is none at which this relay calls OpenID providers (it calls {known})"


def hint(url: str) -> str:
    """Return advice for a URL whose port is refused."""
    where = place(url)
    return f"the relay's operator can allow it with --issuer-port {where[1]}" if where else ""


def place(url: str) -> tuple[str, int] | None:
    """Return host and port of a URL; None when it has none."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    except ValueError:
        return None
    host = (parts.hostname or "").rstrip(".")
    return (host, port) if host and port else None


def port_rule_in(document: Any) -> PortRule:
    """Read the rule from a relay's public information; without one, allow any port."""
    rule = document.get("issuer_ports")
    if not isinstance(rule, dict):
        return PortRule()
    ports = rule.get("ports")
    if not isinstance(ports, list) or not all(isinstance(port, int) for port in ports):
        return PortRule()
    return PortRule(frozenset(ports), rule.get("issuers_own") is True)
