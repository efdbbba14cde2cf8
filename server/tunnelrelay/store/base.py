"""What a store offers: agents' tokens, visitors' sessions, one-time marks and remembered names.

Not here: anything live (who serves a name right now) and anything secret in the clear. Every implementation passes
`tests/store/test_contract.py`. Next: `memory.py`, then `store.py`.

Times are Unix seconds, given by the caller: a store has no clock.
"""

from dataclasses import dataclass
from typing import Protocol

from tunnelrelay.model import Token


class StoreError(Exception):
    """The store could not do it: away, full, locked or damaged. Callers that guard something refuse (fail closed)."""


class StoreTooNewError(StoreError):
    """The file was written by a newer release; this one must not touch it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRow:
    """A visitor's login as it lies in the store.

    Attributes:
        key: SHA-256 of the session id. Whoever reads the store cannot forge a cookie from it.
        host: The endpoint the session is good for, and no other.
        connection_id: The OpenID connection that vouched for it.
        epoch: Digest of that connection's configuration at login.
        expires_at: Absolute end; activity never moves it.
        sealed: The rest (claims, provider's tokens), sealed by the key ring; a store never opens it.
    """

    key: bytes
    host: str
    connection_id: str
    epoch: str
    issuer: str
    subject: str
    email: str
    created_at: float
    last_seen: float
    expires_at: float
    sealed: bytes


class Store(Protocol):
    """The seam between the relay and its database. Every method may raise `StoreError`."""

    async def add_token(self, token: Token, digest: bytes) -> None:
        """Keeps a new token. Raises StoreError when its id or digest exists already."""

    async def tokens(self, owner: str | None = None) -> list[Token]:
        """All tokens, revoked ones too, oldest first; only `owner`'s unless None."""

    async def revoke_token(self, token_id: str, at: float) -> Token | None:
        """The token as it is after revoking, or None when there is none. The first revocation's time stays."""

    async def token_by_digest(self, digest: bytes) -> Token | None:
        """The good token with this digest; None when unknown or revoked."""

    async def touch_token(self, token_id: str, at: float) -> None:
        """Notes the last use; an older time than the noted one changes nothing."""

    async def save_session(self, row: SessionRow) -> None:
        """Keeps a session, replacing one with the same key."""

    async def load_session(self, key: bytes) -> SessionRow | None:
        """The session, whether expired or not (the caller holds the clock), or None."""

    async def touch_session(self, key: bytes, last_seen: float) -> None:
        """Notes activity. Never moves it backwards and never brings back a deleted session."""

    async def delete_session(self, key: bytes) -> None:
        """Ends a session; none is no error."""

    async def delete_expired(self, now: float) -> int:
        """Drops sessions and one-time marks whose `expires_at` is at or before `now`. Returns how many."""

    async def use_once(self, key: bytes, expires_at: float) -> bool:
        """True for the first caller with this key, False for every later one until the mark has expired and gone."""

    async def remember_name(self, host: str, owner: str, at: float) -> None:
        """Notes who holds a host name, replacing what was noted before."""

    async def release_name(self, host: str) -> None:
        """Forgets a host name; none is no error."""

    async def remembered_names(self, since: float) -> list[tuple[str, str]]:
        """(host, owner) of every name remembered at or after `since`, by host."""

    async def ping(self) -> None:
        """Returns when the store answers."""

    async def close(self) -> None:
        """Lets go of files and connections. Safe to call twice."""
