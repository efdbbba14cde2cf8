"""The named providers in memory, so that agents can bind and edges can be compiled without reading the store.

`edge_sync.EdgeSync` keeps it up to date; `providers.py` changes providers.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from tunnelctl.eventlog import EventLog
from tunnelctl.policy.named import SIGN
from tunnelctl.wire.messages import OidcSpec
from tunnelctl.wire.problem import Problem
from tunnelrelay.keys.keyring import KeyRing
from tunnelrelay.policy.named_provider import NamedOidc
from tunnelrelay.services.provider_settings import ProviderSettings, merged
from tunnelrelay.store.resources import ProviderRow

log = EventLog("tunnelrelay.services")

PURPOSE = "provider"
"""Purpose for which a client secret is encrypted; the audience is the provider's id."""
MAX_SEALED = 8 * 1024


@dataclass(frozen=True, slots=True)
class _Known:
    """A provider in memory; its settings are None if they cannot be read."""

    row: ProviderRow
    settings: ProviderSettings | None = None
    client_secret: str = field(default="", repr=False)


class ProviderDirectory:
    """The named providers in memory, by name."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring
        self._by_name: dict[str, _Known] = {}

    def load(self, rows: Iterable[ProviderRow]) -> None:
        """Replace all providers. An unreadable one is kept as such: endpoints that use it refuse every visitor."""
        self._by_name = {row.name: self._read(row) for row in rows}

    def resolve(self, owner: str, spec: OidcSpec) -> NamedOidc | Problem:
        """Return the complete login for an owner who uses a named provider, or the problem; see
        `policy.named_provider.Resolve`.

        A provider that the owner may not use counts as unknown.
        """
        name = spec.issuer.removeprefix(SIGN)
        known = self._by_name.get(name)
        if known is None or not may_name(known.row, owner):
            return Problem("oidc.issuer", f"there is no provider @{name[:64]} that this owner may name")
        if known.settings is None:
            return Problem("oidc.issuer", f"the provider @{name} cannot be used: its client secret cannot be read")
        return merged(spec, known.settings, provider=known.row.id, client_secret=known.client_secret)

    def _read(self, row: ProviderRow) -> _Known:
        secret = open_secret(self._ring, row)
        try:
            settings = ProviderSettings.parse(row.settings)
        except msgspec.MsgspecError:
            secret = None
        if secret is None:
            log.error(
                "named provider cannot be read, endpoints that name it refuse all requests", name=row.name, id=row.id
            )
            return _Known(row)
        return _Known(row, settings, secret)


def may_name(row: ProviderRow, owner: str) -> bool:
    """Return whether endpoints of this owner may use the provider."""
    return not row.owners or owner in row.owners


def seal_secret(ring: KeyRing, provider_id: str, client_secret: str) -> bytes:
    """Return a client secret encrypted for the store."""
    return ring.seal(PURPOSE, provider_id, client_secret.encode("utf-8", "surrogatepass")).encode()


def open_secret(ring: KeyRing, row: ProviderRow) -> str | None:
    """Decrypt a client secret from the store; None when its key is gone."""
    plain = ring.open(PURPOSE, row.id, row.sealed.decode("latin-1"), MAX_SEALED)
    return None if plain is None else plain.decode("utf-8", "surrogatepass")
