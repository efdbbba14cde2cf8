"""Reserved tcp ports in the dashboard: reserved, described and released by their owner."""

import pytest

from tests.dashboard.test_edges import HOSTILE, text_of
from tests.support.dashboard import InMemory
from tests.support.managed import ADMIN
from tunnelrelay.address import tcp_port


async def reserved(house: InMemory, addr: str = "20017", owner: str = "default", description: str = "") -> str:
    """A reservation's id."""
    return (await house.managed.services.addrs.create(ADMIN, addr, description, owner=owner)).id


async def test_a_list_without_ports_says_what_they_are_for_and_how_to_make_the_first(admin):
    page = text_of((await admin.get("/tcp-ports")).text)

    assert "no other owner can serve it" in page
    assert "tunnel api reserved-addrs create" in page


async def test_a_relay_without_ports_says_what_its_operator_has_to_set(house, admin):
    house.managed.services.addrs.port_ranges = ()

    assert "--tcp-ports 20000-20100" in text_of((await admin.get("/tcp-ports")).text)
    answer = await admin.post("/tcp-ports/new", {"addr": ""})

    assert answer.status_code == 400
    assert "this relay has no ports" in text_of(answer.text)


async def test_a_port_is_reserved_described_and_released(admin):
    answer = await admin.post("/tcp-ports/new", {"addr": "20017", "description": "ssh"})
    where = answer.headers["location"].partition("?")[0]
    listed = (await admin.get("/tcp-ports")).text
    shown = text_of((await admin.get(where)).text)
    await admin.post(where, {"description": "ssh of the build machine"})
    changed = (await admin.get(where)).text
    answer = await admin.post(f"{where}/release")

    assert "tcp://tun.example:20017" in listed
    assert "tunnel tcp 22 --remote-addr 20017" in shown
    assert "ssh of the build machine" in changed
    assert answer.headers["location"].partition("?")[0] == "/tcp-ports"
    assert (await admin.get(where)).status_code == 404


async def test_a_port_is_chosen_for_who_asks_for_none(house, admin):
    await admin.post("/tcp-ports/new", {"addr": ""})

    (row,) = await house.managed.store.domains.all()
    port = tcp_port(row.host)
    assert (row.host, row.proto) == (f"tcp://tun.example:{port}", "tcp")
    assert any(port in each.ports for each in house.managed.services.addrs.port_ranges)


@pytest.mark.parametrize("addr", ["22", "ssh", "other.example:20017", HOSTILE])
async def test_a_port_that_the_relay_does_not_have_is_told_at_its_field_and_the_rest_stays_typed(admin, addr):
    answer = await admin.post("/tcp-ports/new", {"addr": addr, "description": "ssh"})

    assert answer.status_code == 400
    assert 'aria-invalid="true"' in answer.text
    assert 'value="ssh"' in answer.text
    assert "<script>alert" not in answer.text


async def test_a_port_that_is_taken_is_told_without_saying_by_whom(house):
    """Row 138."""
    await reserved(house, owner="bob")
    async with house.signed_in(await house.user("ann", "ann")) as ann:
        answer = await ann.post("/tcp-ports/new", {"addr": "20017"})

    assert answer.status_code == 409
    assert "is reserved or in use already" in text_of(answer.text)
    assert "bob" not in answer.text


async def test_a_members_ports_are_their_owners_and_no_others(house):
    """Row 138."""
    row_id = await reserved(house, owner="bob")
    async with house.signed_in(await house.user("ann", "ann")) as ann:
        listed = (await ann.get("/tcp-ports")).text
        answers = [
            await ann.get(f"/tcp-ports/{row_id}"),
            await ann.post(f"/tcp-ports/{row_id}", {"description": "mine"}),
            await ann.post(f"/tcp-ports/{row_id}/release"),
        ]

    assert "20017" not in listed
    assert [answer.status_code for answer in answers] == [404, 404, 404]
