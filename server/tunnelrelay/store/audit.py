"""The part of the store that keeps the audit log."""

from collections.abc import Sequence

from sqlalchemy import delete, select

from tunnelrelay.store.base import PURGED_AT_ONCE, AuditRow
from tunnelrelay.store.engine import Part, is_equal
from tunnelrelay.store.schema import audit
from tunnelrelay.store.texts import fitted

_COLUMNS = tuple(name for name in AuditRow.__slots__ if name != "id")


class AuditPart(Part):
    """The table of audit events. The methods are documented in `base.AuditStore`."""

    async def add_audit(self, rows: Sequence[AuditRow]) -> None:
        if rows:
            values = [{name: getattr(row, name) for name in _COLUMNS} for row in (fitted(audit, row) for row in rows)]
            async with self._begin() as connection:
                await connection.execute(audit.insert(), values)

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
        query = select(audit).where(audit.c.at >= since).order_by(audit.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(audit.c.id < before)
        for column, value in ((audit.c.host, host), (audit.c.kind, kind), (audit.c.owner, owner)):
            if value is not None:
                query = query.where(is_equal(column, value))
        async with self._begin() as connection:
            return [AuditRow(**row._mapping) for row in await connection.execute(query)]

    async def delete_audit(self, before: float) -> int:
        oldest = select(audit.c.id).where(audit.c.at < before).order_by(audit.c.at).limit(PURGED_AT_ONCE)
        async with self._begin() as connection:
            return (await connection.execute(delete(audit).where(audit.c.id.in_(oldest)))).rowcount
