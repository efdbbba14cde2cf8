"""What a relay is made of before anything runs: what `relay.py` gives to those that put it together."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import httpx

from tunnelctl.oidc.ports import PortRule
from tunnelrelay.address import PublicAddress
from tunnelrelay.config.config import RelayConfig
from tunnelrelay.observe.access import AccessLog
from tunnelrelay.observe.metrics import Metrics
from tunnelrelay.oidc.providers.ssrf_guard import GuardedTransport, GuardRules, provider_tls
from tunnelrelay.store.base import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What a relay is made of.

    Attributes:
        spawn: Runs what no caller waits for, until the relay stops.
        clock: Unix time.
        transport: Makes the calls to providers; None for the guarded one.
    """

    config: RelayConfig
    address: PublicAddress
    store: Store
    metrics: Metrics
    access: AccessLog
    spawn: Callable[[Coroutine[Any, Any, None]], None]
    clock: Callable[[], float]
    transport: httpx.AsyncBaseTransport | None

    @property
    def guard_rules(self) -> GuardRules:
        """Which addresses of providers may be called."""
        return GuardRules.of_relay(self.address, self.config.issuer_network, self.config.issuer_port)

    @property
    def port_rule(self) -> PortRule:
        """At which ports providers may be called."""
        return self.guard_rules.port_rule if self.transport is None else PortRule()

    def refuses_issuer(self, issuer: str) -> str:
        """Why providers with this issuer are not called, for the person who set it; "" when they are."""
        return self.guard_rules.issuer_fault(issuer) if self.transport is None else ""

    def provider_transport(self) -> httpx.AsyncBaseTransport:
        """Calls providers, each over connections of its own: what tenants try out must not take those of logins."""
        return self.transport or GuardedTransport(self.guard_rules, tls=provider_tls(self.config.issuer_ca))
