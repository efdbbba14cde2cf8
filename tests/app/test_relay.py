"""What a relay keeps up for as long as it runs."""

import asyncio

from tests.agents.conftest import flags
from tunnelrelay.app.relay import Relay
from tunnelrelay.config.config import load_config


async def test_a_relay_goes_on_hearing_of_revocations_whatever_one_look_at_the_store_runs_into(
    tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr("tunnelrelay.oidc.sessions.cleanup.HEAR_EVERY", 0.001)
    monkeypatch.setattr("tunnelrelay.app.relay.RESTART_SECONDS", 0.001)
    looked_again = asyncio.Event()

    async def ended_since(at):
        if "unexpected" not in caplog.text:
            raise ValueError("unexpected")
        looked_again.set()
        return []

    async with Relay(load_config(flags=flags(tmp_path), env={})) as relay:
        monkeypatch.setattr(relay.store, "ended_since", ended_since)
        await looked_again.wait()

    assert "background task failed, restarting" in caplog.text
