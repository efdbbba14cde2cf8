"""Claims host names in the store, refreshes the claims, and ends the sessions of a former owner's visitors.

A bind waits for the store only when its name is new to this relay. While the store cannot be reached, names that are
served already stay served; once the store is back, their owners are compared with it. Next: `registry/registry.py`,
which knows which tunnels serve which name.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import islice
from typing import TypeVar
from weakref import WeakValueDictionary

from tunnelctl.bounds import DeclaredBound
from tunnelctl.eventlog import EventLog
from tunnelctl.policy.fields import MAX_SESSION
from tunnelrelay.agents.host_names import is_random
from tunnelrelay.observe.audit import Audit
from tunnelrelay.registry.registry import LOST_SECONDS, Registry
from tunnelrelay.store.base import NameRow, NameStore, SessionCriteria, StoreError
from tunnelrelay.store.resources import DomainRow

log = EventLog("tunnelrelay.agents")

TOUCH_SECONDS = 60.0
"""Seconds between two refreshes of the names served here, in the store. Far less than `LOST_SECONDS`, after which the
cool-down of a name without a refresh begins."""
RETRY_SECONDS = 5.0
MAX_CLAIMS = 3
"""Claims of names that run in the store at once, so that one of the store's four connections stays free for logins and
the dashboard."""
MAX_OWNERS_CLAIMS = 2
"""Claims of one owner in the store at once. Further ones wait in the order in which they came, so that owners take
turns, and an owner whose claims hang leaves a place to the others."""
WAIT_SECONDS = 8.0
"""Seconds that a claim waits for its turn at most. An agent waits ten seconds for the reply to a bind."""
CLAIM_SECONDS = 10.0
"""Seconds that one claim may take in the store before the next one gets its place. Its three statements may each wait
for a lock."""
CLAIM_PAUSES = (0.2, 0.8, 2.0)
"""Seconds between tries to claim a name, three seconds in all: enough for a store that is busy for a moment. When the
last try fails too, the claim fails."""
FORGET_EVERY = 3600.0
"""Seconds between two deletions of generated names from the store. They are deleted once their cool-down is over: no
relay generates one again, and all sessions of its visitors have ended. Otherwise a user who binds and unbinds without
end would fill the store."""
MAX_WAITING = 10_000
"""Released names that still have to be written to the store. Releases beyond this are not written: the cool-down of
their names begins `LOST_SECONDS` after the last refresh."""
MAX_AT_ONCE = 1000
"""Names refreshed by one statement to the store."""

BOUNDS = (
    DeclaredBound(
        name="names given up that the store does not know of yet",
        limit=MAX_WAITING,
        unit="names",
        per="relay",
        when_full="the store finds out by itself that they are not held",
        worst_bytes=MAX_WAITING * 1_000,
        holds=("NameClaims._given_up",),
    ),
    DeclaredBound(
        name="claims of names in the store",
        limit=MAX_CLAIMS,
        unit="claims",
        per="relay",
        when_full="further ones wait for 8 seconds, then the bind is refused until later",
        worst_bytes=0,
    ),
    DeclaredBound(
        name="claims of names of one owner in the store",
        limit=MAX_OWNERS_CLAIMS,
        unit="claims",
        per="owner",
        when_full="further ones wait for 8 seconds, then the bind is refused until later",
        worst_bytes=0,
    ),
)

Named = TypeVar("Named", NameRow, NameRow | None)


class NoTurn(StoreError):
    """Raised when a claim did not get its turn within `WAIT_SECONDS`, as too many names are being claimed."""


class NameClaims:
    """Claims host names in the store for this relay's agents, and writes releases. The owner runs `run` as a task.

    Args:
        cool_seconds: How long a released name is kept from other owners.
        end_sessions: Ends the sessions that match the criteria, on every relay, and returns their number.
        clock: Returns Unix time.
    """

    def __init__(
        self,
        store: NameStore,
        registry: Registry,
        *,
        cool_seconds: float,
        end_sessions: Callable[[SessionCriteria], Awaitable[int]],
        audit: Audit,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._registry = registry
        self._cool_seconds = cool_seconds
        self._end_sessions = end_sessions
        self._audit = audit
        self._clock = clock
        self._given_up: dict[str, tuple[str, float]] = {}
        self._lost: dict[str, None] = {}
        self._former: dict[str, str] = {}
        self._changed = asyncio.Event()
        self._forget_at = 0.0
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._claims = asyncio.Semaphore(MAX_CLAIMS)
        self._owners_claims: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def claim(self, host: str, owner: str) -> NameRow:
        """Claim a name for an owner in the store. Returns its row, which names another owner when the claim failed.

        When the name has changed hands, the sessions of the former owner's visitors have ended before this returns.

        Raises:
            StoreError: The store failed at every try of `CLAIM_PAUSES`.
            NoTurn: Too many names are being claimed.
        """
        for pause in CLAIM_PAUSES:
            try:
                return await self._claim(host, owner)
            except NoTurn:
                raise
            except StoreError as error:
                log.warning("host name not claimed, retrying", host=host, error=error)
            await asyncio.sleep(pause)
        return await self._claim(host, owner)

    async def reserve(self, row: DomainRow) -> NameRow | None:
        """Claim a name and store its reservation, in one transaction. Returns the name's row; None when it is reserved
        already.

        Raises:
            StoreError: The store cannot be reached.
        """

        def claimed() -> Awaitable[NameRow | None]:
            times = {"lost_seconds": LOST_SECONDS, "cool_seconds": self._cool(row.host)}
            return self._store.reserve_domain(row, self._clock(), **times)

        return await self._claimed(row.host, row.owner, claimed)

    async def give_up_domain(self, row: DomainRow) -> None:
        """Delete the reservation of a name. The name's cool-down begins, unless the owner's agent serves the name now.

        Raises:
            StoreError: The store cannot be reached.
        """
        async with self._turn(row.host):
            await self._store.give_up_domain(row.id, self._clock())
        endpoint = self._registry.find(row.host)
        if endpoint is not None and endpoint.tunnels and endpoint.owner == row.owner:
            await self._claim(row.host, row.owner)

    async def cooling_ports(self, owner: str) -> set[str]:
        """Return the hosts of the tcp ports that an owner released and that are still kept from other owners.

        Raises:
            StoreError: The store cannot be reached.
        """
        if not self._cool_seconds:
            return set()
        return set(await self._store.cooling_ports(owner, self._clock() - self._cool_seconds))

    def kept_until(self, row: NameRow) -> float:
        """Return the Unix time until which other owners cannot have a name whose owner does not bind it again."""
        return (row.at + LOST_SECONDS if row.released_at is None else row.released_at) + self._cool(row.host)

    def lost(self, host: str) -> None:
        """Note that the last link serving a name was lost. The name stays its owner's for `LOST_SECONDS` and the
        cool-down."""
        self._lost[host] = None
        self._changed.set()

    def given_up(self, host: str, owner: str) -> None:
        """Note that an agent released a name: its cool-down begins, and `run` writes the release to the store."""
        self._given_up.pop(host, None)
        if len(self._given_up) < MAX_WAITING:
            self._given_up[host] = owner, self._clock()
            self._changed.set()

    async def run(self) -> None:
        """Write releases to the store, and refresh the served names every `TOUCH_SECONDS`, until cancelled."""
        loop = asyncio.get_running_loop()
        due = loop.time() + TOUCH_SECONDS
        while True:
            try:
                async with asyncio.timeout_at(due):
                    await self._changed.wait()
            except TimeoutError:
                self._changed.set()
            self._changed.clear()
            is_due = loop.time() >= due
            if not await self.flush() or (is_due and not await self.refresh()):
                due = loop.time() + RETRY_SECONDS
            elif is_due:
                due = loop.time() + TOUCH_SECONDS

    async def flush(self) -> bool:
        """Write released names and lost links to the store. False when the store failed; the next call tries again."""
        try:
            while self._given_up:
                host = next(iter(self._given_up))
                async with self._turn(host):
                    await self._write_given_up(host)
            while self._lost:
                hosts = list(islice(self._lost, MAX_AT_ONCE))
                await self._store.touch_names(hosts, self._clock())
                for host in hosts:
                    self._lost.pop(host, None)
        except StoreError as error:
            log.warning("host names not written, retrying", error=error)
            return False
        return True

    async def refresh(self) -> bool:
        """Refresh the served names in the store, and stop serving those that belong to other owners there.

        Returns:
            False when the store failed; then the next round tries again.
        """
        now = self._clock()
        # An edge's name is reserved in the store; serving it needs no refresh.
        hosts = [endpoint.host for endpoint in self._registry if endpoint.tunnels and not endpoint.edge]
        try:
            for some in _chunks(hosts):
                await self._store.touch_names(some, now)
            held = {row.host: row for row in await self._store.names(now)}
            for host in hosts:
                await self._check(host, held.get(host))
            await self._forget(now)
        except StoreError as error:
            log.warning("host names not written, retrying", error=error)
            return False
        return True

    async def _forget(self, now: float) -> None:
        if now >= self._forget_at:
            self._forget_at = now + FORGET_EVERY
            count = await self._store.forget_names(
                _is_random,
                now - LOST_SECONDS - MAX_SESSION - self._cool_seconds,
            )
            log.debug("expired random host names deleted", count=count)

    async def _check(self, host: str, row: NameRow | None) -> None:
        """Stop serving a name when another relay has given it to another owner while this one did not reach the store.

        Args:
            row: The name's row in the store; None when it has none.
        """
        endpoint = self._registry.find(host)
        if endpoint is None or not endpoint.tunnels or endpoint.edge:
            return
        if row is None or row.owner != endpoint.owner:
            row = await self._claim(host, endpoint.owner)
        if row.owner == endpoint.owner:
            endpoint.generation = row.generation
        else:
            log.warning("host name served here belongs to another owner now", host=host, owner=endpoint.owner)
            self._audit.record("name.refused", reason="taken_meanwhile", host=host, owner=endpoint.owner)
            self._registry.take_away(host)

    async def _claim(self, host: str, owner: str) -> NameRow:
        def claimed() -> Awaitable[NameRow]:
            times = {"lost_seconds": LOST_SECONDS, "cool_seconds": self._cool(host)}
            return self._store.claim_name(host, owner, self._clock(), **times)

        return await self._claimed(host, owner, claimed)

    async def _claimed(self, host: str, owner: str, claimed: Callable[[], Awaitable[Named]]) -> Named:
        """Call `claimed`, which claims a name in the store, and end the sessions of a former owner's visitors."""
        async with self._turn_to_claim(host, owner):
            await self._write_given_up(host)
            before = await self._store.name(host)
            row = await claimed()
            if row is not None and before is not None and before.owner != row.owner:
                self._former[host] = before.owner
            if row is not None and row.owner == owner and host in self._former:
                await self._end_former(row)
            return row

    async def _end_former(self, row: NameRow) -> None:
        """End the sessions at a name whose owner has changed. After a failure the name's next claim tries again."""
        ended = await self._end_sessions(SessionCriteria(host=row.host))
        former = self._former.pop(row.host)
        self._audit.record(
            "name.changed_hands",
            host=row.host,
            owner=row.owner,
            former=former,
            generation=str(row.generation),
            sessions=str(ended),
        )

    async def _write_given_up(self, host: str) -> None:
        given_up = self._given_up.get(host)
        if given_up is None:
            return
        owner, at = given_up
        endpoint = self._registry.find(host)
        if endpoint is None or endpoint.owner != owner:  # otherwise another link of the same owner serves the name
            await self._store.release_name(host, owner, at)
        if self._given_up.get(host) == given_up:
            del self._given_up[host]

    @asynccontextmanager
    async def _turn_to_claim(self, host: str, owner: str) -> AsyncIterator[None]:
        """Run the body when no other claim of this name is running, and only some of the owner's and of all owners'.

        Without this, claims would wait for the store's connections: they would time out when many names are claimed at
        once, and one owner could take nearly all connections. The owner's turn comes first: a claim that waits for it
        must not keep another owner from the name.

        Raises:
            NoTurn: The turn did not come within `WAIT_SECONDS`.
            StoreError: The body took more than `CLAIM_SECONDS`.
        """
        owners = self._owners_claims.setdefault(owner, asyncio.Semaphore(MAX_OWNERS_CLAIMS))
        async with AsyncExitStack() as turns:
            try:
                async with asyncio.timeout(WAIT_SECONDS):
                    for turn in (owners, self._turn(host), self._claims):
                        await turns.enter_async_context(turn)
            except TimeoutError:
                raise NoTurn("too many host names are being claimed at the moment") from None
            try:
                async with asyncio.timeout(CLAIM_SECONDS):
                    yield
            except TimeoutError:
                raise StoreError(f"a claim took more than {CLAIM_SECONDS:.0f} s") from None

    def _turn(self, host: str) -> asyncio.Lock:
        """Return the lock of one name: its release and its next claim must reach the store in this order."""
        return self._turns.setdefault(host, asyncio.Lock())

    def _cool(self, host: str) -> float:
        """Return the cool-down of a host in seconds. For a generated name it is longer by the longest life of a
        session, as visitors expect that no other owner ever gets such a name."""
        return self._cool_seconds + (MAX_SESSION if _is_random(host) else 0.0)


def _is_random(host: str) -> bool:
    return is_random(host.partition(".")[0])


def _chunks(hosts: Sequence[str]) -> Iterable[Sequence[str]]:
    return (hosts[at : at + MAX_AT_ONCE] for at in range(0, len(hosts), MAX_AT_ONCE))
