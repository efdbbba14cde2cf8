"""Credentials on a whole relay with links open: what they may bind, and what becomes of links when they end."""

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.apps import App
from tests.support.world import World
from tunnelctl.agent.outcome import NameTaken, NotAllowed
from tunnelrelay.app.relay import Relay
from tunnelrelay.config.config import RelayConfig
from tunnelrelay.config.values import ListenAddress
from tunnelrelay.services.actor import Actor
from tunnelrelay.services.credentials import Credentials

ANN = Actor(user_id="usr_ann", name="ann", owner="team", is_admin=False, via="dashboard")


class ClockedWorld(World):
    """A relay of strangers' agents, whose clock the test turns.

    Attributes:
        ahead: Seconds the relay's clock is ahead of the system's.
    """

    ahead = 0.0

    async def start_relay(self) -> None:
        settings = {**self.settings, "multi_tenant": True, "http": ListenAddress("127.0.0.1", self.port)}
        self.relay = Relay(RelayConfig(**settings), clock=lambda: time.time() + self.ahead)
        await self.relay.start()
        assert self.relay.http is not None
        self.port = self.relay.http[1]

    @property
    def credentials(self) -> Credentials:
        return self.relay.parts.services.credentials


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[ClockedWorld]:
    made = ClockedWorld(tmp_path)
    await made.start_relay()
    yield made
    await made.stop()


async def test_a_credential_binds_what_its_rules_say_and_nothing_else(w: ClockedWorld, app: App) -> None:
    _, text = await w.credentials.create(ANN, acl=("bind:pr-*",))

    good = await w.tunnel(app.port, subdomain="pr-1", token=text)
    bad = w.agent(app.port, subdomain="demo", token=text)

    assert (await good.fetch("GET", "/status/200")).status == 200
    assert await bad.running is not None
    assert w.relay.registry.find("demo.localhost") is None


async def test_a_revoked_credential_s_link_ends_before_the_answer_and_it_opens_no_other(
    w: ClockedWorld, app: App
) -> None:
    """Row 145."""
    token, text = await w.credentials.create(ANN)
    tunnel = await w.tunnel(app.port, subdomain="demo", token=text)
    other = await w.tunnel(app.port, subdomain="two", token=(await w.credentials.create(ANN))[1])

    await w.credentials.delete(ANN, token.id)

    assert isinstance(await tunnel.running, NotAllowed)
    assert (await tunnel.fetch("GET", "/status/200")).status == 404
    assert isinstance(await w.agent(app.port, subdomain="three", token=text).running, NotAllowed)
    assert (await other.fetch("GET", "/status/200")).status == 200


async def test_a_credential_whose_time_is_over_ends_its_link_and_opens_no_other(w: ClockedWorld, app: App) -> None:
    token, text = await w.credentials.create(ANN, expires_at=time.time() + 3600)
    tunnel = await w.tunnel(app.port, subdomain="demo", token=text)
    await w.relay.parts.revoked.look()
    assert tunnel.outcome is None

    w.ahead = 3601.0
    await w.relay.parts.revoked.look()

    assert isinstance(await tunnel.running, NotAllowed)
    assert isinstance(await w.agent(app.port, subdomain="demo", token=text).running, NotAllowed)
    assert (await w.credentials.get(ANN, token.id)).expires_at is not None


async def test_other_rules_hold_for_what_is_served_already(w: ClockedWorld, app: App) -> None:
    token, text = await w.credentials.create(ANN, acl=("bind:*",))
    kept = await w.tunnel(app.port, subdomain="pr-1", token=text)
    lost = await w.tunnel(app.port, subdomain="demo", token=text)

    await w.credentials.update(ANN, token.id, acl=("bind:pr-*",))

    await kept.until_started()
    assert (await kept.fetch("GET", "/status/200")).status == 200
    assert await lost.running is not None
    assert (await lost.fetch("GET", "/status/200")).status != 200


async def test_another_relay_hears_of_a_revocation_and_of_other_rules_from_the_store(w: ClockedWorld, app: App) -> None:
    """Row 145."""
    revoked, first = await w.credentials.create(ANN)
    changed, second = await w.credentials.create(ANN)
    gone = await w.tunnel(app.port, subdomain="one", token=first)
    narrowed = await w.tunnel(app.port, subdomain="two", token=second)
    await w.relay.parts.revoked.look()
    store = w.relay.store

    await store.revoke_token(revoked.id, time.time())
    await store.change_token(changed, replace(changed, acl=("bind:other",)))
    await w.relay.parts.revoked.look()

    assert isinstance(await gone.running, NotAllowed)
    assert await narrowed.running is not None


async def test_a_reserved_name_is_refused_to_another_owner_s_agent(w: ClockedWorld, app: App) -> None:
    await w.relay.parts.services.domains.create(ANN, "demo")
    bob = Actor(user_id="usr_bob", name="bob", owner="other", is_admin=False, via="dashboard")
    _, theirs = await w.credentials.create(bob)
    _, ours = await w.credentials.create(ANN)

    assert isinstance(await w.agent(app.port, subdomain="demo", token=theirs).running, NameTaken)
    tunnel = await w.tunnel(app.port, subdomain="demo", token=ours)
    assert (await tunnel.fetch("GET", "/status/200")).status == 200
