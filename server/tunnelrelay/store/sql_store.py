"""The store in an SQL database. `store.py` opens SQLite, `postgresql.py` PostgreSQL.

Tokens, sessions, names and events are in modules of their own (`tokens.py`, `sessions.py`, `names.py`, `audit.py`), the
configured resources in `resource_sql.py`.
"""

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from tunnelrelay.store import schema
from tunnelrelay.store.audit import AuditPart
from tunnelrelay.store.names import NamePart
from tunnelrelay.store.resource_sql import SqlCollection
from tunnelrelay.store.resources import (
    COLLECTIONS,
    ApiKeyRow,
    BackendRow,
    DomainRow,
    EdgeRow,
    ProviderRow,
    SignInRow,
    TrustRuleRow,
    UserRow,
)
from tunnelrelay.store.sessions import SessionPart
from tunnelrelay.store.tokens import TokenPart


class SqlStore(TokenPart, SessionPart, NamePart, AuditPart):
    """`base.Store` in an SQL database.

    Attributes:
        engine: SQLAlchemy's engine, for operations on the whole database (`dump.py`).
    """

    def __init__(self, engine: AsyncEngine) -> None:
        super().__init__(engine)
        self.engine = engine
        self.users = SqlCollection(engine, schema.users, UserRow)
        self.api_keys = SqlCollection(engine, schema.api_keys, ApiKeyRow)
        self.sign_ins = SqlCollection(engine, schema.sign_ins, SignInRow)
        self.domains = SqlCollection(engine, schema.domains, DomainRow)
        self.backends = SqlCollection(engine, schema.backends, BackendRow)
        self.edges = SqlCollection(engine, schema.edges, EdgeRow)
        self.providers = SqlCollection(engine, schema.providers, ProviderRow)
        self.trust_rules = SqlCollection(engine, schema.trust_rules, TrustRuleRow)

    async def revisions(self) -> dict[str, int]:
        found = dict.fromkeys((*(kind for kind, _ in COLLECTIONS), "tokens"), 0)
        async with self._begin() as connection:
            found |= {row.kind: row.number for row in await connection.execute(select(schema.revisions))}
        return found

    async def ping(self) -> None:
        """Read a row, so that a missing or damaged database raises StoreError."""
        async with self._begin() as connection:
            await connection.execute(text("SELECT version_num FROM alembic_version"))

    async def close(self) -> None:
        await self._engine.dispose()
