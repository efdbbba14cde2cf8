"""Encrypts the secrets of edges and providers again after a key rotation, and encrypts those that are still in clear
text.

Sessions expire before the keys that encrypted them are dropped, a month later. Edges and providers stay, so their
secrets must be encrypted with the current key before an old one is dropped.
"""

from dataclasses import replace

from tunnelctl.eventlog import EventLog
from tunnelrelay.services.edge_policy import EdgePolicies, Unreadable
from tunnelrelay.services.edge_settings import has_values
from tunnelrelay.services.provider_directory import open_secret, seal_secret
from tunnelrelay.services.service_base import ServiceBase

log = EventLog("tunnelrelay.services")


async def reencrypt(base: ServiceBase, policies: EdgePolicies) -> int:
    """Encrypt again, with the current key, all secrets that an older key encrypted. Return the number of rows written.

    Secrets that cannot be decrypted stay as they are. Rows that change meanwhile are left for the next run; another
    relay may be doing the same.

    Raises:
        StoreError: The store is unavailable.
    """
    kid, written = base.ring.sealing(base.clock()).kid, 0
    for edge in await base.store.edges.all():
        try:
            settings = policies.settings(edge).encode()
            # Earlier releases stored header values among the settings.
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
    """Return the id of the key that sealed a blob; `keys.keyring` defines the format."""
    return sealed.partition(b".")[2].partition(b".")[0].decode("latin-1")
