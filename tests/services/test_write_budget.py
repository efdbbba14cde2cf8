"""What is made counts, not only what is there: changes of a user, names given up, rows that are of no use any more."""

import pytest

from tests.api.office import open_office
from tests.services.people import COOL, OPERATOR, Office
from tests.support.managed import ANN, BOB, Managed
from tunnelrelay.services import domains
from tunnelrelay.services.problems import Kind, ManageError
from tunnelrelay.services.purge import Purge
from tunnelrelay.services.service_base import BURST_CHANGES, CHANGES_A_MINUTE
from tunnelrelay.store import schema
from tunnelrelay.store.base import KEEP_EXPIRED, KEEP_REVOKED
from tunnelrelay.store.growth import BOUNDS_OF


def spend(managed: Managed, who=ANN, *, leave: int = 0) -> None:
    """Takes what is left of somebody's budget."""
    for _ in range(BURST_CHANGES - leave):
        managed.base.count_change(who)


async def test_a_user_who_changes_without_end_is_slowed_down_and_others_are_not():
    managed = Managed()
    spend(managed, leave=1)
    token, _ = await managed.services.credentials.create(ANN)

    with pytest.raises(ManageError) as refused:
        await managed.services.credentials.delete(ANN, token.id)
    await managed.services.credentials.create(BOB)

    assert (refused.value.kind, refused.value.code) == (Kind.BUSY, "too_many_changes")
    assert 0 < refused.value.retry_after <= 60 / CHANGES_A_MINUTE
    assert (await managed.services.credentials.get(ANN, token.id)).revoked_at is None
    assert [event.reason for event in managed.events("rate.limited")] == ["changes"]


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.domains.create(ANN, "shop"),
        lambda s: s.backends.create(ANN, (("a", "b"),)),
        lambda s: s.credentials.create(ANN),
        lambda s: s.sign_ins.invite(ANN, ANN.user_id),
        lambda s: s.edges.set_backend(ANN, "edghts_1", None),
        lambda s: s.tunnels.drain(ANN, "tn_1"),
        lambda s: s.logins.revoke_all(ANN, "x.tun.example"),
    ],
)
async def test_every_kind_of_change_is_from_the_one_budget(change):
    managed = Managed()
    spend(managed)

    with pytest.raises(ManageError) as refused:
        await change(managed.services)

    assert refused.value.code == "too_many_changes"


async def test_reading_costs_nothing_and_the_relay_s_own_terminal_has_no_budget():
    managed = Managed()
    spend(managed)

    assert await managed.services.domains.page(ANN) == []
    for number in range(BURST_CHANGES + 1):
        managed.base.count_change(OPERATOR)
        managed.base.count_change(None if number % 2 else OPERATOR)


async def test_the_api_says_when_to_go_on(tmp_path):
    office = await open_office(tmp_path)
    program = await office.program("member")
    base = office.services.credentials.base
    while not base.changes.wait(office.people["member"].id, base.monotonic()):
        pass

    answer = await program.ask("POST", "/credentials", {})

    assert answer.status_code == 429
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.json()["type"] == "urn:tunnel:problem:too_many_changes"
    assert (await program.ask("GET", "/credentials")).status_code == 200


# Names


async def test_names_given_up_count_until_others_may_have_them(monkeypatch):
    monkeypatch.setattr(domains, "MAX_DOMAINS", 3)
    office = Office()
    ann, bob = await office.actor("ann", owner="red"), await office.actor("bob", owner="blue")
    kept = await office.domains.create(ann, "kept")
    for name in ("one", "two"):
        await office.domains.delete(ann, (await office.domains.create(ann, name)).id)

    with pytest.raises(ManageError) as refused:
        await office.domains.create(ann, "three")
    again = await office.domains.create(ann, "two")
    await office.domains.create(bob, "four")
    await office.domains.delete(ann, again.id)
    office.clock.now += COOL + 1
    await office.domains.create(ann, "three")

    assert (refused.value.code, kept.host) == ("too_many", "kept.tun.example")


async def test_a_name_nobody_chose_is_taken_from_nobody(monkeypatch):
    monkeypatch.setattr(domains, "MAX_DOMAINS", 2)
    office = Office()
    ann = await office.actor("ann")

    for _ in range(5):
        await office.domains.delete(ann, (await office.domains.create(ann)).id)

    assert await office.domains.create(ann, "chosen")


# Tables


def test_every_table_has_its_bound():
    assert set(BOUNDS_OF) == set(schema.metadata.tables)
    assert all(BOUNDS_OF.values())


async def test_what_is_over_is_dropped_and_the_audit_log_keeps_it():
    office = Office()
    ann = await office.person("ann")
    actor = await office.actor("eve")
    revoked, _ = await office.credentials.create(actor)
    good, _ = await office.credentials.create(actor)
    expired, _ = await office.credentials.create(actor, expires_at=office.clock() + 10)
    key, _ = await office.keys.create(actor, expires_at=office.clock() + 10)
    await office.sign_ins.invite(None, ann.id)
    await office.credentials.delete(actor, revoked.id)
    purge = Purge(office.store, office.clock)

    await purge.step()
    before = {token.id for token in await office.store.tokens()}
    office.clock.now += KEEP_REVOKED + 1
    await purge.step()
    later = {token.id for token in await office.store.tokens()}
    office.clock.now += KEEP_EXPIRED + 1
    await purge.step()

    assert before == {revoked.id, good.id, expired.id}
    assert later == {good.id, expired.id}
    assert {token.id for token in await office.store.tokens()} == {good.id}
    assert await office.store.api_keys.get(key.id) is None
    assert await office.store.sign_ins.all() == []
    assert "token.revoked" in [event.kind for event in office.events("token.")]
