"""The part of the store that keeps visitors' sessions and one-time marks."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, Row, Select, and_, delete, func, literal, or_, select, union_all, update
from sqlalchemy.dialects import postgresql, sqlite

from tunnelrelay.store.base import ENDED_SECONDS, SessionCriteria, SessionHolder, SessionRow
from tunnelrelay.store.engine import Part, is_equal
from tunnelrelay.store.schema import domains, edges, ended, names, sessions, used
from tunnelrelay.store.texts import fitted

KEY_BYTES = 32
_COLUMNS = SessionRow.__slots__
_OF_PEOPLE = [sessions.c[name] for name in SessionHolder.__slots__]


class SessionPart(Part):
    """The tables of sessions and one-time marks.

    The methods are documented in `base.SessionStore` and `base.MarkStore`.
    """

    async def save_session(self, row: SessionRow) -> None:
        kept = fitted(sessions, row)
        await self._put(sessions, {name: getattr(kept, name) for name in _COLUMNS})

    async def replace_session(self, row: SessionRow) -> bool:
        is_it = (sessions.c.key == row.key) & (sessions.c.version == row.version - 1)
        kept = fitted(sessions, row)
        values = {name: getattr(kept, name) for name in _COLUMNS if name != "key"}
        async with self._begin() as connection:
            return (await connection.execute(update(sessions).where(is_it).values(values))).rowcount == 1

    async def load_session(self, key: bytes) -> SessionRow | None:
        async with self._begin() as connection:
            row = (await connection.execute(select(sessions).where(sessions.c.key == key))).one_or_none()
        return None if row is None else SessionRow(**row._mapping)

    async def sessions(
        self, criteria: SessionCriteria | None = None, *, limit: int = 1000, after: SessionHolder | None = None
    ) -> list[SessionHolder]:
        query = select(*_OF_PEOPLE).order_by(sessions.c.last_seen.desc(), sessions.c.key).limit(limit)
        if after is not None:
            is_older = sessions.c.last_seen < after.last_seen
            query = query.where(or_(is_older, (sessions.c.last_seen == after.last_seen) & (sessions.c.key > after.key)))
        if criteria is not None:
            if (condition := _condition(criteria)) is None:
                return []
            query = query.where(condition)
        async with self._begin() as connection:
            return [SessionHolder(**row._mapping) for row in await connection.execute(query)]

    async def connections(self, criteria: SessionCriteria, *, limit: int) -> list[str]:
        if (condition := _condition(criteria)) is None:
            return []
        ids = sessions.c.connection_id
        async with self._begin() as connection:
            found = await connection.execute(select(ids).where(condition).distinct().order_by(ids).limit(limit))
        return [row.connection_id for row in found]

    async def touch_session(self, key: bytes, last_seen: float) -> None:
        is_older = (sessions.c.key == key) & (sessions.c.last_seen < last_seen)
        async with self._begin() as connection:
            await connection.execute(update(sessions).where(is_older).values(last_seen=last_seen))

    async def end_sessions(self, criteria: SessionCriteria, at: float) -> list[bytes]:
        if (condition := _condition(criteria)) is None:
            return []
        return [row.key for row in await self._end(condition, at, [sessions.c.key])]

    async def revoke_sessions(self, criteria: SessionCriteria, at: float) -> list[SessionHolder]:
        if (condition := _condition(criteria)) is None:
            return []
        return [SessionHolder(**row._mapping) for row in await self._end(condition, at, _OF_PEOPLE)]

    async def end_oldest(self, criteria: SessionCriteria, keep: int, at: float) -> list[bytes]:
        if (condition := _condition(criteria)) is None:
            return []
        async with self._begin() as connection:
            count = (await connection.execute(select(func.count()).select_from(sessions).where(condition))).scalar_one()
        if count <= keep:
            return []
        by_age = select(sessions.c.key).where(condition).order_by(sessions.c.last_seen.desc(), sessions.c.key)
        is_too_old = sessions.c.key.in_(by_age.offset(keep))
        return [row.key for row in await self._end(is_too_old, at, [sessions.c.key])]

    async def ended_since(self, at: float) -> list[bytes]:
        query = select(ended.c.key).where(ended.c.at >= at).order_by(ended.c.at)
        async with self._begin() as connection:
            return [row.key for row in await connection.execute(query)]

    async def delete_expired(self, now: float) -> int:
        async with self._begin() as connection:
            found = [await connection.execute(delete(t).where(t.c.expires_at <= now)) for t in (sessions, used)]
            await connection.execute(delete(ended).where(ended.c.at < now - ENDED_SECONDS))
        return sum(result.rowcount for result in found)

    async def use_once(self, key: bytes, expires_at: float) -> bool:
        statement = self._insert(used).values(key=key, expires_at=expires_at).on_conflict_do_nothing()
        async with self._begin() as connection:
            return (await connection.execute(statement)).rowcount == 1

    async def lease(self, key: bytes, now: float, until: float) -> bool:
        statement = self._insert(used).values(key=key, expires_at=until)
        taken_over = statement.on_conflict_do_update(
            index_elements=[used.c.key], set_={"expires_at": until}, where=used.c.expires_at <= now
        )
        async with self._begin() as connection:
            return (await connection.execute(taken_over)).rowcount == 1

    async def give_back(self, key: bytes) -> None:
        async with self._begin() as connection:
            await connection.execute(delete(used).where(used.c.key == key))

    async def _end(
        self, condition: ColumnElement[bool], at: float, columns: Sequence[Column[Any]]
    ) -> Sequence[Row[Any]]:
        """End sessions and record them for `ended_since`, with statements whose length does not depend on their number.

        On PostgreSQL this is one statement: between two, a session could begin that would be ended but not recorded.
        SQLite has no such statement, but only one writer at a time.
        """
        gone = delete(sessions).where(condition).returning(*columns)
        async with self._begin() as connection:
            if not self._is_postgresql:
                await connection.execute(self._record_ended(select(sessions.c.key, literal(at)).where(condition)))
                return (await connection.execute(gone)).all()
            ending = gone.cte("gone")
            recorded = self._record_ended(select(ending.c.key, literal(at))).cte("recorded")
            return (await connection.execute(select(ending).add_cte(recorded))).all()

    def _record_ended(self, keys: Select[tuple[bytes, float]]) -> sqlite.Insert | postgresql.Insert:
        return self._insert(ended).from_select(["key", "at"], keys).on_conflict_do_nothing()


def _condition(criteria: SessionCriteria) -> ColumnElement[bool] | None:
    """Return the criteria as an SQL condition; None without any value, which must never mean "all sessions"."""
    given = {name: value for name in SessionCriteria.__slots__ if (value := getattr(criteria, name)) is not None}
    if not given:
        return None
    live_at, hosts = given.pop("live_at", None), given.pop("hosts", None)
    owner, handle = given.pop("owner", None), given.pop("handle", None)
    conditions = [is_equal(sessions.c[name], value) for name, value in given.items()]
    if hosts is not None:
        conditions.append(sessions.c.host.in_(sorted(hosts)))
    if owner is not None:
        held = (select(table.c.host).where(is_equal(table.c.owner, owner)) for table in (names, domains, edges))
        conditions.append(sessions.c.host.in_(union_all(*held)))
    if handle is not None:
        conditions.append(sessions.c.key.between(handle.ljust(KEY_BYTES, b"\0"), handle.ljust(KEY_BYTES, b"\xff")))
    return and_(*conditions, *([] if live_at is None else [sessions.c.expires_at > live_at]))
