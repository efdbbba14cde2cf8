"""Resolves providers' names in separate threads, with a limit by owner: slow name servers delay only their tenant.

The loop's own resolver has four threads in all (libuv), and a name whose servers never answer blocks one for half a
minute. The guard checks the addresses at each dial, not this module.
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
"""Threads at once, of all owners. Each waits for the system's resolver and does nothing else."""
MAX_OWNERS_LOOKUPS = 2
"""Of one owner. The next one begins when a thread is done, not when its caller gives up: the resolver goes on."""
KEPT_SECONDS = 30.0
"""How long addresses are good for, so that a login's calls look a name up once. Failures are not kept."""
MAX_KEPT = 1_000
"""Names. Beyond that the oldest goes, and is looked up again when needed."""

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
    """Looks names up.

    Args:
        look_up: Every address of a name, [] when there is none; blocks, and is called in a thread.
        monotonic: Seconds.
    """

    def __init__(self, look_up: LookUp | None = None, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._look_up = look_up or system_addresses
        self._monotonic = monotonic
        self._kept = Recent[str, tuple[float, list[str]]](MAX_KEPT)
        self._all = asyncio.Semaphore(MAX_LOOKUPS)
        # Weak: an owner's turns last as long as a call waits for one or has one.
        self._owners: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def resolve(self, host: str, owner: str) -> list[str]:
        """Every address of a name, each once, in the resolver's order; [] when there is none.

        Waits for its turn and for the answer without a time limit; the caller limits the whole call.
        """
        if host == "localhost" or host.endswith(".localhost"):
            # RFC 6761 section 6.3: always loopback; glibc resolves only the bare name.
            return ["127.0.0.1", "::1"]
        kept = self._known(host)
        if kept:
            return kept
        turn = self._owners.get(owner) or asyncio.Semaphore(MAX_OWNERS_LOOKUPS)
        self._owners[owner] = turn
        await turn.acquire()
        try:
            kept = self._known(host)  # by the call before, for which this one has waited
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
        """Start the look-up. It returns its turns when it ends, also when no call waits for it any more."""
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
            # A daemon: a relay that stops does not wait for other people's name servers.
            Thread(target=run, name="resolve", daemon=True).start()
        except RuntimeError:  # the system has no thread for us
            over([])
        return answer

    def _keep(self, host: str, addresses: list[str]) -> None:
        if addresses:
            self._kept[host] = (self._monotonic() + KEPT_SECONDS, addresses)


def system_addresses(host: str) -> list[str]:
    """The addresses by the system's resolver; [] for an unknown name."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
