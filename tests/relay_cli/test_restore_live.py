"""A restore while a relay runs: whoever is not in the backup is out at once, what is in it is as it was."""

import asyncio
from pathlib import Path

import pytest

from tests.relay_cli.test_cli import run
from tests.support.apps import App
from tests.support.managed import ADMIN
from tests.support.postgres import PostgresServer
from tests.support.world import world
from tunnelrelay.agents import authtokens
from tunnelrelay.config.database import DatabaseUrl
from tunnelrelay.services.edges import EdgeDraft

HOSTS = {"kept.localhost", "later.localhost"}


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_a_running_relay_goes_by_what_was_restored(
    kind: str, tmp_path: Path, app: App, postgres: PostgresServer
) -> None:
    url = await postgres.database() if kind == "postgresql" else "sqlite"
    place = ["--data-dir", str(tmp_path / "data"), "--database", url]
    database = None if kind == "sqlite" else DatabaseUrl(url)
    async with world(tmp_path / "data", multi_tenant=True, database=database) as w:
        store, edges = w.relay.store, w.relay.parts.services.edges
        anns, _ = await authtokens.create(store, "ann")
        kept = await edges.create(ADMIN, EdgeDraft(host="kept", owner="ann"))
        backup = await asyncio.to_thread(run, "backup", str(tmp_path / "file"), *place)
        assert backup.exit_code == 0, backup.output

        bobs, _ = await authtokens.create(store, "bob")
        ann = await w.tunnel(app.port, token=anns, subdomain="ann")
        bob = await w.tunnel(app.port, token=bobs, subdomain="bob")
        await edges.delete(ADMIN, kept.id)
        await edges.create(ADMIN, EdgeDraft(host="later", owner="ann"))
        restored = await asyncio.to_thread(run, "restore", "--yes", str(tmp_path / "file"), *place)
        assert restored.exit_code == 0, restored.output
        assert "relays that run here were told" in restored.stderr

        assert {host for host in HOSTS if w.relay.registry.find(host) is not None} == {"kept.localhost"}
        await bob.running
        assert bob.outcome is not None
        assert (await ann.fetch("GET", "/")).status == 200
        assert [token.owner for token in await store.tokens()] == ["ann"]
