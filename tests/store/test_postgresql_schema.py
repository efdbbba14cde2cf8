"""PostgreSQL's schema: made once however many relays start, upgraded whole or not at all, and as the code has it."""

import asyncio
from typing import Any

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import JSON, Connection

from tests.store.older import make_postgresql
from tests.store.test_contract import DIGEST, TOKEN
from tests.support.postgres import PostgresServer
from tunnelrelay.config.database import DatabaseUrl
from tunnelrelay.store import postgresql, upgrade
from tunnelrelay.store.base import StoreError, StoreTooNewError
from tunnelrelay.store.postgresql import PostgresqlStore
from tunnelrelay.store.schema import metadata

SHORT = 1.0
"""Stands for `BUSY_SECONDS` in the test that waits for longer."""


@pytest.fixture
async def url(postgres: PostgresServer) -> str:
    return await postgres.database()


async def test_relays_that_start_together_on_an_empty_database_make_its_tables_once(postgres: PostgresServer) -> None:
    url = DatabaseUrl(await postgres.empty_database())
    stores = await asyncio.gather(*(PostgresqlStore.open(url) for _ in range(4)))
    await stores[0].add_token(TOKEN, DIGEST)
    assert await stores[3].tokens() == [TOKEN]
    for store in stores:
        await store.close()


async def test_another_relays_migration_is_waited_for_longer_than_anything_else(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "BUSY_SECONDS", SHORT)
    url = await postgres.empty_database()
    other = await asyncpg.connect(url)
    await other.execute("SELECT pg_advisory_lock($1)", postgresql.ADVISORY_LOCK)
    opening = asyncio.ensure_future(PostgresqlStore.open(DatabaseUrl(url)))
    assert await asyncio.wait({opening}, timeout=4 * SHORT) == (set(), {opening})
    await other.close()
    await (await opening).close()


async def test_a_database_without_tables_is_left_so_by_whoever_only_looks(postgres: PostgresServer) -> None:
    url = await postgres.empty_database()
    with pytest.raises(StoreError, match="holds no relay's data"):
        await PostgresqlStore.open(DatabaseUrl(url), may_make=False)
    connection = await asyncpg.connect(url)
    assert await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'") == []
    await connection.close()


async def test_a_database_of_a_newer_release_is_refused_and_left_alone(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreTooNewError, match="newer tunnelrelay"):
        await PostgresqlStore.open(DatabaseUrl(url))
    assert await connection.fetchval("SELECT version_num FROM alembic_version") == "9999"
    await connection.close()


@pytest.mark.parametrize("made", [None, "0001"], ids=["new", "older"])
async def test_an_upgrade_that_fails_half_way_leaves_the_database_as_it_was(
    postgres: PostgresServer, made: str | None
) -> None:
    url = await postgres.empty_database()
    if made is not None:
        await make_postgresql(url, made)
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE revisions (in_the_way int)")  # the last one that either makes
    tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
    before = await connection.fetch(tables)
    with pytest.raises(StoreError, match="cannot be upgraded"):
        await PostgresqlStore.open(DatabaseUrl(url))
    assert await connection.fetch(tables) == before
    await connection.execute("DROP TABLE revisions")
    await (await PostgresqlStore.open(DatabaseUrl(url))).close()
    assert await connection.fetchval("SELECT version_num FROM alembic_version") == upgrade.HEAD
    await connection.close()


@pytest.mark.parametrize("made", [None, "0001"], ids=["new", "older"])
async def test_a_new_database_and_one_that_was_upgraded_have_exactly_the_tables_of_the_schema(
    postgres: PostgresServer, made: str | None
) -> None:
    def differs(*about: Any) -> bool | None:
        """PostgreSQL cannot compare JSON: two defaults of that type by their text, others as usual."""
        column, found, wanted = about[2], about[3], about[5]
        return found.partition("::")[0] != wanted if found and isinstance(column.type, JSON) else None

    def differences(connection: Connection) -> list[object]:
        options = {"compare_type": True, "compare_server_default": differs}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))

    url = await postgres.empty_database()
    if made is not None:
        await make_postgresql(url, made)
    store = await PostgresqlStore.open(DatabaseUrl(url))
    async with store.engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    await store.close()


async def test_short_texts_sort_by_their_bytes(url: str) -> None:
    connection = await asyncpg.connect(url)
    rows = await connection.fetch(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public' AND"
        " data_type = 'character varying' AND collation_name IS DISTINCT FROM 'C' AND table_name <> 'alembic_version'"
    )
    assert rows == []
    await connection.close()
