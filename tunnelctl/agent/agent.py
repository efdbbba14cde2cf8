"""The agent: dial a relay, offer tunnels, serve, and come back when the link is lost, for ever.

START HERE. `Agent.run` is one loop over links; what happens on one link is in `service`, how an exchange reaches the
local service in `upstream`, what an end means in `outcome`, and how long to wait in `backoff`.

Tasks: `run` owns the loop over links, the look-outs for the local services and the waiting for `stop`; the loop owns,
in the background, the readiness probes of the link that serves and the draining of links whose relay went away. All end
before `run` returns.
"""

import asyncio
import random
import secrets
import ssl
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from tunnelctl.agent.address import RelayAddress
from tunnelctl.agent.backoff import Backoff
from tunnelctl.agent.config import AgentConfig, TunnelConfig
from tunnelctl.agent.outcome import GoingAway, LinkEnd, Outcome, Stopped, Trouble, judge_dial
from tunnelctl.agent.ready import OTHER_AGENT, probe
from tunnelctl.agent.service import Offer, Service
from tunnelctl.agent.upstream import Upstream
from tunnelctl.agent.watcher import Started, Waiting, Watcher
from tunnelctl.link.dial import DialFailed, dial
from tunnelctl.link.link import Link, LinkUser
from tunnelctl.link.proxy import Proxy
from tunnelctl.policy.values import is_loopback

PROBE_SECONDS = 5.0
"""For one probe of the public address."""
PROBE_WAITS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.0)
"""Seconds between the first probes; together six seconds, past any start-up. Then the address is reported as not
answering and asked again every `PROBE_LATER`: the link stays, as visitors may get through where the probe does not."""
PROBE_LATER = 15.0
CLOSE_SECONDS = 1.0
"""For the far end to take notice that we close; after that it hears it from the kernel."""


class Dial(Protocol):
    """`link.dial.dial`, or a test's."""

    async def __call__(
        self,
        url: str,
        *,
        user: LinkUser,
        token: str | None,
        ca_file: str | None,
        timeout: float,
        proxy: Proxy | None,
    ) -> Link:
        """A link, or DialFailed."""


