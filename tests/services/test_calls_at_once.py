"""What one user does by many calls at the same time, on a store that takes a while."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.services.test_edges import with_policy
from tests.support.managed import ADMIN, Managed
from tunnelrelay.services.actor import Actor
from tunnelrelay.services.edges import EdgeDraft
from tunnelrelay.services.problems import ManageError
from tunnelrelay.store.store import SqliteStore

LIMIT, CALLS = 3, 8


@pytest.fixture
async def managed(tmp_path: Path) -> AsyncIterator[Managed]:
    store = await SqliteStore.open(tmp_path / "relay.db")
    yield Managed(store=store)
    await store.close()


async def made(calls: Iterable[Awaitable[Any]]) -> int:
    """How many of these calls at the same time succeed; the others are refused."""
    done = await asyncio.gather(*calls, return_exceptions=True)
    refused = [each for each in done if isinstance(each, BaseException)]
    assert all(isinstance(each, ManageError) for each in refused), refused
    return len(done) - len(refused)


async def test_no_more_are_made_at_once_than_one_after_the_other(
    managed: Managed, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in ("addrs.MAX_ADDRS", "domains.MAX_DOMAINS", "api_keys.MAX_KEYS", "credentials.MAX_TOKENS"):
        monkeypatch.setattr(f"tunnelrelay.services.{limit}", LIMIT)
    monkeypatch.setattr("tunnelrelay.services.backends.MAX_BACKENDS", LIMIT)
    monkeypatch.setattr("tunnelrelay.services.edges.MAX_EDGES", LIMIT)
    services = managed.services
    user = await services.users.create(ADMIN, "ann", "ann")
    ann = Actor(user_id=user.id, name="ann", owner="ann", is_admin=False, via="api")

    numbers = range(CALLS)
    kinds: dict[str, Iterable[Awaitable[Any]]] = {
        "addrs": (services.addrs.create(ann, str(20_001 + number)) for number in numbers),
        "domains": (services.domains.create(ann, f"name{number}") for number in numbers),
        "api_keys": (services.api_keys.create(ann) for number in numbers),
        "credentials": (services.credentials.create(ann) for number in numbers),
        "backends": (services.backends.create(ann, [("number", str(number))]) for number in numbers),
        "edges": (services.edges.create(ann, EdgeDraft()) for number in numbers),
    }

    assert {kind: await made(calls) for kind, calls in kinds.items()} == dict.fromkeys(kinds, LIMIT)


async def test_edges_that_grow_at_once_stay_within_the_size_of_an_owner(
    managed: Managed, monkeypatch: pytest.MonkeyPatch
) -> None:
    edges = managed.services.edges
    ids = [(await edges.create(ADMIN, EdgeDraft())).id for _ in range(CALLS)]
    monkeypatch.setattr("tunnelrelay.services.edges.MAX_OWNERS_BYTES", most := 10_000)
    large = with_policy(cidr_allow=tuple(f"10.0.{number}.0/24" for number in range(200)))

    assert await made(edges.set_policy(ADMIN, edge_id, large) for edge_id in ids) > 0
    assert managed.sync.bytes_of(ADMIN.owner) <= most


async def test_nothing_is_deleted_that_an_edge_begins_to_need_at_the_same_time(managed: Managed) -> None:
    services, store = managed.services, managed.store
    edges = [await services.edges.create(ADMIN, EdgeDraft()) for _ in range(CALLS)]
    domains = [await services.domains.create(ADMIN, f"name{number}") for number in range(CALLS)]
    groups = [await services.backends.create(ADMIN, [("number", str(number))]) for number in range(CALLS)]

    await made(
        call
        for edge, domain, group in zip(edges, domains, groups, strict=True)
        for call in (
            services.domains.delete(ADMIN, domain.id),
            services.edges.update(ADMIN, edge.id, host=domain.host),
            services.backends.delete(ADMIN, group.id),
            services.edges.set_backend(ADMIN, edge.id, group.id),
        )
    )

    rows = await store.edges.all()
    assert {row.host for row in rows} - {None} <= {row.host for row in await store.domains.all()}
    assert {row.backend_id for row in rows} - {""} <= {row.id for row in await store.backends.all()}
