"""Reads and writes sessions in the store: rows, and the encrypted records inside them. Makes no decisions."""

from dataclasses import dataclass, replace

import msgspec

from tunnelctl.eventlog import EventLog
from tunnelrelay.keys.keyring import KeyRing
from tunnelrelay.oidc.sessions.session import Grant, Record, sid_key
from tunnelrelay.oidc.tokens.identity import identity_of
from tunnelrelay.policy.rules import Claims, Connection
from tunnelrelay.store.base import SessionRow, SessionStore

log = EventLog(__name__)

MAX_SEALED = 48 * 1024
"""Maximum bytes of an encrypted record: claims, ID token and two more tokens at their limits are 30 KiB, and a third
more as text."""
PURPOSE = "session"


@dataclass(frozen=True, slots=True)
class StoredSession:
    """A session's row in the store, and the decrypted record in it."""

    row: SessionRow
    record: Record


class SessionRows:
    """The sessions of one store, encrypted with one key ring. Every method may raise StoreError."""

    def __init__(self, store: SessionStore, ring: KeyRing) -> None:
        self._store = store
        self._ring = ring

    async def load(self, id_digest: bytes) -> StoredSession | None:
        """Return the session's row and record; None when there is no row, or when this ring did not encrypt the record
        for this row.
        """
        row = await self._store.load_session(id_digest)
        record = None if row is None else self._opened(row)
        return None if row is None or record is None else StoredSession(row, record)

    async def add(
        self,
        id_digest: bytes,
        host: str,
        connection: Connection,
        *,
        issuer: str,
        claims: Claims,
        grant: Grant,
        now: float,
    ) -> StoredSession:
        """Store a new session."""
        record = Record(rules_version=connection.rules_version, claims=msgspec.json.encode(claims), grant=grant)
        identity = identity_of(claims, issuer=issuer)
        row = SessionRow(
            key=id_digest,
            host=host,
            connection_id=connection.id,
            epoch=connection.epoch,
            issuer=issuer,
            subject=identity.subject,
            email=identity.email,
            created_at=now,
            last_seen=now,
            expires_at=now + connection.max_seconds,
            sealed=self._sealed(id_digest, record),
            sid=sid_key(connection.id, grant.sid),
            client_id=connection.client_id,
        )
        await self._store.save_session(row)
        return StoredSession(row, record)

    async def change(
        self, kept: StoredSession, record: Record, *, last_seen: float, email: str | None = None
    ) -> StoredSession | None:
        """Replace the record if the row is unchanged since it was read; return None when it has changed.

        Args:
            last_seen: Time of the last use that this relay knows of.
            email: New e-mail address; None to leave it unchanged.
        """
        before = kept.row
        row = replace(
            before,
            sealed=self._sealed(before.key, record),
            version=before.version + 1,
            last_seen=max(before.last_seen, last_seen),
            email=before.email if email is None else email,
        )
        return StoredSession(row, record) if await self._store.replace_session(row) else None

    def _sealed(self, id_digest: bytes, record: Record) -> bytes:
        return self._ring.seal(PURPOSE, id_digest.hex(), record).encode("ascii")

    def _opened(self, row: SessionRow) -> Record | None:
        plain = self._ring.open(PURPOSE, row.key.hex(), row.sealed.decode("latin-1"), MAX_SEALED)
        if plain is None:
            log.warning("stored session cannot be decrypted", hint="the key ring was replaced, or the row was changed")
            return None
        return msgspec.msgpack.decode(plain, type=Record)
