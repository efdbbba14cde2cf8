"""Drivers for what users of the dashboard and the API make the relay keep, and for sign-ins."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from tests.bounds.driving import drive_bucket, drives, measured, owner, same_table, table
from tests.services.people import Office
from tests.services.test_edges import with_policy
from tests.support.managed import ADMIN, ANN, BOB, FakeClock, FakeProvider, Managed, actor
from tunnelctl.bounds import DeclaredBound
from tunnelctl.oidc.findings import Finding
from tunnelctl.wire.messages import OidcSpec
from tunnelrelay.config.values import PortRange
from tunnelrelay.services.addrs import Addrs
from tunnelrelay.services.edges import EdgeDraft
from tunnelrelay.services.problems import Kind, ManageError
from tunnelrelay.services.provider_tests import TESTS_PER_SECOND, ProviderTests

LOGIN = OidcSpec(issuer="https://idp.example", client_id="c", client_secret="s")


@drives("changes through dashboard and API")
def drive_changes(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    base = Managed().base

    def is_refused() -> bool:
        with suppress(ManageError):
            base.count_change(ANN)
            return False
        return True

    object.__setattr__(base, "monotonic", lambda: 0.0)
    drive_bucket(is_refused, bound.limit)
    base.count_change(BOB)
    same_table(base, bound)


@drives("failed tests of providers that are remembered")
async def drive_failed(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, finds = FakeClock(), FakeProvider()
    tests = ProviderTests(Managed(clock=clock).base, finds)
    await tests.run(ANN, LOGIN, owner="ann")
    with measured() as memory:
        for number in range(2 * bound.limit):
            finds.findings = [Finding(topic="keys", level="error", found=f"{number:06d}" + "f" * 1_000)]
            await tests.run(ANN, LOGIN, owner=owner(number))
            clock.now += 1 / TESTS_PER_SECOND
            assert len(table(tests, bound)) <= bound.limit
        finds.asked.clear()
        assert memory.taken <= bound.worst_bytes


@drives("tests of providers under way")
async def drive_tests(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    asks = FakeProvider()
    asks.gate = asyncio.Event()
    tests = ProviderTests(Managed().base, asks)
    calls = [
        asyncio.ensure_future(tests.run(actor(f"user{number // 2}"), LOGIN, owner="ann"))
        for number in range(2 * bound.limit)
    ]
    await asyncio.sleep(0)
    assert len(asks.asked) == table(tests, bound).total() == bound.limit
    asks.gate.set()
    done = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(each, ManageError) and each.kind is Kind.BUSY for each in done) == bound.limit


@drives("tests of providers of one user under way")
async def drive_tests_of_one(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    asks = FakeProvider()
    asks.gate = asyncio.Event()
    tests = ProviderTests(Managed().base, asks)
    calls = [asyncio.ensure_future(tests.run(ANN, LOGIN, owner="ann")) for _ in range(2 * bound.limit)]
    await asyncio.sleep(0)
    assert len(asks.asked) == bound.limit
    asks.gate.set()
    await asyncio.gather(*calls, return_exceptions=True)


@drives("tests of providers")
async def drive_tests_begun(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    tests = ProviderTests(Managed().base, FakeProvider())
    for _ in range(bound.limit):
        await tests.run(ANN, LOGIN, owner="ann")
    with pytest.raises(ManageError):
        await tests.run(ANN, LOGIN, owner="ann")
    same_table(tests, bound)


async def codes_of(office: Office, count: int, *, text: str = "", peer: str = "") -> list[str]:
    """What comes of so many tries to sign in."""
    codes = []
    for number in range(count):
        with pytest.raises(ManageError) as refused:
            await office.sign_ins.redeem(text or f"code-{number}", peer=peer or f"203.0.113.{number}")
        codes.append(refused.value.code)
    return codes


@drives("tries to sign in")
async def drive_tries(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    office = Office()
    codes = await codes_of(office, 2 * bound.limit, peer="203.0.113.9")
    assert codes == ["sign_in_refused"] * bound.limit + ["too_often"] * bound.limit
    same_table(office.sign_ins, bound)


@drives("tries at one code or key")
async def drive_tries_at(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    office = Office()
    codes = await codes_of(office, 2 * bound.limit, text="leaked")
    assert codes == ["sign_in_refused"] * bound.limit + ["too_often"] * bound.limit
    same_table(office.sign_ins, bound)


# Rows in the database


async def refused_after(change: Callable[[int], Awaitable[object]], limit: int) -> None:
    """So many changes are made, and not one more."""
    for number in range(limit):
        await change(number)
    with pytest.raises(ManageError) as refused:
        await change(limit)
    assert refused.value.code == "too_many"


@drives("API keys")
async def drive_keys(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunnelrelay.services.api_keys.MAX_KEYS", 5)
    office = Office()
    ann = await office.actor("ann")
    await refused_after(lambda number: office.keys.create(ann), 5)


@drives("authtokens that are good")
async def drive_tokens(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunnelrelay.services.credentials.MAX_TOKENS", 5)
    office = Office()
    ann = await office.actor("ann")
    await refused_after(lambda number: office.credentials.create(ann), 5)


@drives("domains, and names given up that are kept from others")
async def drive_domains(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every other one is given up again, and counts all the same."""
    monkeypatch.setattr("tunnelrelay.services.domains.MAX_DOMAINS", 6)
    office = Office()
    ann = await office.actor("ann")

    async def reserve(number: int) -> None:
        made = await office.domains.create(ann, f"chosen-{number}")
        if number % 2:
            await office.domains.delete(ann, made.id)

    await refused_after(reserve, 6)


