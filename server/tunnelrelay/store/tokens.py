"""The part of the store that keeps agents' tokens."""

from typing import Any

from sqlalchemy import Row, delete, or_, select, update

from tunnelrelay.model import Token
from tunnelrelay.store.base import KEEP_EXPIRED, KEEP_REVOKED, PURGED_AT_ONCE
from tunnelrelay.store.engine import Part, below, frozen, is_equal
from tunnelrelay.store.schema import api_keys, sign_ins, tokens
from tunnelrelay.store.texts import fitted

_CHANGEABLE = ("description", "metadata", "acl", "expires_at")


class TokenPart(Part):
    """The table of agents' tokens. The methods are documented in `base.TokenStore`."""

    async def add_token(self, token: Token, digest: bytes) -> None:
        async with self._begin() as connection:
            await connection.execute(tokens.insert().values(digest=digest, **_token_values(fitted(tokens, token))))
            await self._revised(connection, tokens.name)

    async def token(self, token_id: str) -> Token | None:
        async with self._begin() as connection:
            row = (await connection.execute(select(tokens).where(is_equal(tokens.c.id, token_id)))).one_or_none()
        return None if row is None else _token(row)

    async def token_page(self, *, owner: str | None = None, before: str | None = None, limit: int = 100) -> list[Token]:
        query = select(tokens).where(tokens.c.revoked_at.is_(None)).order_by(tokens.c.id.desc()).limit(limit)
        query = query if owner is None else query.where(is_equal(tokens.c.owner, owner))
        query = query if before is None else query.where(below(tokens.c.id, before))
        async with self._begin() as connection:
            return [_token(row) for row in await connection.execute(query)]

    async def change_token(self, before: Token, after: Token) -> bool:
        kept = fitted(tokens, after)
        values = {name: getattr(kept, name) for name in _CHANGEABLE if getattr(kept, name) != getattr(before, name)}
        async with self._begin() as connection:
            done = await connection.execute(update(tokens).where(is_equal(tokens.c.id, after.id)).values(values))
            if done.rowcount == 1:
                await self._revised(connection, tokens.name)
        return done.rowcount == 1

    async def tokens(self, owner: str | None = None) -> list[Token]:
        query = select(tokens).order_by(tokens.c.created_at, tokens.c.id)
        if owner is not None:
            query = query.where(is_equal(tokens.c.owner, owner))
        async with self._begin() as connection:
            return [_token(row) for row in await connection.execute(query)]

    async def revoke_token(self, token_id: str, at: float) -> Token | None:
        is_it = is_equal(tokens.c.id, token_id)
        async with self._begin() as connection:
            is_good = tokens.c.revoked_at.is_(None)
            done = await connection.execute(update(tokens).where(is_it, is_good).values(revoked_at=at))
            if done.rowcount == 1:
                await self._revised(connection, tokens.name)
            row = (await connection.execute(select(tokens).where(is_it))).one_or_none()
        return None if row is None else _token(row)

    async def revoked_tokens(self, since: float) -> list[str]:
        async with self._begin() as connection:
            return [row.id for row in await connection.execute(select(tokens.c.id).where(tokens.c.revoked_at >= since))]

    async def token_by_digest(self, digest: bytes) -> Token | None:
        query = select(tokens).where(tokens.c.digest == digest, tokens.c.revoked_at.is_(None))
        async with self._begin() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else _token(row)

    async def delete_spent(self, now: float) -> int:
        spent = (
            (tokens, tokens.c.revoked_at <= now - KEEP_REVOKED),
            (tokens, tokens.c.expires_at <= now - KEEP_EXPIRED),
            (api_keys, api_keys.c.expires_at <= now - KEEP_EXPIRED),
            (sign_ins, sign_ins.c.expires_at <= now),
        )
        dropped = 0
        for table, is_spent in spent:
            some = select(table.c.id).where(is_spent).limit(PURGED_AT_ONCE)
            async with self._begin() as connection:
                gone = await connection.execute(delete(table).where(table.c.id.in_(some)))
                if gone.rowcount:
                    await self._revised(connection, table.name)
            dropped += gone.rowcount
        return dropped

    async def touch_token(self, token_id: str, at: float) -> None:
        is_older = or_(tokens.c.last_used_at.is_(None), tokens.c.last_used_at < at)
        async with self._begin() as connection:
            await connection.execute(
                update(tokens).where(is_equal(tokens.c.id, token_id), is_older).values(last_used_at=at)
            )


def _token_values(token: Token) -> dict[str, Any]:
    return {name: getattr(token, name) for name in Token.__slots__}


def _token(row: Row[Any]) -> Token:
    return Token(**{name: frozen(getattr(row, name)) for name in Token.__slots__})
