"""Databases as older releases left them: made by the migrations, up to the newest that a release knew."""

from pathlib import Path

from sqlalchemy import Connection, create_engine
from sqlalchemy.ext.asyncio import create_async_engine

from tunnelrelay.store.migrate import migrate


def make_sqlite(path: Path, revision: str) -> None:
    """A database file at this migration."""
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        migrate(connection, None, revision, name=str(path))
    engine.dispose()


async def make_postgresql(url: str, revision: str) -> None:
    """Bring an empty database to this migration."""

    def up(connection: Connection) -> None:
        migrate(connection, None, revision, name=url)

    engine = create_async_engine(url.replace("postgresql:", "postgresql+asyncpg:"))
    async with engine.begin() as connection:
        await connection.run_sync(up)
    await engine.dispose()
