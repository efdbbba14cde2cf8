"""The dashboard in memory, and who is signed in to it."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.dashboard import DashboardClient, InMemory


@pytest.fixture
def house() -> InMemory:
    """A dashboard at `https://dashboard.tun.example`."""
    return InMemory()


@pytest_asyncio.fixture
async def admin(house: InMemory) -> AsyncIterator[DashboardClient]:
    """The first administrator, signed in."""
    async with house.signed_in() as client:
        yield client


@pytest_asyncio.fixture
async def stranger(house: InMemory) -> AsyncIterator[DashboardClient]:
    """Somebody who is not."""
    async with house.stranger() as client:
        yield client
