"""Claims names in the store, refreshes the claims, and ends a former owner's sessions.

Only a name that is new to this relay waits for the store. Names that are served already go on while the store is away;
once it is back, their owners are compared with it. Next: `registry/registry.py`, which knows who serves what.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
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
"""How often the store is told what is still served here; far less than `LOST_SECONDS`."""
RETRY_SECONDS = 5.0
CLAIM_PAUSES = (0.2, 0.8, 2.0)
"""Between tries to claim a name: a store that is busy for a moment is waited for, one that is away is not."""
FORGET_EVERY = 3600.0
"""Generated names are forgotten once their cool-down is over: no relay makes one again, and whatever was made
for their visitors has ended. Else a stranger who binds and unbinds without end would fill the store for ever."""
MAX_WAITING = 10_000
"""Names given up that the store has not been told of. Of those beyond, it notices that they are not held."""
MAX_AT_ONCE = 1000
"""Names told in one statement."""

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
)

Named = TypeVar("Named", NameRow, NameRow | None)


class NameClaims:
    """Claims names for this relay. The owner runs `run` as a task.

    Args:
        cool_seconds: How long a name that was given up is kept from other owners.
        end_sessions: Ends the sessions that match, on every relay, and returns their number.
        clock: Unix time.
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

    async def claim(self, host: str, owner: str) -> NameRow:
        """Claim a name. Returns who has it then.

        When the name has changed hands, the sessions of the former owner's visitors have ended before this returns.

        Raises:
            StoreError: The store is away, not only for a moment.
        """
        for pause in CLAIM_PAUSES:
            try:
                return await self._claim(host, owner)
            except StoreError as error:
                log.warning("host name not claimed, retrying", host=host, error=error)
            await asyncio.sleep(pause)
        return await self._claim(host, owner)

    async def reserve(self, row: DomainRow) -> NameRow | None:
        """Claim a name and keep its reservation, both or neither. Returns the name's row; None when it is reserved
        already.

        Raises:
            StoreError: The store is away.
        """

        def claimed() -> Awaitable[NameRow | None]:
            times = {"lost_seconds": LOST_SECONDS, "cool_seconds": self._cool(row.host)}
            return self._store.reserve_domain(row, self._clock(), **times)

        return await self._claimed(row.host, row.owner, claimed)

    async def give_up_domain(self, row: DomainRow) -> None:
        """Delete a reservation. Its name's cool-down begins unless the owner's agent serves it now.

        Raises:
            StoreError: The store is away.
        """
        async with self._turn(row.host):
            await self._store.give_up_domain(row.id, self._clock())
        endpoint = self._registry.find(row.host)
        if endpoint is not None and endpoint.tunnels and endpoint.owner == row.owner:
            await self._claim(row.host, row.owner)

    async def cooling_ports(self, owner: str) -> set[str]:
        """The tcp ports that an owner gave up and that are kept from others, as hosts.

        Raises:
            StoreError: The store is away.
        """
        if not self._cool_seconds:
            return set()
        return set(await self._store.cooling_ports(owner, self._clock() - self._cool_seconds))

    def kept_until(self, row: NameRow) -> float:
        """Unix time until which other owners cannot have the name, if its owner does not come back."""
        return (row.at + LOST_SECONDS if row.released_at is None else row.released_at) + self._cool(row.host)

    def lost(self, host: str) -> None:
        """Note that a name's last link is gone. Its owner may come back within `LOST_SECONDS` and the cool-down."""
        self._lost[host] = None
        self._changed.set()

    def given_up(self, host: str, owner: str) -> None:
        """Note that an agent gave up a name: its cool-down begins."""
        self._given_up.pop(host, None)
        if len(self._given_up) < MAX_WAITING:
            self._given_up[host] = owner, self._clock()
            self._changed.set()

    async def run(self) -> None:
        """Write changes to the store, and refresh the names that are served every so often, until cancelled."""
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
        """Write changes to the store. False when it is away; then they are written later."""
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
        """Refresh the served names in the store, and check whose they are. False when the store is away."""
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
        """Find served names that other relays gave to other owners while the store was away, and stop serving them."""
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
        """Claim a name in the store, and end the sessions of a former owner's visitors."""
        async with self._turn(host):
            await self._write_given_up(host)
            before = await self._store.name(host)
            row = await claimed()
            if row is not None and before is not None and before.owner != row.owner:
                self._former[host] = before.owner
            if row is not None and row.owner == owner and host in self._former:
                await self._end_former(row)
            return row

    async def _end_former(self, row: NameRow) -> None:
        """End the sessions of a former owner's visitors. When that fails, the next claim tries again."""
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
        if endpoint is None or endpoint.owner != owner:  # else another link of the same owner serves it
            await self._store.release_name(host, owner, at)
        if self._given_up.get(host) == given_up:
            del self._given_up[host]

    def _turn(self, host: str) -> asyncio.Lock:
        """The lock of one name, so that its release and next claim reach the store in this order."""
        return self._turns.setdefault(host, asyncio.Lock())

    def _cool(self, host: str) -> float:
        """The cool-down of a generated name, in seconds: as long as a session can live, as visitors take such a name
        for unique."""
        return self._cool_seconds + (MAX_SESSION if _is_random(host) else 0.0)


def _is_random(host: str) -> bool:
    return is_random(host.partition(".")[0])


def _chunks(hosts: Sequence[str]) -> Iterable[Sequence[str]]:
    return (hosts[at : at + MAX_AT_ONCE] for at in range(0, len(hosts), MAX_AT_ONCE))
