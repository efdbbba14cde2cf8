"""Values of the headers an owner adds: sealed, kept through changes, and told to nobody."""

import json

import msgspec
import pytest

from tests.support.managed import ADMIN, ANN, Managed
from tunnelctl.wire.messages import HeaderEdit
from tunnelrelay.policy.rules import CLOSED
from tunnelrelay.services.edge_settings import KEPT, EdgeSettings
from tunnelrelay.services.edges import Change, EdgeDraft
from tunnelrelay.services.problems import ManageError
from tunnelrelay.store.resources import EdgeRow

HOST = "demo.tun.example"
VALUE = "q9c1-no-pattern-knows-this"
FIELD = ("X-Api-Key", VALUE)


def adds(part: str, *fields: tuple[str, str]) -> Change:
    def change(settings: EdgeSettings) -> EdgeSettings:
        policy = msgspec.structs.replace(settings.policy, **{part: HeaderEdit(add=fields)})
        return msgspec.structs.replace(settings, policy=policy)

    return change


async def edge_with(managed: Managed, *fields: tuple[str, str], part: str = "request_headers") -> EdgeRow:
    edge = await managed.services.edges.create(ANN, EdgeDraft(host="demo"))
    await managed.services.edges.set_policy(ANN, edge.id, adds(part, *fields))
    managed.join("ann", (("edge", edge.id),))
    return await stored(managed, edge.id)


async def stored(managed: Managed, edge_id: str) -> EdgeRow:
    row = await managed.store.edges.get(edge_id)
    assert row is not None
    return row


@pytest.mark.parametrize("part", ["request_headers", "response_headers"])
async def test_a_value_is_sealed_and_in_force(part):
    managed = Managed()
    row = await edge_with(managed, FIELD, part=part)
    view = await managed.services.edges.get(ANN, row.id)
    policy = managed.policy(HOST)
    edit = getattr(policy, part.replace("headers", "edit"))

    assert edit.add == f"X-Api-Key: {VALUE}\r\n".encode()
    assert VALUE not in row.settings
    assert VALUE.encode() not in row.sealed
    assert view.stored_secrets.valued[part] == {"X-Api-Key"}
    assert VALUE not in f"{row!r} {view!r} {policy!r} {edit!r}"


async def test_a_value_is_kept_by_its_name_whatever_else_changes():
    managed = Managed()
    row = await edge_with(managed, ("X-Twice", "one"), FIELD, ("X-Twice", "two"))
    change = adds("request_headers", ("x-twice", KEPT), ("X-New", "new"), ("X-TWICE", KEPT), ("x-api-key", KEPT))

    await managed.services.edges.set_policy(ANN, row.id, change)
    await managed.services.edges.update(ANN, row.id, description="another")

    lines = managed.policy(HOST).request_edit.add.decode().splitlines()
    assert lines == ["x-twice: one", "X-New: new", "X-TWICE: two", f"x-api-key: {VALUE}"]


async def test_a_value_that_was_taken_away_is_gone_and_cannot_be_kept():
    managed = Managed()
    row = await edge_with(managed, FIELD)
    await managed.services.edges.set_policy(ANN, row.id, adds("request_headers"))

    with pytest.raises(ManageError) as refused:
        await managed.services.edges.set_policy(ANN, row.id, adds("request_headers", ("X-Api-Key", KEPT)))

    assert list(refused.value.fields) == ["request_headers.add"]
    assert (await stored(managed, row.id)).sealed == b""


async def test_events_tell_names_and_that_a_value_was_changed():
    managed = Managed()
    row = await edge_with(managed, FIELD, ("X-Other", "same"))
    managed.events()

    change = adds("request_headers", ("X-Api-Key", VALUE + "2"), ("X-Other", KEPT))
    await managed.services.edges.set_policy(ANN, row.id, change)
    await managed.services.edges.update(ANN, row.id, metadata=VALUE)
    changed, described = managed.events("edge.")
    await managed.services.edges.delete(ANN, row.id)
    (deleted,) = managed.events("edge.")

    assert json.loads(changed.details["after"]) == {"request_headers.add.X-Api-Key": "changed"}
    assert json.loads(described.details["after"]) == {"metadata": "(not shown)"}
    assert json.loads(deleted.details["before"])["request_headers.add"] == ["X-Api-Key", "X-Other"]
    assert VALUE not in f"{changed!r} {described!r} {deleted!r}"


async def test_an_edge_whose_values_cannot_be_had_refuses_everybody():
    managed = Managed()
    row = await edge_with(managed, FIELD)
    older = managed.ring.sealing(managed.clock()).kid
    managed.ring.adopt(managed.ring.with_new_key(managed.clock()))
    managed.ring.adopt(managed.ring.without(older))
    await managed.sync.reload()
    assert managed.policy(HOST) == CLOSED

    with pytest.raises(ManageError):
        await managed.services.edges.set_policy(ANN, row.id, adds("request_headers", ("X-Api-Key", KEPT)))
    await managed.services.edges.set_policy(ANN, row.id, adds("request_headers", FIELD))

    assert managed.policy(HOST) != CLOSED


async def test_values_in_the_clear_of_an_earlier_release_hold_and_are_sealed_at_the_first_look():
    managed = Managed()
    row = await edge_with(managed)
    settings = adds("request_headers", FIELD)(EdgeSettings.parse(row.settings))
    old = EdgeRow(**{**_fields(row), "settings": settings.encode(), "version": row.version + 1})
    assert await managed.store.edges.replace(old)
    await managed.sync.reload()
    held = (await managed.services.edges.get(ANN, row.id)).settings
    before = managed.policy(HOST).request_edit.add

    await managed.sync.look()
    now = await stored(managed, row.id)

    assert before == managed.policy(HOST).request_edit.add == f"X-Api-Key: {VALUE}\r\n".encode()
    assert held.policy.request_headers.add == (("X-Api-Key", KEPT),)
    assert VALUE not in now.settings
    assert now.sealed


async def test_a_provider_s_request_parameters_are_told_by_name():
    from tests.services.test_providers import WORK

    managed = Managed()
    settings = msgspec.structs.replace(WORK, request_params=(("tenant_key", VALUE),))
    await managed.services.providers.create(ADMIN, "work", settings, "hush", metadata=VALUE)

    (event,) = managed.events("provider.")
    assert json.loads(event.details["after"])["request_params"] == ["tenant_key"]
    assert VALUE not in repr(event)


def _fields(row: EdgeRow) -> dict[str, object]:
    return {name: getattr(row, name) for name in EdgeRow.__dataclass_fields__}
