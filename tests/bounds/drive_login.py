"""Drivers for what visitors, owners and their providers make a relay's logins keep."""

import asyncio
import os
import secrets
from base64 import urlsafe_b64encode
from typing import Any

import pytest

from tests.bounds.driving import bound_of, drive_bucket, drives, host, measured, owner, same_table, table, tables
from tests.oidc.providers.test_dns import names
from tests.oidc.providers.test_prefetch import Warmed
from tests.oidc.sessions.test_access_tokens import Relay
from tests.oidc.world import APP, CLIENT_ID, ISSUER, PEER, Clock, Gate, World, connection
from tests.support.memory_store import MemoryStore
from tunnelctl.bounds import DeclaredBound
from tunnelctl.oidc.keys import MAX_KEYS as MAX_PROVIDERS_KEYS
from tunnelctl.oidc.keys import MAX_KID, MAX_RSA_BITS
from tunnelctl.oidc.metadata import MAX_ENDPOINT
from tunnelrelay.observe.audit import Audit
from tunnelrelay.observe.metrics import Metrics
from tunnelrelay.oidc.login.limits import LoginLimits
from tunnelrelay.oidc.login.visitor_request import VisitorRequest
from tunnelrelay.oidc.providers.dns import Resolver
from tunnelrelay.oidc.providers.known_providers import KnownProviders
from tunnelrelay.oidc.providers.ssrf_guard import MAX_CONNECTIONS
from tunnelrelay.oidc.sessions.access_tokens import Program, TokenRefused
from tunnelrelay.oidc.sessions.revocations import SessionRevocations

DISCOVERY = "/.well-known/openid-configuration"
GROUPS = [f"{number:04d}{'g' * 60}" for number in range(60)]
"""As many as fit into one identity's header field."""


# Tokens of programs


async def shown(relay: Relay, number: int, at: str = APP) -> Program:
    """A good token whose holder has names as long as they can be."""
    text = f"{number:06d}" + "n" * 1018
    claims: dict[str, Any] = {"sub": f"{number:06d}" + "s" * 249, "name": text, "groups": GROUPS, "jti": text}
    found = await relay.shows(relay.token(**claims), host=at)
    assert isinstance(found, Program), found
    return found