@drives("tcp ports reserved, and those given up that are kept from others")
async def drive_addrs(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every other one is given up again, and counts all the same."""
    office = Office()
    addrs = Addrs(office.base, office.domains.names, office.registry, (PortRange(None, 20_000, 20_100),))
    ann = await office.actor("ann")

    async def reserve(number: int) -> None:
        made = await addrs.create(ann, str(20_000 + number))
        if number % 2:
            await addrs.delete(ann, made.id)

    await refused_after(reserve, bound.limit)


@drives("tunnel groups")
async def drive_groups(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunnelrelay.services.backends.MAX_BACKENDS", 5)
    backends = Managed().services.backends
    await refused_after(lambda number: backends.create(ANN, (("team", f"t{number}"),)), 5)


@drives("trust rules")
async def drive_trust_rules(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several owners: they count together."""
    monkeypatch.setattr("tunnelrelay.services.trust_rules.MAX_TRUST_RULES", 5)
    rules = Managed().services.trust_rules

    async def make(number: int) -> None:
        claims = {"project_id": str(number)}
        await rules.create(
            ADMIN, issuer="https://gitlab.com", claims=claims, acl=["bind:pr-*"], owner=f"owner-{number}"
        )

    await refused_after(make, 5)


@drives("edges")
async def drive_edges(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunnelrelay.services.edges.MAX_EDGES", 5)
    edges = Managed().services.edges
    await refused_after(lambda number: edges.create(ANN, EdgeDraft(host=f"demo-{number}")), 5)


@drives("settings of all edges, as JSON")
async def drive_edge_settings(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of networks on each of many edges, as short as they are written: every relay keeps all compiled."""
    limit = bound.limit // 128
    monkeypatch.setattr("tunnelrelay.services.edges.MAX_OWNERS_BYTES", limit)
    managed = Managed()
    object.__setattr__(managed.base, "monotonic", lambda: 0.0)
    edges, made = managed.services.edges, 0
    error = None
    with measured() as memory:
        while error is None:
            networks = tuple(f"{number + 1:x}::" for number in range(0, 2_000, 2))
            edge = await edges.create(ANN, EdgeDraft(host=f"demo-{made}"))
            try:
                await edges.set_policy(ANN, edge.id, with_policy(cidr_allow=networks))
                made += 1
            except ManageError as refused:
                error = refused
        managed.audit.take()
        assert memory.taken <= bound.worst_bytes / 128
    assert error.fields.keys() == {"policy"}
    assert 3 <= made <= limit / 8_000


@drives("browsers that are signed in to the dashboard")
async def drive_sign_ins(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    office = Office()
    ann = await office.person("ann")
    cookies = []
    for _ in range(bound.limit + 3):
        office.clock.now += 1
        cookies.append(await office.signed_in(ann, peer=""))
    assert [await office.is_in(cookie) for cookie in cookies] == [False] * 3 + [True] * bound.limit


@drives("one-time codes to sign in with")
async def drive_codes(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    office = Office()
    ann = await office.person("ann")
    for _ in range(bound.limit + 3):
        office.clock.now += 1
        await office.sign_ins.invite(None, ann.id)
        assert len(await office.store.sign_ins.all(user_id=ann.id)) <= bound.limit
