"""Stores of every kind, for the tests that all of them pass."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.memory_store import MemoryStore
from tests.support.postgres import PostgresServer
from tunnelrelay.config.database import DatabaseUrl
from tunnelrelay.store.base import Store
from tunnelrelay.store.postgresql import PostgresqlStore
from tunnelrelay.store.store import SqliteStore


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """An empty store of each kind."""
    opened: Store
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        opened = await PostgresqlStore.open(DatabaseUrl(await server.database()))
    else:
        opened = MemoryStore() if request.param == "memory" else await SqliteStore.open(tmp_path / "relay.db")
    yield opened
    await opened.close()
