"""Secrets of edges and providers, sealed anew as soon as another key seals; and those in the clear, sealed.

Sessions die of age, and the keys that sealed them go a month later. What people set up stays: a key may be dropped once
another one has taken over, and nothing that was set up is lost with it.
"""

from dataclasses import replace

from tunnelctl.eventlog import EventLog
from tunnelrelay.services.edge_policy import EdgePolicies, Unreadable
from tunnelrelay.services.edge_settings import has_values
from tunnelrelay.services.provider_directory import open_secret, seal_secret
from tunnelrelay.services.service_base import ServiceBase

log = EventLog("tunnelrelay.services")


async def reencrypt(base: ServiceBase, policies: EdgePolicies) -> int:
    """Seals by the key that seals now whatever another one has sealed. Returns how many rows were written.

    What cannot be opened stays as it is. What a user changes at this moment is left for the next time: another relay
    may be doing the same.

    Raises:
        StoreError: The store is away.
    """
    kid, written = base.ring.sealing(base.clock()).kid, 0
    for edge in await base.store.edges.all():
        try:
            settings = policies.settings(edge).encode()
            # Earlier releases kept values of headers among the settings.
            is_due = has_values(edge.settings) or (edge.sealed and _kid(edge.sealed) != kid)
            sealed = policies.seal(edge.id, policies.open(edge)) if is_due else edge.sealed
        except Unreadable:
            continue
        if is_due:
            after = replace(edge, settings=settings, sealed=sealed, version=edge.version + 1)
            written += await base.store.edges.replace(after)
    for provider in await base.store.providers.all():
        secret = open_secret(base.ring, provider)
        if secret is not None and _kid(provider.sealed) != kid:
            sealed = seal_secret(base.ring, provider.id, secret)
            written += await base.store.providers.replace(
                replace(provider, sealed=sealed, version=provider.version + 1)
            )
    if written:
        log.info("secrets encrypted with the new key", rows=written, key=kid)
    return written


def _kid(sealed: bytes) -> str:
    """Which key sealed it; see `oidc.sealed` for the form."""
    return sealed.partition(b".")[2].partition(b".")[0].decode("latin-1")
