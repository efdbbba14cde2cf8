"""Resolves providers' host names in threads of its own, limited per owner, so that slow name servers delay only their
owner.

The event loop's own resolver has only four threads (libuv), and a name whose servers never respond blocks one for half
a minute. The guard checks the resolved addresses at each connection; this module does not.
"""

import asyncio
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from weakref import WeakValueDictionary

from tunnelctl.bounds import DeclaredBound
from tunnelctl.memo import Recent

MAX_LOOKUPS = 32
"""Maximum threads at once for all owners. Each only waits for the system's resolver."""
MAX_OWNERS_LOOKUPS = 2
"""Maximum threads at once for one owner. The next look-up begins when a thread has finished, even if its caller has
given up."""
KEPT_SECONDS = 30.0
"""Seconds for which resolved addresses are cached, so that the calls of one login resolve a name once. Failures are not
cached."""
MAX_KEPT = 1_000
"""Maximum cached names. When there are more, the oldest is dropped."""

BOUNDS = (
    DeclaredBound(
        name="names of providers looked up",
        limit=MAX_KEPT,
        unit="names",
        per="relay",
        when_full="the oldest is looked up again",
        worst_bytes=MAX_KEPT * 20_000,
        holds=("Resolver._kept",),
    ),
    DeclaredBound(
        name="look-ups of names under way",
        limit=MAX_LOOKUPS,
        unit="threads",
        per="relay",
        when_full="further ones wait",
        worst_bytes=MAX_LOOKUPS * 100_000,
    ),
    DeclaredBound(
        name="look-ups of one owner",
        limit=MAX_OWNERS_LOOKUPS,
        unit="threads",
        per="owner",
        when_full="further ones wait",
        worst_bytes=0,
    ),
)

LookUp = Callable[[str], list[str]]


class Resolver:
    """Resolves host names, with a cache and limits per owner.

    Args:
        look_up: Function that returns all addresses of a name, [] when there are none; it may block, as it runs in a
            thread.
        monotonic: Function that returns monotonic seconds.
    """

    def __init__(self, look_up: LookUp | None = None, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._look_up = look_up or system_addresses
        self._monotonic = monotonic
        self._kept = Recent[str, tuple[float, list[str]]](MAX_KEPT)
        self._all = asyncio.Semaphore(MAX_LOOKUPS)
        # Weak references: an owner's semaphore exists only while a call of the owner waits for it or holds it.
        self._owners: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def resolve(self, host: str, owner: str) -> list[str]:
        """Return every address of a name, without duplicates, in the resolver's order; [] when there are none.

        Waits without a time limit, as the caller limits the whole call.
        """
        if host == "localhost" or host.endswith(".localhost"):
            # RFC 6761 section 6.3: always loopback; glibc resolves only `localhost` itself.
            return ["127.0.0.1", "::1"]
        kept = self._known(host)
        if kept:
            return kept
        turn = self._owners.get(owner) or asyncio.Semaphore(MAX_OWNERS_LOOKUPS)
        self._owners[owner] = turn
        await turn.acquire()
        try:
            kept = self._known(host)  # resolved by an earlier call while this one waited
            if kept:
                turn.release()
                return kept
            await self._all.acquire()
        except BaseException:
            turn.release()
            raise
        return await self._begin(host, turn)

    def _known(self, host: str) -> list[str]:
        until, addresses = self._kept.get(host, (0.0, []))
        return addresses if self._monotonic() < until else []

    def _begin(self, host: str, turn: asyncio.Semaphore) -> "asyncio.Future[list[str]]":
        """Start the look-up in a thread.

        The look-up releases the semaphore when it ends, even if no call waits for it any more.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[str]] = loop.create_future()

        def over(addresses: list[str]) -> None:
            turn.release()
            self._all.release()
            self._keep(host, addresses)
            if not answer.done():
                answer.set_result(addresses)

        def run() -> None:
            addresses: list[str] = []
            try:
                addresses = self._look_up(host)
            finally:
                with suppress(RuntimeError):  # the loop is closed, and no call waits
                    loop.call_soon_threadsafe(over, addresses)

        try:
            # A daemon thread: a relay that stops does not wait for name servers.
            Thread(target=run, name="resolve", daemon=True).start()
        except RuntimeError:  # the system cannot create a thread
            over([])
        return answer

    def _keep(self, host: str, addresses: list[str]) -> None:
        if addresses:
            self._kept[host] = (self._monotonic() + KEPT_SECONDS, addresses)


def system_addresses(host: str) -> list[str]:
    """Return the addresses from the system's resolver; [] for an unknown name."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
