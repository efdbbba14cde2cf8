"""A relay's store in dicts, for tests that need no database. tests/store checks it by the contract of the real ones."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf
from typing import Any

from tests.support.memory_collection import MemoryCollection
from tunnelrelay.address import tcp_port
from tunnelrelay.model import Token
from tunnelrelay.store import schema
from tunnelrelay.store.base import (
    ENDED_SECONDS,
    FREED_AT,
    KEEP_EXPIRED,
    KEEP_REVOKED,
    MAX_COOLED,
    MAX_COOLING,
    PURGED_AT_ONCE,
    AuditRow,
    NameRow,
    SessionCriteria,
    SessionHolder,
    SessionRow,
    StoreError,
)
from tunnelrelay.store.resources import (
    COLLECTIONS,
    ApiKeyRow,
    BackendRow,
    DomainRow,
    EdgeRow,
    ProviderRow,
    R,
    SignInRow,
    TrustRuleRow,
    UserRow,
)
from tunnelrelay.store.texts import fitted


class MemoryStore:
    """An implementation of `base.Store` in dicts, without limits of size.

    Attributes:
        session_rows: The rows of visitors' sessions, by key.
    """

    def __init__(self) -> None:
        self._tokens: dict[str, Token] = {}
        self._token_ids: dict[bytes, str] = {}
        self.session_rows: dict[bytes, SessionRow] = {}
        self._used: dict[bytes, float] = {}
        self._ended: dict[bytes, float] = {}
        self._names: dict[str, NameRow] = {}
        self._audit: list[AuditRow] = []
        self._revisions: Counter[str] = Counter()
        self.users = self._collection("users", UserRow, "name", "key")
        self.api_keys = self._collection("api_keys", ApiKeyRow, "digest")
        self.sign_ins = self._collection("sign_ins", SignInRow, "key")
        self.domains = self._collection("domains", DomainRow, "host")
        self.backends = self._collection("backends", BackendRow)
        self.edges = self._collection("edges", EdgeRow, "host")
        self.providers = self._collection("providers", ProviderRow, "name")
        self.trust_rules = self._collection("trust_rules", TrustRuleRow)

    def _collection(self, kind: str, _made_of: type[R], *unique: str) -> MemoryCollection[R]:
        table = schema.metadata.tables[kind]
        return MemoryCollection(table, unique, lambda: self._revise(kind), lambda other: getattr(self, other))

    def _revise(self, kind: str) -> None:
        self._revisions[kind] += 1

    async def revisions(self) -> dict[str, int]:
        return {kind: self._revisions[kind] for kind in (*(kind for kind, _ in COLLECTIONS), "tokens")}

    async def reserve_domain(
        self, row: DomainRow, at: float, *, lost_seconds: float, cool_seconds: float
    ) -> NameRow | None:
        fitted(schema.domains, row)
        before = self._names.get(row.host)
        held = await self.claim_name(row.host, row.owner, at, lost_seconds=lost_seconds, cool_seconds=cool_seconds)
        if held.owner != row.owner or await self.domains.add(row):
            return held
        if before is None:
            del self._names[row.host]
        else:
            self._names[row.host] = before
        return None

    async def give_up_domain(self, row_id: str, at: float) -> DomainRow | None:
        gone = await self.domains.delete(row_id)
        known = None if gone is None else self._names.get(gone.host)
        if gone is not None and known is not None and known.owner == gone.owner:
            self._names[gone.host] = replace(known, released_at=at, at=at)
        return gone

    async def add_token(self, token: Token, digest: bytes) -> None:
        if token.id in self._tokens or digest in self._token_ids:
            raise StoreError(f"token {token.id} exists already")
        self._tokens[token.id] = fitted(schema.tokens, token)
        self._token_ids[digest] = token.id
        self._revise("tokens")

    async def token(self, token_id: str) -> Token | None:
        return self._tokens.get(token_id)

    async def token_page(self, *, owner: str | None = None, before: str | None = None, limit: int = 100) -> list[Token]:
        found = [
            token
            for token in self._tokens.values()
            if owner in (None, token.owner) and token.revoked_at is None and (before is None or token.id < before)
        ]
        return sorted(found, key=lambda token: token.id, reverse=True)[:limit]

    async def change_token(self, before: Token, after: Token) -> bool:
        known, after = self._tokens.get(after.id), fitted(schema.tokens, after)
        if known is None:
            return False
        names = ("description", "metadata", "acl", "expires_at")
        changes: dict[str, Any] = {name: getattr(after, name) for name in names}
        changes = {name: value for name, value in changes.items() if value != getattr(before, name)}
        self._tokens[after.id] = replace(known, **changes)
        self._revise("tokens")
        return True

    async def tokens(self, owner: str | None = None) -> list[Token]:
        found = [token for token in self._tokens.values() if owner is None or token.owner == owner]
        return sorted(found, key=lambda token: (token.created_at, token.id))

    async def revoke_token(self, token_id: str, at: float) -> Token | None:
        token = self._tokens.get(token_id)
        if token is not None and token.revoked_at is None:
            token = self._tokens[token_id] = replace(token, revoked_at=at)
            self._revise("tokens")
        return token

    async def revoked_tokens(self, since: float) -> list[str]:
        return [
            token.id for token in self._tokens.values() if token.revoked_at is not None and token.revoked_at >= since
        ]

    async def token_by_digest(self, digest: bytes) -> Token | None:
        token_id = self._token_ids.get(digest)
        token = None if token_id is None else self._tokens[token_id]
        return None if token is None or token.revoked_at is not None else token

    async def touch_token(self, token_id: str, at: float) -> None:
        token = self._tokens.get(token_id)
        if token is not None and (token.last_used_at is None or token.last_used_at < at):
            self._tokens[token_id] = replace(token, last_used_at=at)

    async def save_session(self, row: SessionRow) -> None:
        self.session_rows[row.key] = fitted(schema.sessions, row)

    async def replace_session(self, row: SessionRow) -> bool:
        known = self.session_rows.get(row.key)
        if known is None or known.version != row.version - 1:
            return False
        self.session_rows[row.key] = fitted(schema.sessions, row)
        return True

    async def load_session(self, key: bytes) -> SessionRow | None:
        return self.session_rows.get(key)

    async def sessions(
        self, criteria: SessionCriteria | None = None, *, limit: int = 1000, after: SessionHolder | None = None
    ) -> list[SessionHolder]:
        rows = self.session_rows.values()
        found = _by_age([row for row in rows if criteria is None or self._is_meant(row, criteria)])
        if after is not None:
            found = [row for row in found if (-row.last_seen, row.key) > (-after.last_seen, after.key)]
        return [_signed_in(row) for row in found[:limit]]

    def _is_meant(self, row: SessionRow, criteria: SessionCriteria) -> bool:
        if criteria.owner is not None:
            name, owner = self._names.get(row.host), criteria.owner
            hosts = {one.host for one in self.domains.rows() if one.owner == owner}
            hosts |= {one.host or "" for one in self.edges.rows() if one.owner == owner}
            if row.host not in hosts and (name is None or name.owner != owner):
                return False
        return _is_meant(row, criteria)

    async def connections(self, criteria: SessionCriteria, *, limit: int) -> list[str]:
        rows = self.session_rows.values()
        return sorted({row.connection_id for row in rows if self._is_meant(row, criteria)})[:limit]

    async def touch_session(self, key: bytes, last_seen: float) -> None:
        row = self.session_rows.get(key)
        if row is not None and row.last_seen < last_seen:
            self.session_rows[key] = replace(row, last_seen=last_seen)

    async def end_sessions(self, criteria: SessionCriteria, at: float) -> list[bytes]:
        return self._end([row.key for row in self.session_rows.values() if self._is_meant(row, criteria)], at)

    async def revoke_sessions(self, criteria: SessionCriteria, at: float) -> list[SessionHolder]:
        found = [row for row in self.session_rows.values() if self._is_meant(row, criteria)]
        self._end([row.key for row in found], at)
        return [_signed_in(row) for row in found]

    async def end_oldest(self, criteria: SessionCriteria, keep: int, at: float) -> list[bytes]:
        found = [row for row in self.session_rows.values() if self._is_meant(row, criteria)]
        return self._end([row.key for row in _by_age(found)[keep:]], at)

    async def ended_since(self, at: float) -> list[bytes]:
        return sorted((key for key, ended_at in self._ended.items() if ended_at >= at), key=self._ended.__getitem__)

    async def delete_expired(self, now: float) -> int:
        sessions = [key for key, row in self.session_rows.items() if row.expires_at <= now]
        marks = [key for key, expires_at in self._used.items() if expires_at <= now]
        for key in sessions:
            del self.session_rows[key]
        for key in marks:
            del self._used[key]
        self._ended = {key: at for key, at in self._ended.items() if at >= now - ENDED_SECONDS}
        return len(sessions) + len(marks)

    async def use_once(self, key: bytes, expires_at: float) -> bool:
        if key in self._used:
            return False
        self._used[key] = expires_at
        return True

    async def lease(self, key: bytes, now: float, until: float) -> bool:
        if self._used.get(key, now) > now:
            return False
        self._used[key] = until
        return True

    async def give_back(self, key: bytes) -> None:
        self._used.pop(key, None)

    async def claim_name(
        self, host: str, owner: str, at: float, *, lost_seconds: float, cool_seconds: float
    ) -> NameRow:
        known = self._names.get(host)
        reserved = await self.domains.find(host=host)
        if known is None:
            new = NameRow(host=host, owner=owner if reserved is None else reserved.owner, at=at)
            self._names[host] = fitted(schema.names, new)
        elif reserved is not None and reserved.owner != owner:
            return known
        elif known.owner == owner:
            self._names[host] = replace(known, at=at, released_at=None)
        else:
            left_at = known.at + lost_seconds if known.released_at is None else known.released_at
            if left_at + cool_seconds <= at:
                self._names[host] = NameRow(host=host, owner=owner, at=at, generation=known.generation + 1)
        return self._names[host]

    async def touch_names(self, hosts: Sequence[str], at: float) -> None:
        for host in hosts:
            if (known := self._names.get(host)) is not None and known.released_at is None:
                self._names[host] = replace(known, at=at)

    async def release_name(self, host: str, owner: str, at: float) -> None:
        known = self._names.get(host)
        if known is not None and known.owner == owner and known.released_at is None:
            self._names[host] = replace(known, released_at=at)

    async def name(self, host: str) -> NameRow | None:
        return self._names.get(host)

    async def names(self, since: float) -> list[NameRow]:
        held = [row for row in self._names.values() if row.at >= since and row.released_at is None]
        return sorted(held, key=lambda row: row.host)

    async def all_names(self, owner: str | None = None) -> list[NameRow]:
        return sorted((row for row in self._names.values() if owner in (None, row.owner)), key=lambda row: row.host)

    async def cooling_names(self, owner: str, since: float, *, unlike: str) -> list[str]:
        hosts = (host for host in self._cooling(owner, since)[:MAX_COOLED] if tcp_port(host) is None)
        return [host for host in hosts if not re.match(unlike, host)][:MAX_COOLING]

    async def cooling_ports(self, owner: str, since: float) -> list[str]:
        return [host for host in self._cooling(owner, since) if tcp_port(host) is not None]

    def _cooling(self, owner: str, since: float) -> list[str]:
        """Return the hosts that an owner has released since a Unix time, the latest first."""
        rows = (row for row in self._names.values() if row.owner == owner)
        given_up = [(row.released_at, row.host) for row in rows if row.released_at is not None]
        return [host for at, host in sorted(given_up, reverse=True) if at > since]

    async def delete_spent(self, now: float) -> int:
        spent = [
            token.id
            for token in self._tokens.values()
            if _is_past(token.revoked_at, now - KEEP_REVOKED) or _is_past(token.expires_at, now - KEEP_EXPIRED)
        ]
        for token_id in spent:
            del self._tokens[token_id]
        self._token_ids = {digest: name for digest, name in self._token_ids.items() if name in self._tokens}
        keys = [row.id for row in self.api_keys.rows() if _is_past(row.expires_at, now - KEEP_EXPIRED)]
        over = [row.id for row in self.sign_ins.rows() if _is_past(row.expires_at, now)]
        for row_id in keys:
            await self.api_keys.delete(row_id)
        for row_id in over:
            await self.sign_ins.delete(row_id)
        if spent:
            self._revise("tokens")
        return len(spent) + len(keys) + len(over)

    async def free_name(self, host: str) -> NameRow | None:
        if host in self._names:
            self._names[host] = replace(self._names[host], released_at=FREED_AT)
        return self._names.get(host)

    async def forget_names(self, is_meant: Callable[[str], bool], before: float) -> int:
        reserved = {row.host for row in await self.domains.all()}
        rows = [row for row in self._names.values() if row.host not in reserved and is_meant(row.host)]
        stale = [row.host for row in rows if max(row.at, row.released_at or row.at) <= before]
        for host in stale:
            del self._names[host]
        return len(stale)

    async def add_audit(self, rows: Sequence[AuditRow]) -> None:
        kept = [fitted(schema.audit, row) for row in rows]
        self._audit += [replace(row, id=number) for number, row in enumerate(kept, len(self._audit) + 1)]

    async def audit(
        self,
        *,
        since: float = 0.0,
        before: int | None = None,
        host: str | None = None,
        kind: str | None = None,
        owner: str | None = None,
        limit: int = 100,
    ) -> list[AuditRow]:
        found = [
            row
            for row in reversed(self._audit)
            if row.at >= since
            and (before is None or row.id < before)
            and (host is None or row.host == host)
            and (kind is None or row.kind == kind)
            and (owner is None or row.owner == owner)
        ]
        return found[:limit]

    async def delete_audit(self, before: float) -> int:
        gone = {row.id for row in self._audit if row.at < before}
        gone = set(sorted(gone)[:PURGED_AT_ONCE])
        self._audit = [row for row in self._audit if row.id not in gone]
        return len(gone)

    async def ping(self) -> None:
        """Do nothing: this store is always available."""

    async def close(self) -> None:
        """Do nothing: there is no connection to close."""

    def _end(self, keys: list[bytes], at: float) -> list[bytes]:
        for key in keys:
            del self.session_rows[key]
            self._ended.setdefault(key, at)
        return keys


def _signed_in(row: SessionRow) -> SessionHolder:
    return SessionHolder(**{name: getattr(row, name) for name in SessionHolder.__slots__})


def _by_age(rows: list[SessionRow]) -> list[SessionRow]:
    return sorted(rows, key=lambda row: (-row.last_seen, row.key))


def _is_meant(row: SessionRow, criteria: SessionCriteria) -> bool:
    given = {name: value for name in SessionCriteria.__slots__ if (value := getattr(criteria, name)) is not None}
    is_live = row.expires_at > given.pop("live_at", -inf) if given else False
    is_there = row.host in given.pop("hosts", (row.host,)) and row.key.startswith(given.pop("handle", b""))
    given.pop("owner", None)
    return is_live and is_there and all(getattr(row, name) == value for name, value in given.items())


def _is_past(at: float | None, now: float) -> bool:
    return at is not None and at <= now
