"""A key that took over seals what people set up, so that the older one can be dropped."""

from dataclasses import replace

from tests.services.test_edges import guarded
from tests.services.test_providers import WORK
from tests.support.managed import ADMIN, ANN, Managed
from tunnelrelay.keys.keyring import KEEP_SECONDS, SETTLE_SECONDS
from tunnelrelay.policy.rules import CLOSED

HOST = "demo.tun.example"


def rotate(managed: Managed) -> str:
    """A new key, which seals from now on. Returns the older one's name."""
    older = managed.ring.sealing(managed.clock()).kid
    managed.ring.adopt(managed.ring.with_new_key(managed.clock()))
    managed.clock.now += SETTLE_SECONDS
    return older


async def test_what_an_older_key_sealed_survives_its_being_dropped():
    managed = Managed()
    await guarded(managed)
    await managed.services.providers.create(ADMIN, "work", WORK, "hush")
    older = rotate(managed)

    await managed.sync.look()
    managed.ring.adopt(managed.ring.without(older))
    await managed.sync.reload()

    assert managed.policy(HOST).connection.client_secret.reveal() == "hush-hush-client"
    assert (await managed.services.providers.page(ADMIN))[0].has_secret


async def test_what_is_set_up_outlives_every_key():
    """A year of daily rotation, aged keys thrown away, and a relay that looks once a day."""
    managed = Managed()
    await guarded(managed)
    for _ in range(365):
        rotate(managed)
        managed.clock.now += 86_400
        await managed.sync.look()
        managed.ring.adopt(managed.ring.without_aged(managed.clock()))
    await managed.sync.reload()

    assert len(managed.ring.masters) < 40
    assert managed.clock() - managed.ring.masters[0].created < 2 * KEEP_SECONDS
    assert managed.policy(HOST).connection is not None


async def test_nothing_is_written_while_the_same_key_seals():
    managed = Managed()
    made = await guarded(managed)

    await managed.sync.look()
    await managed.sync.look()

    assert (await managed.services.edges.get(ANN, made.id)).row.version == made.row.version


async def test_what_cannot_be_opened_stays_as_it_is_and_the_rest_is_sealed_anew():
    managed = Managed()
    broken, whole = await guarded(managed, "broken"), await guarded(managed)
    row = await managed.store.edges.get(broken.id)
    await managed.store.edges.replace(replace(row, sealed=b"v1.00000000.AAAA", version=row.version + 1))
    older = rotate(managed)

    await managed.sync.look()
    managed.ring.adopt(managed.ring.without(older))
    await managed.sync.reload()

    assert (await managed.store.edges.get(broken.id)).sealed == b"v1.00000000.AAAA"
    assert managed.policy("broken.tun.example") == CLOSED
    assert managed.policy(HOST).connection is not None
    assert (await managed.store.edges.get(whole.id)).version == whole.row.version + 1


async def test_two_relays_that_seal_anew_at_once_leave_one_good_row():
    here = Managed()
    await guarded(here)
    there = Managed(store=here.store, ring=here.ring, clock=here.clock)
    await there.sync.load()
    rotate(here)

    await here.sync.look()
    await there.sync.look()
    await here.sync.reload()

    assert here.policy(HOST).connection is not None
    assert there.policy(HOST).connection is not None
