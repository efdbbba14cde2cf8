"""Keeps the last requests, and counts by host, owner and tunnel, in the memory of this relay.

The ingress adds each finished exchange (`add`, a list append); `digest` counts them in batches, even if no access log
is written. Memory is bounded in number by the constants below, and in size by cutting texts that visitors can make
long. Queries, headers and bodies are never recorded. `services.traffic` works out why a visitor was let in when a
request is displayed.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from heapq import merge

import msgspec

from tunnelctl.bounds import DeclaredBound
from tunnelctl.memo import Recent
from tunnelctl.series import FAILED, OTHER, REFUSED, UNTIMED, Series, bucket_of
from tunnelrelay.model import Identity
from tunnelrelay.observe.access import CallLater, ExchangeRecord, clean_path
from tunnelrelay.observe.feed import Feed

DIGEST_SECONDS = 0.25
"""Maximum seconds until a request is counted: less than the time between two updates of a page."""
MAX_PENDING = 500
"""Maximum requests that wait to be counted; when there are more they are counted at once, in about a millisecond."""
MAX_KEPT = 2000
"""Maximum requests that are kept for display. When there are more, the owner with the most loses the oldest."""
MAX_OWNERS = 500
"""Maximum owners whose last requests are kept: each of them can keep at least four."""
MAX_SERIES = 500
"""Maximum hosts with counts, and the same number each of owners and tunnels. At 28 kB each they take at most 42 MB, if
all of them are always busy; one that was visited once takes 1 kB. When there are more, the owner with the most loses
the one that was unused for the longest time."""
FORGET_SECONDS = 60.0
"""Seconds between two clean-ups of counts that are too old to be shown."""
PROBE_PATH = "/_tunnel/ready"
"""Path that agents request through the relay to check that they are reachable. These requests are not counted."""
MAX_WORD = 64
"""Maximum characters of a method, or of the name of another protocol, as visitors may invent long ones."""


BOUNDS = (
    DeclaredBound(
        name="owners whose last requests can be looked at",
        limit=MAX_OWNERS,
        unit="owners",
        per="relay",
        when_full="the one whose last request is the oldest is forgotten",
        worst_bytes=MAX_OWNERS * 1_000,
    ),
    DeclaredBound(
        name="requests that can be looked at",
        limit=MAX_KEPT,
        unit="requests",
        per="relay",
        when_full="the owner who has the most loses the oldest",
        worst_bytes=MAX_KEPT * 10_000,
        holds=("TrafficLog._kept",),
    ),
    DeclaredBound(
        name="requests not counted yet",
        limit=MAX_PENDING,
        unit="requests",
        per="relay",
        when_full="they are counted at once",
        worst_bytes=MAX_PENDING * 20_000,
        holds=("TrafficLog._pending",),
    ),
    DeclaredBound(
        name="sign-ins whose request is not over",
        limit=MAX_PENDING,
        unit="sign-ins",
        per="relay",
        when_full="the oldest is shown without its person",
        worst_bytes=MAX_PENDING * 20_000,
        holds=("TrafficLog._signed_in",),
    ),
    DeclaredBound(
        name="hosts, owners and tunnels with figures",
        limit=MAX_SERIES,
        unit="of each",
        per="relay",
        when_full="the owner who has the most loses what was used the longest ago",
        worst_bytes=3 * MAX_SERIES * 28_000,
        holds=(
            "SeriesTable._series",
            "SeriesTable._owners",
        ),
    ),
)


class FinishedExchange(msgspec.Struct, frozen=True, gc=False):
    """A finished exchange as the ingress records it. A msgspec struct, as one is created for every request.

    Attributes:
        owner: Owner of the endpoint.
        tunnel: Id of the tunnel that served it; "" for none.
        policy: Rules of the endpoint (`policy.rules.Policy`); None without any.
        session: Session of the login, or access token, that authorized the request; None without one.
        exempt: Name of the rule that exempted the request from the login (`policy.exemptions.Exempt.rule`); "" for
            none.
        login: For the request that ends a login: `ok`, or the kind of rule that refused the visitor; "" for all others.
    """

    exchange: ExchangeRecord
    owner: str
    tunnel: str
    policy: object
    session: object
    exempt: str = ""
    login: str = ""


class TrafficLog:
    """The last requests of this relay and their figures, in memory.

    Args:
        clock: Function that returns Unix time.
        feed: Gets `traffic:<owner>` for each owner in a batch, and `sessions:<owner>` when a visitor has signed in.
        call_later: Timer function; the event loop's by default. Tests pass their own.
    """

    __slots__ = (
        "_call_later",
        "_clock",
        "_feed",
        "_forgot_at",
        "_kept",
        "_pending",
        "_signed_in",
        "all",
        "hosts",
        "owners",
        "tunnels",
    )

    def __init__(
        self, clock: Callable[[], float], feed: Feed | None = None, *, call_later: CallLater | None = None
    ) -> None:
        self._clock = clock
        self._feed = feed or Feed()
        self._call_later = call_later
        self._pending: list[FinishedExchange] = []
        self._kept: dict[str, deque[FinishedExchange]] = {}
        self._signed_in = Recent[str, tuple[Identity, str]](MAX_PENDING)
        self.all = Series()
        self.hosts = SeriesTable()
        self.owners = SeriesTable()
        self.tunnels = SeriesTable()
        self._forgot_at = clock()

    def add(self, finished: FinishedExchange) -> None:
        """Add an exchange. Part of the hot path; costs a list append."""
        pending = self._pending
        pending.append(finished)
        count = len(pending)
        if count == 1:
            (self._call_later or asyncio.get_running_loop().call_later)(DIGEST_SECONDS, self.digest)
        elif count >= MAX_PENDING:
            self.digest()

    def note_sign_in(self, request_id: str, who: Identity, refusal: str) -> None:
        """Note which visitor signed in, or was refused by the rules, with a request that is about to end."""
        self._signed_in[request_id] = who, refusal or "ok"

    def digest(self) -> None:
        """Count and keep the pending requests."""
        pending, self._pending = self._pending, []
        batch = [finished for finished in pending if finished.exchange.path != PROBE_PATH]
        for (owner, host, tunnel, second, outcome, bucket), count in Counter(map(_class_of, batch)).items():
            for series in self._series(owner, host, tunnel):
                series.add(second, outcome, bucket, count)
        topics = {f"traffic:{finished.owner}" for finished in batch}
        if self._signed_in:
            topics |= {
                f"sessions:{finished.owner}" for finished in batch if finished.exchange.request_id in self._signed_in
            }
        self._keep(batch)
        self._forget()
        for topic in topics:
            self._feed.publish(topic)

    def recent(self, owner: str | None = None) -> Iterator[FinishedExchange]:
        """Return the last requests, newest first.

        Args:
            owner: Only requests of this owner's endpoints; None for all.
        """
        self.digest()
        kept = self._kept.values() if owner is None else (self._kept.get(owner, deque()),)
        # Each of the merged lists is sorted, so that reading a few requests sorts only those.
        return merge(*map(reversed, kept), key=_ended_at, reverse=True)

    def _series(self, owner: str, host: str, tunnel: str) -> Iterator[Series]:
        yield self.all
        yield self.owners.of(owner, owner)
        yield self.hosts.of(host, owner)
        if tunnel:
            yield self.tunnels.of(tunnel, owner)

    def _forget(self) -> None:
        now = self._clock()
        if abs(now - self._forgot_at) >= FORGET_SECONDS:
            self._forgot_at = now
            for table in (self.hosts, self.owners, self.tunnels):
                table.forget(now)

    def _keep(self, batch: Iterable[FinishedExchange]) -> None:
        kept = self._kept
        for finished in batch:
            ring = kept.get(finished.owner)
            if ring is None:
                while len(kept) >= MAX_OWNERS:
                    del kept[min(kept, key=lambda owner: _ended_at(kept[owner][-1]))]
                ring = kept[finished.owner] = deque()
            ring.append(self._completed(finished))
        level = fair_level([len(ring) for ring in kept.values()], MAX_KEPT)
        for ring in kept.values():
            while len(ring) > level:
                ring.popleft()

    def _completed(self, finished: FinishedExchange) -> FinishedExchange:
        """Return the exchange with long texts cut, and with the visitor if the visitor signed in with this request."""
        exchange, login = _bounded(finished.exchange), ""
        signed_in = self._signed_in.pop(exchange.request_id, None) if self._signed_in else None
        if signed_in is not None:
            who, login = signed_in
            # A copy: the access log is kept for long and must not name visitors who were refused.
            exchange = msgspec.structs.replace(exchange, user=who.subject, email=who.email)
        if exchange is finished.exchange:
            return finished
        return msgspec.structs.replace(finished, exchange=exchange, login=login)


class SeriesTable:
    """A table of `Series` by name, with a maximum number of entries."""

    __slots__ = ("_owners", "_series")

    def __init__(self) -> None:
        self._series: dict[str, Series] = {}
        self._owners: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._series)

    def of(self, name: str, owner: str) -> Series:
        """Return the series of a name; create it for this owner if there is none."""
        series = self._series.get(name)
        if series is None or self._owners[name] != owner:
            # If the name belongs to another owner by now, counting restarts at zero: figures are private to an owner.
            self._drop(name)
            if len(self._series) >= MAX_SERIES:
                self._drop(self._least_missed())
            series = self._series[name] = Series()
            self._owners[name] = owner
        return series

    def find(self, name: str, owner: str | None = None) -> Series | None:
        """Return the series of a name; None when nothing was counted.

        Args:
            owner: Return the series only if it belongs to this owner; None for any owner.
        """
        return self._series.get(name) if owner in (None, self._owners.get(name)) else None

    def names(self, owner: str | None = None) -> list[str]:
        """Return the names that have a series.

        Args:
            owner: Return only names of this owner; None for all.
        """
        return [name for name, whose in self._owners.items() if owner in (None, whose)]

    def forget(self, now: float) -> None:
        """Free the memory of counts that are too old to be shown."""
        for series in self._series.values():
            series.forget(now)

    def _least_missed(self) -> str:
        numbers = Counter(self._owners.values())
        return min(self._series, key=lambda name: (-numbers[self._owners[name]], self._series[name].latest))

    def _drop(self, name: str) -> None:
        self._series.pop(name, None)
        self._owners.pop(name, None)


def _class_of(finished: FinishedExchange) -> tuple[str, str, str, int, int, int]:
    """Return the key under which a request is counted. Requests that count alike in every respect have equal keys."""
    exchange = finished.exchange
    status = exchange.status
    outcome = FAILED if status >= 500 else REFUSED if status >= 400 and exchange.error else OTHER
    bucket = UNTIMED if exchange.upgrade else bucket_of(exchange.seconds)
    return finished.owner, exchange.host, finished.tunnel, int(exchange.at + exchange.seconds), outcome, bucket


def _ended_at(finished: FinishedExchange) -> float:
    return finished.exchange.at + finished.exchange.seconds


def _bounded(exchange: ExchangeRecord) -> ExchangeRecord:
    """Return the exchange with its texts cut to length and without secrets."""
    exchange.path = clean_path(exchange.path)
    if len(exchange.method) > MAX_WORD or len(exchange.upgrade) > MAX_WORD:
        # A copy: the access log has the uncut texts.
        return msgspec.structs.replace(exchange, method=exchange.method[:MAX_WORD], upgrade=exchange.upgrade[:MAX_WORD])
    return exchange


def fair_level(sizes: list[int], room: int) -> int:
    """Return the most that each entry of `sizes` may have, so that their total is at most `room` and only the largest
    shrink.
    """
    if sum(sizes) <= room:
        return max(sizes, default=0)
    for left, size in zip(range(len(sizes), 0, -1), sorted(sizes), strict=True):
        if size * left > room:
            return room // left
        room -= size
    return 0