class Probe(Protocol):
    """`ready.probe`, or a test's."""

    async def __call__(
        self,
        relay: RelayAddress,
        url: str,
        *,
        instance: str,
        ca_file: str | None,
        timeout: float,
        proxy: Proxy | None,
    ) -> str:
        """Empty, or why the address does not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What of the world an agent uses, so that tests can turn it."""

    dial: Dial = dial
    probe: Probe = probe
    clock: Callable[[], float] = time.monotonic
    random: Callable[[], float] = random.random
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class Agent:
    """One agent process.

    Args:
        config: What to offer, and where.
        watcher: Who is told.
        surroundings: The real world unless a test says otherwise.

    Attributes:
        instance: Id of this process, the same over all its links: by it the relay tells a reconnect from a rival.
    """

    def __init__(self, config: AgentConfig, watcher: Watcher, surroundings: Surroundings | None = None) -> None:
        self.instance = secrets.token_hex(16)
        self._config = config
        self._watcher = watcher
        self._world = surroundings or Surroundings()
        self._backoff = Backoff(self._world.random)
        self._was_connected = False
        self._services: set[Service] = set()
        self._background: set[asyncio.Task[None]] = set()
        self._stop = asyncio.Event()
        self._stop_now = asyncio.Event()

    def stop(self) -> None:
        """End: the first call lets exchanges in flight finish, the second does not wait for them."""
        if self._stop.is_set():
            self._stop_now.set()
        self._stop.set()

    async def run(self) -> Outcome:
        """Serve until told to stop, refused, or superseded. The relay being away is none of these."""
        offers = {number: self._offer(number, config) for number, config in enumerate(self._config.tunnels, 1)}
        watching = [asyncio.create_task(offer.upstream.watch()) for offer in offers.values()]
        serving = asyncio.create_task(self._keep_serving(offers))
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                return serving.result()
            await _end({serving})
            await self._leave()
            return Stopped()
        finally:
            await _end({serving, stopping, *watching})
            await self._close(self._services)
            for offer in offers.values():
                offer.upstream.close()

    def _offer(self, number: int, config: TunnelConfig) -> Offer:
        """A tunnel, whose local service's coming and going is told to people and to the relay."""

        def tell(problem: str) -> None:
            self._watcher.app(config.upstream.url, problem)
            for service in self._services:
                service.report(offer)

        offer = Offer(number, config, open_upstream(config, tell))
        return offer

    # One link after the other

    async def _keep_serving(self, offers: dict[int, Offer]) -> Outcome:
        try:
            while True:
                end = await self._use_one_link(offers)
                match end:
                    case GoingAway(reason):
                        self._watcher.moving(reason)
                    case Trouble(reason, wait):
                        # What a busy relay asks for, and up to half as much again: not all agents at once.
                        delay = self._backoff.next_delay(self._world.clock())
                        delay = max(delay, wait * (1 + self._world.random() / 2))
                        self._watcher.lost(reason, delay)
                        await self._world.sleep(delay)
                    case _:
                        return end
        finally:
            await _end(self._background)

    async def _use_one_link(self, offers: dict[int, Offer]) -> LinkEnd:
        """From dialling until the link is of no more use to new visitors."""
        self._watcher.connecting(self._config.relay.url)
        service = Service(self.instance, offers, self._config.relay.url, self._watcher)
        self._services.add(service)
        end = await self._greet(service)
        is_steady = False
        if end is None:
            began = self._world.clock()
            end = await self._serve(service, offers)
            is_steady = self._backoff.note_link(self._world.clock() - began)
        if not isinstance(end, GoingAway):
            await self._close({service})
            return end
        self._in_background(self._retire(service))
        # A relay that sends us away as soon as we come is one to keep a distance from.
        return end if is_steady else Trouble(f"the relay goes away: {end.reason}")

    async def _greet(self, service: Service) -> LinkEnd | None:
        """None when the relay has answered every offer, and there is something to serve or nothing was offered."""
        config = self._config
        try:
            link = await self._world.dial(
                config.relay.url,
                user=service,
                token=config.token or None,
                ca_file=config.relay_ca,
                timeout=config.dial_seconds,
                proxy=config.proxy,
            )
        except DialFailed as failure:
            return judge_dial(failure, was_connected=self._was_connected, relay_from=self._config.relay_from)
        self._was_connected = True
        service.begin(link)
        answers: tuple[asyncio.Future[Any], ...] = (service.bound, service.over)
        await asyncio.wait(answers, timeout=config.greeting_seconds, return_when=asyncio.FIRST_COMPLETED)
        if service.over.done():
            return service.over.result()
        return None if service.bound.done() else Trouble("the relay did not answer the greeting in time")

    async def _serve(self, service: Service, offers: dict[int, Offer]) -> LinkEnd:
        proving = [self._in_background(self._prove_all(offer, service.owner)) for offer in offers.values()]
        try:
            return await service.over
        finally:
            await _end(proving)

    async def _prove_all(self, offer: Offer, owner: str) -> None:
        """Prove every address the tunnel serves, and every one that comes later: edges come and go, tunnels stay."""
        proving: dict[str, asyncio.Task[None]] = {}
        try:
            while offer.end is None:
                offer.moved.clear()
                urls = offer.urls
                for url in sorted(offer.told.difference(urls)):
                    self._watcher.left(offer.config.name, url)
                offer.told = frozenset(urls)
                await _end([proving.pop(url) for url in tuple(proving) if url not in urls])
                if offer.bound is not None and not urls:
                    self._tell_waiting(offer, owner)
                for url in urls:
                    if url not in proving:
                        proving[url] = asyncio.create_task(self._prove(offer, url))
                await offer.moved.wait()
        finally:
            await _end(proving.values())

    async def _prove(self, offer: Offer, url: str) -> None:
        """Say that the tunnel has started once, and not before, its public address answers through it."""
        config, waits = self._config, iter(PROBE_WAITS)
        while reason := await self._world.probe(
            config.relay,
            url,
            instance=self.instance,
            ca_file=config.relay_ca,
            timeout=PROBE_SECONDS,
            proxy=config.proxy,
        ):
            if reason == OTHER_AGENT and offer.config.is_shared:
                break  # the address answers, and it was another tunnel's turn
            wait = next(waits, PROBE_LATER)
            if wait == PROBE_LATER:
                self._watcher.unready(url, reason)
            await self._world.sleep(wait)
        self._tell_started(offer, url)

    def _tell_waiting(self, offer: Offer, owner: str) -> None:
        config = offer.config
        self._watcher.waiting(
            Waiting(
                name=config.name,
                upstream=config.upstream.url,
                owner=owner,
                labels=config.labels,
                edge=config.edge,
                reason=config.why_no_address(owner),
            )
        )

    def _tell_started(self, offer: Offer, url: str) -> None:
        assert offer.bound is not None
        self._watcher.started(
            Started(
                name=offer.config.name,
                upstream=offer.config.upstream.url,
                url=url,
                redirect_uri=offer.bound.redirect_uri,
                labels=offer.config.labels,
            )
        )

    # Ends

    async def _retire(self, service: Service) -> None:
        """Let a link whose relay goes away finish what it began."""
        await asyncio.wait({service.closed}, timeout=self._config.retire_seconds)
        await self._close({service})

    async def _leave(self) -> None:
        """Take no more visitors, let those that wait have their answers, give the names up, and go."""
        for service in self._services:
            service.drain()
        self._watcher.draining(sum(service.in_flight for service in self._services))
        waits: set[asyncio.Task[Any]] = {
            asyncio.create_task(self._all_idle()),
            asyncio.create_task(self._stop_now.wait()),
        }
        await asyncio.wait(waits, timeout=self._config.drain_seconds, return_when=asyncio.FIRST_COMPLETED)
        await _end(waits)
        for service in self._services:
            service.unbind()

    async def _all_idle(self) -> None:
        for service in tuple(self._services):
            await service.idle.wait()

    async def _close(self, services: set[Service]) -> None:
        """Close these links and forget them."""
        closing = tuple(services)
        for service in closing:
            service.close()
        open_ones = {service.closed for service in closing if service.is_linked}
        if open_ones:
            await asyncio.wait(open_ones, timeout=CLOSE_SECONDS)
        self._services.difference_update(closing)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task


def open_upstream(config: TunnelConfig, tell: Callable[[str], None] = lambda problem: None) -> Upstream:
    """The pool for a tunnel's local service; `tell` as its `on_change`."""
    address = config.upstream
    if address.scheme == "http":
        return Upstream(address.host, address.port, on_change=tell)
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    if not (config.verify_upstream if config.verify_upstream is not None else not is_loopback(address.host)):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return Upstream(address.host, address.port, tls=context, on_change=tell)


async def _end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel these tasks and wait until they are gone."""
    ending = tuple(tasks)
    for task in ending:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)
