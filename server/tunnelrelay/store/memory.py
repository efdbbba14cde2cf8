"""A store that forgets everything with the process: for tests, and the plainest telling of what a store does."""

from dataclasses import replace

from tunnelrelay.model import Token
from tunnelrelay.store.base import SessionRow, StoreError


class MemoryStore:
    """`base.Store` in dicts. Grows without limit: not for a public relay."""

    def __init__(self) -> None:
        self._tokens: dict[str, Token] = {}
        self._token_ids: dict[bytes, str] = {}
        self._sessions: dict[bytes, SessionRow] = {}
        self._used: dict[bytes, float] = {}
        self._names: dict[str, tuple[str, float]] = {}

    async def add_token(self, token: Token, digest: bytes) -> None:
        """See `Store.add_token`."""
        if token.id in self._tokens or digest in self._token_ids:
            raise StoreError(f"token {token.id} exists already")
        self._tokens[token.id] = token
        self._token_ids[digest] = token.id

    async def tokens(self, owner: str | None = None) -> list[Token]:
        """See `Store.tokens`."""
        found = [token for token in self._tokens.values() if owner is None or token.owner == owner]
        return sorted(found, key=lambda token: (token.created_at, token.id))

    async def revoke_token(self, token_id: str, at: float) -> Token | None:
        """See `Store.revoke_token`."""
        token = self._tokens.get(token_id)
        if token is not None and token.revoked_at is None:
            token = self._tokens[token_id] = replace(token, revoked_at=at)
        return token

    async def token_by_digest(self, digest: bytes) -> Token | None:
        """See `Store.token_by_digest`."""
        token_id = self._token_ids.get(digest)
        token = None if token_id is None else self._tokens[token_id]
        return None if token is None or token.revoked_at is not None else token

    async def touch_token(self, token_id: str, at: float) -> None:
        """See `Store.touch_token`."""
        token = self._tokens.get(token_id)
        if token is not None and (token.last_used_at is None or token.last_used_at < at):
            self._tokens[token_id] = replace(token, last_used_at=at)

    async def save_session(self, row: SessionRow) -> None:
        """See `Store.save_session`."""
        self._sessions[row.key] = row

    async def load_session(self, key: bytes) -> SessionRow | None:
        """See `Store.load_session`."""
        return self._sessions.get(key)

    async def touch_session(self, key: bytes, last_seen: float) -> None:
        """See `Store.touch_session`."""
        row = self._sessions.get(key)
        if row is not None and row.last_seen < last_seen:
            self._sessions[key] = replace(row, last_seen=last_seen)

    async def delete_session(self, key: bytes) -> None:
        """See `Store.delete_session`."""
        self._sessions.pop(key, None)

    async def delete_expired(self, now: float) -> int:
        """See `Store.delete_expired`."""
        sessions = [key for key, row in self._sessions.items() if row.expires_at <= now]
        marks = [key for key, expires_at in self._used.items() if expires_at <= now]
        for key in sessions:
            del self._sessions[key]
        for key in marks:
            del self._used[key]
        return len(sessions) + len(marks)

    async def use_once(self, key: bytes, expires_at: float) -> bool:
        """See `Store.use_once`."""
        if key in self._used:
            return False
        self._used[key] = expires_at
        return True

    async def remember_name(self, host: str, owner: str, at: float) -> None:
        """See `Store.remember_name`."""
        self._names[host] = (owner, at)

    async def release_name(self, host: str) -> None:
        """See `Store.release_name`."""
        self._names.pop(host, None)

    async def remembered_names(self, since: float) -> list[tuple[str, str]]:
        """See `Store.remembered_names`."""
        return sorted((host, owner) for host, (owner, at) in self._names.items() if at >= since)

    async def ping(self) -> None:
        """See `Store.ping`."""

    async def close(self) -> None:
        """See `Store.close`."""
