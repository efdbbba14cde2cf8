"""Reserved tcp ports: who gets one, what it keeps others from, and that they are no domains."""

from itertools import islice

import pytest

from tests.oidc.world import TUN_EXAMPLE
from tests.services.people import TCP_PORTS, Office
from tests.support.tunnels import fake_tunnel
from tunnelrelay.agents.host_names import random_label
from tunnelrelay.agents.tcp_addresses import preferred
from tunnelrelay.config.values import PortRange
from tunnelrelay.policy.rules import Policy
from tunnelrelay.registry.registry import LOST_SECONDS
from tunnelrelay.services.addrs import MAX_ADDRS, Addrs
from tunnelrelay.services.problems import Kind, ManageError
from tunnelrelay.store.base import MAX_COOLING

HOST = "tcp://tun.example:20001"


@pytest.fixture
def office() -> Office:
    return Office()


def addrs_of(office: Office, ranges: tuple[PortRange, ...] = TCP_PORTS) -> Addrs:
    return Addrs(office.base, office.domains.names, office.registry, ranges)


@pytest.mark.parametrize("wish", ["20001", "tun.example:20001", " TUN.example:20001 "])
async def test_a_port_is_reserved_by_its_number(office: Office, wish: str) -> None:
    addrs, ann = addrs_of(office), await office.actor("ann")

    row = await addrs.create(ann, wish, "ssh", "{}")

    assert (row.host, row.owner, row.proto, row.description) == (HOST, "team", "tcp", "ssh")
    assert await addrs.page(ann) == [row]
    assert await addrs.get(ann, row.id) == row
    assert row.id.startswith("ra_")


async def test_without_a_wish_it_is_one_that_is_neither_reserved_served_nor_kept_for_another(office: Office) -> None:
    addrs, ann = addrs_of(office, (PortRange(None, 20_001, 20_004),)), await office.actor("ann")
    office.registry.claim(fake_tunnel("other"), HOST, Policy())
    bob = await office.actor("bob", owner="other")
    await addrs.delete(bob, (await addrs.create(bob, "20002")).id)

    rows = [await addrs.create(ann) for _ in range(2)]
    with pytest.raises(ManageError) as none_free:
        await addrs.create(ann)

    assert {row.host for row in rows} == {"tcp://tun.example:20003", "tcp://tun.example:20004"}
    assert (none_free.value.kind, none_free.value.code) == (Kind.CONFLICT, "domain_taken")


async def test_a_port_can_be_had_where_another_owner_gave_up_as_many_as_are_kept(office: Office) -> None:
    addrs, ann = addrs_of(office), await office.actor("ann")
    bob = await office.actor("bob", owner="other")
    hosts = [TUN_EXAMPLE.tcp_host(port) for each in TCP_PORTS for port in each.ports]
    for host in islice(preferred("team", hosts), MAX_ADDRS):
        await addrs.delete(bob, (await addrs.create(bob, host.removeprefix("tcp://"))).id)

    assert (await addrs.create(ann)).owner == "team"


async def test_ports_given_up_count_however_many_generated_names_were_given_up_too(office: Office) -> None:
    addrs, ann = addrs_of(office), await office.actor("ann")
    for _ in range(MAX_COOLING):
        host = TUN_EXAMPLE.host_for_label(random_label())
        await office.store.claim_name(host, "team", office.clock(), lost_seconds=0, cool_seconds=0)
        await office.store.release_name(host, "team", office.clock())
    for port in range(21_000, 21_000 + MAX_ADDRS):
        await addrs.delete(ann, (await addrs.create(ann, str(port))).id)

    with pytest.raises(ManageError) as refused:
        await addrs.create(ann, "21100")
    assert refused.value.code == "too_many"


@pytest.mark.parametrize("wish", ["22", "other.example:20001", "20001x", "999999", "tun.example", "tun.example:", "-1"])
async def test_what_is_no_port_of_the_relay_is_refused(office: Office, wish: str) -> None:
    with pytest.raises(ManageError) as refused:
        await addrs_of(office).create(await office.actor("ann"), wish)
    assert (refused.value.kind, list(refused.value.fields)) == (Kind.INVALID, ["addr"])
    assert "20001-20002, 21000-21100" in refused.value.hint


async def test_a_relay_without_ports_says_so(office: Office) -> None:
    with pytest.raises(ManageError) as refused:
        await addrs_of(office, ()).create(await office.actor("ann"))
    assert (refused.value.kind, list(refused.value.fields)) == (Kind.INVALID, ["addr"])
    assert "--tcp-ports" in refused.value.hint


async def test_a_reserved_port_is_no_other_owners(office: Office) -> None:
    red, blue = await office.actor("ann", owner="red"), await office.actor("bob", owner="blue")
    addrs = addrs_of(office)
    row = await addrs.create(red, "20001")

    with pytest.raises(ManageError) as refused:
        await addrs.create(blue, "20001")
    held = await office.store.claim_name(HOST, "blue", office.clock(), lost_seconds=LOST_SECONDS, cool_seconds=0)

    assert (refused.value.kind, refused.value.code) == (Kind.CONFLICT, "domain_taken")
    assert "red" not in f"{refused.value.message} {refused.value.hint}"
    assert held.owner == "red"
    assert await addrs.page(blue) == []
    with pytest.raises(ManageError) as missing:
        await addrs.get(blue, row.id)
    assert missing.value.kind is Kind.MISSING


async def test_ports_and_domains_are_apart(office: Office) -> None:
    addrs, ann = addrs_of(office), await office.actor("ann")
    port, name = await addrs.create(ann, "20001"), await office.domains.create(ann, "demo")

    assert await addrs.page(ann) == [port]
    assert await office.domains.page(ann) == [name]
    for service, row in ((addrs, name), (office.domains, port)):
        with pytest.raises(ManageError) as missing:
            await service.get(ann, row.id)
        assert missing.value.kind is Kind.MISSING
        with pytest.raises(ManageError):
            await service.delete(ann, row.id)


async def test_a_port_is_described_and_given_up(office: Office) -> None:
    addrs, ann = addrs_of(office), await office.actor("ann")
    row = await addrs.create(ann, "20001")

    changed = await addrs.update(ann, row.id, description="ssh of the build machine")
    await addrs.delete(ann, row.id)

    assert changed.description == "ssh of the build machine"
    assert await addrs.page(ann) == []


async def test_an_owner_reserves_so_many(office: Office) -> None:
    addrs, ann = addrs_of(office), await office.actor("ann")
    for _ in range(MAX_ADDRS):
        await addrs.create(ann)

    with pytest.raises(ManageError) as refused:
        await addrs.create(ann)
    assert (refused.value.kind, refused.value.code) == (Kind.CONFLICT, "too_many")
