"""A relay whose database goes away: what is up goes on, what needs the database waits, and then all is as before."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.apps import App
from tests.support.postgres import PostgresServer, postgres_server
from tests.support.world import world
from tunnelctl.agent.outcome import Outcome
from tunnelrelay.agents import authtokens
from tunnelrelay.app.relay import Relay
from tunnelrelay.app.start_problems import StartError
from tunnelrelay.config.config import RelayConfig
from tunnelrelay.config.database import DatabaseUrl
from tunnelrelay.config.values import ListenAddress
from tunnelrelay.store.base import StoreError


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server that may be stopped."""
    with postgres_server(synchronous_commit="on") as server:
        yield server


async def test_tunnels_that_are_up_go_on_without_the_database_and_new_ones_wait_for_it(
    server: PostgresServer, tmp_path: Path, app: App
) -> None:
    database = DatabaseUrl(await server.database())
    async with world(tmp_path, multi_tenant=True, database=database) as w:
        token, _ = await authtokens.create(w.relay.store, "ann")
        up = await w.tunnel(app.port, token=token, subdomain="up")
        await asyncio.to_thread(server.stop)

        assert (await up.fetch("GET", "/")).status == 200
        with pytest.raises(StoreError):
            await w.relay.store.ping()
        waits = w.agent(app.port, token=token, subdomain="waits")
        assert (await up.fetch("GET", "/")).status == 200

        await asyncio.to_thread(server.start)
        await waits.until_started()
        assert (await waits.fetch("GET", "/")).status == 200
        assert (await up.fetch("GET", "/")).status == 200
        outcome: Outcome | None = up.outcome
        assert outcome is None


async def test_a_relay_whose_database_is_away_does_not_start_and_says_why(tmp_path: Path) -> None:
    config = RelayConfig(
        http=ListenAddress("127.0.0.1", 0),
        admin=None,
        data_dir=tmp_path,
        database=DatabaseUrl("postgresql://relay:canary@127.0.0.1:1/x"),
    )
    with pytest.raises(StartError, match=r"postgresql://relay@127\.0\.0\.1/x cannot be reached") as caught:
        await Relay(config).start()
    assert "canary" not in str(caught.value)