@drives("good tokens remembered at one endpoint")
async def drive_tokens(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    relay = Relay()
    known = table(relay.bearers, bound_of("endpoints with remembered tokens"))
    await shown(relay, 0)
    known.clear()
    with measured() as memory:
        for number in range(2 * bound.limit):
            await shown(relay, number)
            assert len(known[APP]) <= bound.limit
        # What is given back with them is what they take: reading a token leaves things behind in libraries too.
        with_tokens = memory.taken
        known.clear()
        taken = with_tokens - memory.taken
    assert bound.worst_bytes / 2 < taken <= bound.worst_bytes


@drives("endpoints with remembered tokens")
async def drive_token_hosts(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunnelrelay.oidc.sessions.access_tokens.MAX_HOSTS", 32)
    relay = Relay()
    for number in range(64):
        await shown(relay, 0, at=host(number))
        assert len(table(relay.bearers, bound)) <= 32
    assert host(0) not in table(relay.bearers, bound)


@drives("bad tokens from one address at one endpoint")
async def drive_bad_tokens(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    relay = Relay()
    codes = [await relay.shows(relay.token(exp=1)) for _ in range(2 * bound.limit)]
    told = [each.code for each in codes if isinstance(each, TokenRefused)]
    assert told == ["bearer_invalid"] * bound.limit + ["too_many_requests"] * bound.limit
    same_table(relay.bearers, bound)


# Providers


def fat_documents(world: World) -> None:
    """A provider whose documents take as much memory as they are taken with."""
    numbers = [secrets.randbits(MAX_RSA_BITS) | 1 | 1 << (MAX_RSA_BITS - 1) for _ in range(MAX_PROVIDERS_KEYS)]
    world.provider.jwks = {
        "keys": [
            {"kty": "RSA", "kid": f"{at:02d}" + "k" * (MAX_KID - 3) + "\U0001f600", "n": b64(number), "e": "AQAB"}
            for at, number in enumerate(numbers)
        ]
    }
    for name in ("authorization_endpoint", "token_endpoint", "userinfo_endpoint", "end_session_endpoint"):
        world.provider.metadata[name] = f"{ISSUER}/".ljust(MAX_ENDPOINT, "e")
    world.provider.metadata["prompt_values_supported"] = [f"{at:05d}" + "p" * 50 for at in range(2_000)]
    world.provider.metadata["more"] = ["m" * 60 for _ in range(1_000)]


def b64(number: int) -> str:
    return urlsafe_b64encode(number.to_bytes(MAX_RSA_BITS // 8)).rstrip(b"=").decode()


def cache(known: KnownProviders) -> Any:
    """What is known of each connection's provider."""
    kept, _ = tables(known, bound_of("memory of providers that are known"))
    return kept


@drives("providers that are known")
def drive_known(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    known = KnownProviders()
    for number in range(2 * bound.limit):
        known.of(connection(owner=owner(number)))
        assert len(cache(known)) <= bound.limit


@drives("providers that are known of one owner")
def drive_owners_known(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    known = KnownProviders()
    anns = known.of(connection(owner="ann"))
    for number in range(2 * bound.limit):
        known.of(connection(id=f"conn-{number}", owner="eve"))
        assert cache(known).count_of("eve") <= bound.limit
    assert known.of(connection(owner="ann")) is anns


@drives("memory of providers that are known")
async def drive_known_bytes(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    """One owner's provider publishes as many and as long keys as are taken; a neighbour's is like any."""
    world = World()
    kept = cache(world.providers.known)
    assert kept.max_bytes == bound.limit == bound.worst_bytes
    kept.max_bytes = bound.limit // 16
    await world.providers.verify(connection(owner="bob"), lambda metadata, keys: {})
    bobs = world.providers.known.of(connection(owner="bob"))
    fat_documents(world)
    await world.providers.verify(connection(owner="ann"), lambda metadata, keys: {})
    with measured() as memory:
        for number in range(14):
            await world.providers.verify(connection(id=f"conn-{number}", owner="ann"), lambda metadata, keys: {})
            assert kept.total <= kept.max_bytes
        world.provider.calls.clear()
        assert kept.count_of("ann") < 12
        assert kept.max_bytes / 4 < memory.taken <= kept.max_bytes
    assert world.providers.known.of(connection(owner="bob")) is bobs
    assert bobs.metadata.value is not None


async def calls_under_way(world: World, connections: list[Any]) -> int:
    """How many calls reach providers that never answer, of these."""
    hung = world.provider.gates["/hung" + DISCOVERY] = Gate()
    calls = [asyncio.ensure_future(world.providers.metadata(each)) for each in connections]
    await hung.reached.wait()
    for _ in range(10):
        await asyncio.sleep(0)
    count = len(world.provider.calls_to("/hung" + DISCOVERY))
    hung.open()
    await asyncio.gather(*calls, return_exceptions=True)
    return count


@drives("calls to providers under way")
async def drive_owners_calls(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    eves = [connection(id=f"conn-{number}", owner="eve", issuer=ISSUER + "/hung") for number in range(2 * bound.limit)]
    assert await calls_under_way(World(), eves) == bound.limit


@drives("calls to providers under way, of all owners")
async def drive_all_calls(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bound.limit == MAX_CONNECTIONS
    monkeypatch.setattr("tunnelrelay.oidc.providers.provider.MAX_CONNECTIONS", 20)
    world = World()
    many = [connection(id=f"conn-{number}", owner=owner(number // 4), issuer=ISSUER + "/hung") for number in range(40)]
    assert await calls_under_way(world, many) == 20


@drives("calls to one provider under way")
async def drive_calls(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    known = KnownProviders().of(connection())
    turns = [known.calls.locked() or await known.calls.acquire() for _ in range(bound.limit)]
    assert turns == [True] * bound.limit
    assert known.calls.locked()


@drives("checks of providers that wait")
async def drive_warm(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    warmed = Warmed()
    waiting, _ = tables(warmed.warm_ups, bound)
    eves = [connection(id=f"conn-{number}", owner="eve", issuer=ISSUER + "/hung") for number in range(2 * bound.limit)]
    with measured() as memory:
        for each in eves:
            warmed.warm_ups.add(each)
            assert len(waiting["eve"]) <= bound.limit
        tasks, warmed.tasks = warmed.tasks, []
        assert memory.taken <= bound.worst_bytes
    warmed.tasks = tasks
    await warmed.answer()


@drives("names of providers looked up")
async def drive_resolved(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = iter(range(2 * bound.limit))

    def look_up(name: str) -> list[str]:
        number = next(numbers)
        return [f"2001:db8:{number:x}:{each:x}:1111:2222:3333:4444" for each in range(180)]

    resolver = Resolver(look_up, monotonic=lambda: 0.0)
    with measured() as memory:
        for number in range(2 * bound.limit):
            await resolver.resolve(host(number), "eve")
            assert len(table(resolver, bound)) <= bound.limit
        assert memory.taken <= bound.worst_bytes


@drives("look-ups of names under way")
async def drive_lookups(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    async with names() as far_end:
        calls = [far_end.start(f"slow-{number}.example", f"owner-{number}") for number in range(2 * bound.limit)]
        await far_end.until_asked(bound.limit)
        for _ in range(10):
            await asyncio.sleep(0)
        assert len(far_end.asked) == bound.limit
        far_end.answer()
        await asyncio.gather(*calls)


@drives("look-ups of one owner")
async def drive_owners_lookups(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    async with names() as far_end:
        calls = [far_end.start(f"slow-{number}.example", "eve") for number in range(2 * bound.limit)]
        await far_end.until_asked(bound.limit)
        assert await far_end.resolver.resolve("op.example", "ann")
        assert len(far_end.asked) == bound.limit + 1
        far_end.answer()
        await asyncio.gather(*calls)


# Visitors' logins


def limits(**more: Any) -> LoginLimits:
    clock = Clock()
    return LoginLimits(metrics=Metrics(), audit=Audit(clock=clock), monotonic=clock, **more)


def asking(peer: str) -> VisitorRequest:
    return VisitorRequest(
        host=APP, connection=connection(), cookie_values=[], request_id="r", peer=PEER._replace(host=peer)
    )


@drives("logins begun by one address")
def drive_begun(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = limits()
    drive_bucket(lambda: begun.refuse(asking("203.0.113.9")), bound.limit)
    assert begun.refuse(asking("203.0.113.10")) is None
    same_table(begun, bound)


@drives("logins begun at one connection")
def drive_begun_at(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = limits()
    same_table(begun, bound)
    begun = limits(connection_burst=50)
    numbers = iter(range(1, 200))
    drive_bucket(lambda: begun.refuse(asking(f"203.0.113.{next(numbers)}")), 50)


@drives("sessions that ended lately")
def drive_ended(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = SessionRevocations(MemoryStore(), Clock())
    with measured() as memory:
        for _ in range(2 * bound.limit):
            ended.add(os.urandom(32))
            assert len(table(ended, bound)) <= bound.limit
        assert memory.taken <= bound.worst_bytes


def fat_claims(number: int) -> dict[str, Any]:
    """What a provider says of one person, as much as is taken."""
    return {
        "iss": ISSUER,
        "aud": CLIENT_ID,
        "sub": f"{number:06d}" + "s" * 249,
        "name": f"{number:06d}" + "n" * 1018,
        "email": f"{number:04d}{'e' * 200}@acme.example",
        "email_verified": True,
        "groups": GROUPS,
        "more": f"{number:06d}" + "m" * 3_000,
    }


async def sign_in(world: World, claims: dict[str, Any], whose: str = "ann") -> bytes:
    """One more visitor of an owner's, who has sent a request."""
    conn = connection(owner=whose)
    cookie = await world.sessions.create(APP, conn, issuer=ISSUER, claims=claims)
    session: Any = world.sessions.find(cookie, APP, conn, world.clock())
    session.header_block(world.clock())
    return cookie


@drives("visitors' logins in memory")
async def drive_sessions(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    kept = world.sessions.in_memory
    assert kept.max_count == bound.limit
    kept.max_count = 20
    for number in range(40):
        await sign_in(world, fat_claims(number))
        assert len(kept) <= 20


def emoji_claims(number: int) -> dict[str, Any]:
    """Little to send, and four bytes in memory for each letter."""
    return fat_claims(number) | {"name": f"{number:06d}\U0001f600" + "n" * 9_000, "groups": [], "more": ""}


def group_claims(number: int) -> dict[str, Any]:
    """Many short texts, each an object of its own."""
    return fat_claims(number) | {"name": "", "more": "", "groups": [f"{number:02x}{group:03x}" for group in range(500)]}


@drives("memory of visitors' logins")
async def drive_session_bytes(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    """One owner's provider invents people of whom it says as much as is kept, in three ways; a neighbour has a few."""
    for claims in (fat_claims, emoji_claims, group_claims):
        world = World()
        kept = world.sessions.in_memory
        assert kept.max_bytes == bound.limit == bound.worst_bytes
        kept.max_bytes = bound.limit // 150
        neighbours = [await sign_in(world, {"sub": f"p{number}"}, "bob") for number in range(20)]
        await sign_in(world, claims(0))
        with measured() as memory:
            number = 0
            while kept.count_of("ann") > number / 2:
                number += 1
                await sign_in(world, claims(number))
                assert kept.total <= kept.max_bytes
            world.store.session_rows.clear()
            world.audit.take()
            assert kept.max_bytes / 2 < memory.taken <= kept.max_bytes
        conn = connection(owner="bob")
        assert all(world.sessions.find(cookie, APP, conn, world.clock()) for cookie in neighbours)


async def signed_in_again(world: World, count: int, **claims: Any) -> int:
    for number in range(count):
        whose = {"sub": f"p{number}", "iss": ISSUER} | claims
        await world.sessions.create(APP, connection(), issuer=ISSUER, claims=whose)
    return len(world.store.session_rows)


@drives("logins of one person in the store")
async def drive_of_person(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    assert await signed_in_again(world, 2 * bound.limit, sub="alice") == bound.limit


@drives("logins of one connection, and of one endpoint, in the store")
async def drive_together(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunnelrelay.oidc.sessions.sessions.MAX_TOGETHER", 50)
    world = World()
    assert await signed_in_again(world, 100) == 50
