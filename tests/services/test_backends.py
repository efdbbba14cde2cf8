"""Tunnel groups: what labels may be, and that a group acts on the edges it serves."""

import pytest

from tests.support.managed import ANN, BOB, Managed
from tunnelrelay.services.edges import EdgeDraft
from tunnelrelay.services.problems import Kind, ManageError


@pytest.fixture
def managed() -> Managed:
    return Managed()


async def test_a_group_is_listed_and_found(managed):
    made = await managed.services.backends.create(ANN, (("b", "2"), ("a", "1")), "red ones", "{}")

    assert made.labels == (("a", "1"), ("b", "2"))
    assert await managed.services.backends.page(ANN) == [made]
    assert await managed.services.backends.get(ANN, made.id) == made
    assert made.id.startswith("bkdtg_")


@pytest.mark.parametrize(
    "labels",
    [
        (),
        (("a", "1"), ("a", "2")),
        (("", "1"),),
        (("a", ""),),
        (("a=b", "c"),),
        (("a", "x" * 256),),
        (("a", "line\nbreak"),),
        tuple((f"n{number}", "x") for number in range(17)),
    ],
)
async def test_labels_that_cannot_be_are_refused(managed, labels):
    with pytest.raises(ManageError) as refused:
        await managed.services.backends.create(ANN, labels)

    assert list(refused.value.fields) == ["labels"]


async def test_other_labels_change_who_serves_at_once(managed):
    group = await managed.services.backends.create(ANN, (("team", "red"),))
    made = await managed.services.edges.create(ANN, EdgeDraft(host="demo"))
    await managed.services.edges.set_backend(ANN, made.id, group.id)
    red, blue = managed.join("ann", (("team", "red"),)), managed.join("ann", (("team", "blue"),), "a2")
    endpoint = managed.registry.find("demo.tun.example")
    assert endpoint.tunnels == (red,)

    changed = await managed.services.backends.update(ANN, group.id, labels=(("team", "blue"),))

    assert endpoint.tunnels == (blue,)
    assert changed.version == 2


async def test_a_stranger_s_tunnel_with_the_same_labels_serves_nothing(managed):
    """Rows 124, 138."""
    group = await managed.services.backends.create(ANN, (("team", "red"),))
    made = await managed.services.edges.create(ANN, EdgeDraft(host="demo"))
    await managed.services.edges.set_backend(ANN, made.id, group.id)

    managed.join("bob", (("team", "red"), ("edge", made.id)))

    assert managed.registry.find("demo.tun.example").tunnels == ()


async def test_a_group_in_use_is_not_deleted(managed):
    group = await managed.services.backends.create(ANN, (("team", "red"),))
    made = await managed.services.edges.create(ANN, EdgeDraft(host="demo"))
    await managed.services.edges.set_backend(ANN, made.id, group.id)

    with pytest.raises(ManageError) as refused:
        await managed.services.backends.delete(ANN, group.id)
    await managed.services.edges.delete(ANN, made.id)
    await managed.services.backends.delete(ANN, group.id)

    assert (refused.value.kind, refused.value.code) == (Kind.CONFLICT, "in_use")
    assert await managed.services.backends.page(ANN) == []


async def test_an_edge_cannot_be_served_by_a_stranger_s_group(managed):
    group = await managed.services.backends.create(BOB, (("team", "red"),))
    made = await managed.services.edges.create(ANN, EdgeDraft(host="demo"))

    with pytest.raises(ManageError) as foreign:
        await managed.services.edges.set_backend(ANN, made.id, group.id)
    with pytest.raises(ManageError) as unknown:
        await managed.services.edges.set_backend(ANN, made.id, "bkdtg_none")

    assert (foreign.value.kind, foreign.value.fields) == (unknown.value.kind, unknown.value.fields)


async def test_changes_of_groups_are_told(managed):
    group = await managed.services.backends.create(ANN, (("team", "red"),))
    await managed.services.backends.update(ANN, group.id, description="blue soon")
    await managed.services.backends.delete(ANN, group.id)

    events = managed.events("backend.")
    assert [event.kind for event in events] == ["backend.created", "backend.updated", "backend.deleted"]
    assert (events[1].details["before"], events[1].details["after"]) == ("{}", '{"description":"blue soon"}')
