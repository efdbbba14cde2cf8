"""What only the store in PostgreSQL does: several relays at once, a server that goes away, limits on every wait."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import asyncpg
import pytest

from tests.store.test_contract import DIGEST, SESSION, TOKEN
from tests.support.postgres import PostgresServer, postgres_server
from tests.support.waiting import PATIENCE
from tunnelrelay.config.database import DatabaseUrl
from tunnelrelay.store import engine as engines
from tunnelrelay.store import postgresql
from tunnelrelay.store.base import SessionCriteria, StoreError
from tunnelrelay.store.postgresql import PostgresqlStore
from tunnelrelay.store.resources import DomainRow

SHORT = 1.0
"""Stands for `BUSY_SECONDS` in tests that wait for it."""


@pytest.fixture
async def url(postgres: PostgresServer) -> str:
    return await postgres.database()


@pytest.fixture
async def pair(url: str) -> AsyncIterator[tuple[PostgresqlStore, PostgresqlStore]]:
    """The stores of two relays, on one database."""
    stores = [await PostgresqlStore.open(DatabaseUrl(url)) for _ in range(2)]
    yield stores[0], stores[1]
    for store in stores:
        await store.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (engines, postgresql):
        monkeypatch.setattr(module, "BUSY_SECONDS", SHORT)


Pair = tuple[PostgresqlStore, PostgresqlStore]


# Two relays at once


async def test_of_many_owners_at_two_relays_one_gets_a_name(pair: Pair) -> None:
    claims = (
        pair[number % 2].claim_name("demo.localhost", f"owner {number}", 10.0, lost_seconds=10, cool_seconds=100)
        for number in range(20)
    )
    answers = await asyncio.gather(*claims)
    assert len({answer.owner for answer in answers}) == 1


async def test_of_many_owners_at_two_relays_one_gets_a_name_that_has_cooled_down(pair: Pair) -> None:
    await pair[0].claim_name("demo.localhost", "ann", 10.0, lost_seconds=10, cool_seconds=100)
    await pair[0].release_name("demo.localhost", "ann", 20.0)
    claims = (
        pair[number % 2].claim_name("demo.localhost", f"owner {number}", 500.0, lost_seconds=10, cool_seconds=100)
        for number in range(20)
    )
    answers = await asyncio.gather(*claims)
    assert {(answer.owner, answer.generation) for answer in answers} == {(answers[0].owner, 2)}
    assert answers[0].owner != "ann"


async def test_of_many_owners_at_two_relays_one_reserves_or_serves_a_domain(pair: Pair) -> None:
    def row(number: int) -> DomainRow:
        owner = f"owner {number}"
        return DomainRow(id=f"rd_{number}", owner=owner, created_at=1.0, updated_at=1.0, host="demo.localhost")

    reserving = (
        pair[number % 2].reserve_domain(row(number), 10.0, lost_seconds=10, cool_seconds=0) for number in range(10)
    )
    serving = (
        pair[number % 2].claim_name("demo.localhost", f"owner {number}", 10.0, lost_seconds=10, cool_seconds=0)
        for number in range(10, 20)
    )
    answers = await asyncio.gather(*reserving, *serving)
    (winner,) = {answer.owner for answer in answers if answer is not None}
    assert {row.owner for row in await pair[0].domains.all()} <= {winner}


async def test_reserving_and_giving_up_at_two_relays_never_wait_for_each_other_for_ever(pair: Pair) -> None:
    def row(number: int) -> DomainRow:
        return DomainRow(id=f"rd_{number}", owner="ann", created_at=1.0, updated_at=1.0, host="demo.localhost")

    for number in range(20):
        await asyncio.gather(
            pair[0].reserve_domain(row(number), 10.0, lost_seconds=10, cool_seconds=0),
            pair[1].give_up_domain(f"rd_{number - 1}", 10.0),
        )
        await pair[0].give_up_domain(f"rd_{number - 1}", 10.0)
        await pair[0].reserve_domain(row(number), 10.0, lost_seconds=10, cool_seconds=0)
        assert [kept.id for kept in await pair[1].domains.all()] == [f"rd_{number}"]


async def test_a_mark_a_lease_and_a_change_are_given_to_one_of_two_relays(pair: Pair) -> None:
    await pair[0].save_session(SESSION)
    both = [pair[number % 2] for number in range(20)]
    changed = replace(SESSION, version=2, sealed=b"new")
    marks = await asyncio.gather(*(store.use_once(b"mark", 10.0) for store in both))
    leases = await asyncio.gather(*(store.lease(b"lease", 1.0, 10.0) for store in both))
    taken_over = await asyncio.gather(*(store.lease(b"lease", 11.0, 20.0) for store in both))
    changes = await asyncio.gather(*(store.replace_session(changed) for store in both))
    assert [sum(answers) for answers in (marks, leases, taken_over, changes)] == [1, 1, 1, 1]


async def test_every_session_that_ends_is_told_of_however_many_begin_meanwhile(pair: Pair) -> None:
    async def begin(number: int) -> None:
        await pair[number % 2].save_session(replace(SESSION, key=number.to_bytes(32)))

    async def end() -> list[bytes]:
        return await pair[1].end_sessions(SessionCriteria(subject=SESSION.subject), 150.0)

    answers = await asyncio.gather(*(begin(number) if number % 3 else end() for number in range(60)))
    ended = [key for answer in answers if answer for key in answer]
    left = [row.key for row in await pair[0].sessions()]
    assert sorted(await pair[0].ended_since(0)) == sorted(ended)
    assert len(ended) + len(left) == 40


async def test_relays_count_changes_together(pair: Pair) -> None:
    stores = [pair[number % 2] for number in range(10)]
    await asyncio.gather(
        *(
            store.add_token(replace(TOKEN, id=f"tok_{number}"), bytes([number]) * 32)
            for number, store in enumerate(stores)
        )
    )
    assert (await pair[0].revisions())["tokens"] == 10


# A server that is away


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    """A server that tests may stop."""
    with postgres_server(synchronous_commit="on") as server:
        yield server


async def test_while_the_server_is_away_the_store_fails_and_then_it_works_again(own_server: PostgresServer) -> None:
    store = await PostgresqlStore.open(DatabaseUrl(await own_server.database()))
    await store.add_token(TOKEN, DIGEST)
    await asyncio.gather(*(store.tokens() for _ in range(8)))  # fills the pool

    await asyncio.to_thread(own_server.stop)
    for _ in range(3):
        with pytest.raises(StoreError):
            await store.tokens()

    await asyncio.to_thread(own_server.start)
    with contextlib.suppress(StoreError):  # a connection of before may be the first to be tried
        await store.tokens()
    assert await asyncio.gather(*(store.tokens() for _ in range(8))) == [[TOKEN]] * 8
    await store.close()


async def test_a_server_that_cuts_its_connections_costs_one_failure_at_most(url: str, postgres: PostgresServer) -> None:
    store = await PostgresqlStore.open(DatabaseUrl(url))
    await asyncio.gather(*(store.tokens() for _ in range(8)))
    name = url.rpartition("/")[2]
    await postgres.run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    with contextlib.suppress(StoreError):
        await store.tokens()
    assert await store.tokens() == []
    await store.close()


class Mute:
    """Stands between a store and its server, and on demand lets nothing through any more, in either direction.

    Attributes:
        passes: Cleared to go mute.
    """

    def __init__(self, port: int) -> None:
        self._server_port = port
        self.passes = asyncio.Event()
        self.passes.set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def start(self) -> None:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self.server.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._server_port)
        for source, sink in ((reader, back), (there, writer)):
            task = asyncio.ensure_future(self._pass_on(source, sink))
            self.tasks.add(task)

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                await self.passes.wait()
                sink.write(data)
        except OSError:
            pass
        finally:
            sink.close()


async def test_a_server_that_falls_silent_is_not_waited_for(
    url: str, postgres: PostgresServer, impatient: None
) -> None:
    mute = Mute(postgres.port)
    await mute.start()
    store = await PostgresqlStore.open(DatabaseUrl(url.replace(str(postgres.port), str(mute.port))))
    await store.add_token(TOKEN, DIGEST)
    mute.passes.clear()
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(StoreError, match="in time"):
            await store.tokens()
        with pytest.raises(StoreError, match="in time"):
            await store.tokens()
    mute.passes.set()
    assert await store.tokens() == [TOKEN]
    await store.close()
    await mute.stop()


async def test_a_store_closes_though_its_server_has_fallen_silent(
    url: str, postgres: PostgresServer, impatient: None
) -> None:
    mute = Mute(postgres.port)
    await mute.start()
    store = await PostgresqlStore.open(DatabaseUrl(url.replace(str(postgres.port), str(mute.port))))
    await asyncio.gather(*(store.tokens() for _ in range(8)))
    mute.passes.clear()
    async with asyncio.timeout(PATIENCE):
        await store.close()
    await mute.stop()


async def test_somebody_elses_lock_is_not_waited_for(url: str, impatient: None) -> None:
    store = await PostgresqlStore.open(DatabaseUrl(url))
    other = await asyncpg.connect(url)
    async with other.transaction():
        await other.execute("LOCK TABLE tokens IN ACCESS EXCLUSIVE MODE")
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(StoreError):
                await store.tokens()
    assert await store.tokens() == []
    await other.close()
    await store.close()


async def test_a_cancelled_call_leaves_the_store_usable(url: str) -> None:
    store = await PostgresqlStore.open(DatabaseUrl(url))
    calls = [asyncio.ensure_future(store.tokens()) for _ in range(20)]
    for _ in range(3):
        await asyncio.sleep(0)  # lets every call begin
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    assert await store.tokens() == []
    await store.close()


# What is said when it cannot be used


@pytest.mark.parametrize(
    ("url", "match"),
    [
        ("postgresql://tunnelrelay:canary@127.0.0.1:1/x", "cannot be reached"),
        ("postgresql://tunnelrelay:canary@nowhere.invalid/x", "cannot be reached"),
        ("postgresql://tunnelrelay:canary@127.0.0.1/x?sslmode=perhaps", "cannot be reached"),
    ],
)
async def test_a_server_that_is_not_there_is_a_clear_error(url: str, match: str) -> None:
    with pytest.raises(StoreError, match=match) as caught:
        await PostgresqlStore.open(DatabaseUrl(url))
    assert "canary" not in str(caught.value)


async def test_a_database_that_is_not_there_is_a_clear_error(postgres: PostgresServer) -> None:
    with pytest.raises(StoreError, match='database "none" does not exist'):
        await PostgresqlStore.open(DatabaseUrl(postgres.url("none")))


async def test_a_database_that_cannot_hold_every_text_is_refused(postgres: PostgresServer) -> None:
    await postgres.run("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    with pytest.raises(StoreError, match="needs a database in UTF8"):
        await PostgresqlStore.open(DatabaseUrl(postgres.url("latin")))


async def test_of_several_servers_the_one_that_writes_is_taken(url: str, postgres: PostgresServer) -> None:
    address = f"127.0.0.1:{postgres.port}"
    several = url.replace(address, f"127.0.0.1:1,{address}") + "?target_session_attrs=read-write"
    store = await PostgresqlStore.open(DatabaseUrl(several))
    await store.ping()
    await store.close()


async def test_a_failure_shows_nothing_of_what_was_sent(pair: Pair) -> None:
    await pair[0].add_token(TOKEN, b"digest-canary-digest-canary-dige")
    with pytest.raises(StoreError) as caught:
        await pair[0].add_token(replace(TOKEN, owner="owner-canary"), b"digest-canary-digest-canary-dige")
    said = f"{caught.value!r} {caught.value.__cause__!r}"
    assert "uq_tokens_digest" in said or "pk_tokens" in said
    assert "canary" not in said
    assert b"digest-canary".hex() not in said
    with pytest.raises(StoreError) as caught:
        await pair[0].use_once("text-canary", 1.0)
    assert "canary" not in str(caught.value)
