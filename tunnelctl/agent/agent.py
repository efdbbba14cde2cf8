"""The agent: one session with a relay, and tunnels that come and go on it.

START HERE. `Agent` connects to the relay, offers its tunnels, serves them, and reconnects whenever the link is lost.
`service` handles one link, `tunnel` is one tunnel, `upstream` carries exchanges to the local service, `outcome`
interprets ends, and `backoff` computes the waits.

    async with Agent(config, watcher) as agent:
        await agent.online()
        tunnel = await agent.add(TunnelConfig(...))
        ...
        agent.remove(tunnel.name)

About tasks: `start` creates one that ends with the agent. It owns the loop over links and the wait for `stop`; for each
tunnel a watch on its local service and the readiness probes; and in the background the draining of links whose relay
went away, and of tunnels that have ended. All end before `run` returns.
"""

import asyncio
import random
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from types import MappingProxyType, TracebackType
from typing import Any, Protocol, Self

from tunnelctl.agent.address import RelayAddress
from tunnelctl.agent.backoff import Backoff
from tunnelctl.agent.config import AgentConfig, TunnelConfig
from tunnelctl.agent.connector import leads_to
from tunnelctl.agent.errors import AgentEnded, DuplicateName, NotBound, NotConnected
from tunnelctl.agent.job_identity import JobTokenAway, NoJobToken
from tunnelctl.agent.outcome import (
    AllEnded,
    Failed,
    GoingAway,
    LinkEnd,
    NotAllowed,
    Outcome,
    Stopped,
    Trouble,
    TunnelEnd,
    judge_dial,
)
from tunnelctl.agent.ready import OTHER_AGENT, probe
from tunnelctl.agent.service import Service
from tunnelctl.agent.status import SessionState, SessionStatus
from tunnelctl.agent.tap import OpenTap
from tunnelctl.agent.tcp import TcpUpstream
from tunnelctl.agent.tunnel import AgentTunnel, LocalService, open_upstream
from tunnelctl.agent.watcher import Started, Waiting, Watcher, Watchers
from tunnelctl.link.dial import DialFailed, dial
from tunnelctl.link.link import Link, LinkUser
from tunnelctl.link.proxy import Proxy
from tunnelctl.wire.limits import MAX_TUNNELS

PROBE_SECONDS = 5.0
"""Maximum seconds of one probe of a public address."""
PROBE_WAITS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.0)
"""Seconds between the first probes; together six seconds, longer than any start-up. Afterwards the address is reported
as not responding and probed every `PROBE_LATER` seconds. The link stays, as visitors may get through where the probe
does not."""
PROBE_LATER = 15.0
PROBES_AT_ONCE = 16
"""Maximum concurrent probes of one agent, so that 200 tunnels that come back do not cause 200 TLS handshakes at
once."""
MAX_NUMBER = 0xFFFF
"""Maximum number of a tunnel within its link, limited by the size of the field in OPEN frames."""
CLOSE_SECONDS = 1.0
"""Seconds for the far end to notice the close; afterwards the connection is closed in any case."""


class Dial(Protocol):
    """Type of `link.dial.dial`, which tests replace."""

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
        """Return a new link, or raise DialFailed."""


class Probe(Protocol):
    """Type of `ready.probe`, which tests replace."""

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
        """Return "" when the address responds, else the reason why it does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """The clock, network and other functions that an agent uses; tests replace them."""

    dial: Dial = dial
    probe: Probe = probe
    open_upstream: Callable[[TunnelConfig, Callable[[str], None]], LocalService] = open_upstream
    clock: Callable[[], float] = time.monotonic
    random: Callable[[], float] = random.random
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class Agent:
    """An agent process: keeps a session with a relay, and serves tunnels over it.

    Args:
        config: Address of the relay, and the tunnels to offer from the start.
        watcher: Gets every event; more can be added to `watchers`.
        surroundings: Clock, network and other functions; the real ones except in tests.
        open_tap: Called for each exchange of an inspected tunnel, and returns its tap; None when no tunnel is
            inspected.

    Attributes:
        instance: Id of this process, which stays the same for all its links: by it the relay tells a reconnect from
            another agent.
        status: State of the session with the relay.
        watchers: The watchers that get the agent's events. They can be added and removed at any time.
        outcome: How the agent ended; None before that.
        local_api: IP literal and port at which the local API listens, where no TCP tunnel may lead; None without one.
    """

    def __init__(
        self,
        config: AgentConfig,
        watcher: Watcher | None = None,
        surroundings: Surroundings | None = None,
        *,
        open_tap: OpenTap | None = None,
    ) -> None:
        self.instance = secrets.token_hex(16)
        self.status = SessionStatus(config.relay.url)
        self.watchers = Watchers(self.status, *([watcher] if watcher is not None else []))
        self.outcome: Outcome | None = None
        self.local_api: tuple[str, int] | None = None
        self._config = config
        self._world = surroundings or Surroundings()
        self._open_tap = open_tap
        self._backoff = Backoff(self._world.random)
        self._was_connected = False
        self._by_name: dict[str, AgentTunnel] = {}
        self._by_number: dict[int, AgentTunnel] = {}
        self._last_number = 0
        self._ends: dict[str, TunnelEnd] = {}
        self._draining: set[AgentTunnel] = set()
        self._first: frozenset[AgentTunnel] = frozenset()
        self._services: set[Service] = set()
        self._current: Service | None = None
        self._tasks: dict[AgentTunnel, tuple[asyncio.Task[None], ...]] = {}
        self._probes = asyncio.Semaphore(PROBES_AT_ONCE)
        self._background: set[asyncio.Task[None]] = set()
        self._running: asyncio.Task[Outcome] | None = None
        self._all_ended = asyncio.Event()
        self._stop = asyncio.Event()
        self._stop_now = asyncio.Event()

    # Lifetime

    def start(self) -> None:
        """Start the agent as a task in the running event loop."""
        self._first = frozenset([self._enter(config) for config in self._config.tunnels])
        self._running = asyncio.create_task(self._run())

    def stop(self) -> None:
        """Stop the agent: the first call lets exchanges in progress finish, the second does not wait for them."""
        if self._stop.is_set():
            self._stop_now.set()
        self._stop.set()

    async def run(self) -> Outcome:
        """Serve until the agent is stopped or refused, or until every configured tunnel has ended by itself.

        An unreachable relay does not end it. An agent without configured tunnels runs until it is stopped.
        """
        self.start()
        return await self._end_of_running()

    async def wait_ended(self) -> Outcome:
        """Wait until the agent has ended, and return how."""
        return await asyncio.shield(self._end_of_running())

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the agent, with draining unless the block raised an exception."""
        self.stop()
        if kind is not None:
            self.stop()
        await self._end_of_running()

    async def online(self) -> None:
        """Wait until the relay has accepted this agent, and tunnels can be added.

        Raises:
            AgentEnded: The agent cannot come online: the credential is refused, the server is not a relay, or the agent
                was stopped.
        """
        while self.status.state is not SessionState.ONLINE:
            if self.outcome is not None:
                raise AgentEnded(self.outcome)
            self.status.changed.clear()
            await self.status.changed.wait()

    # Tunnels

    @property
    def config(self) -> AgentConfig:
        """The settings with which the agent was started."""
        return self._config

    @property
    def tunnels(self) -> Mapping[str, AgentTunnel]:
        """The tunnels that are offered now, by name, the oldest first. A tunnel that ends is removed."""
        return MappingProxyType(self._by_name)

    async def add(self, config: TunnelConfig) -> AgentTunnel:
        """Offer one more tunnel.

        Returns it once the relay serves it, after one round trip. Other tunnels are not affected.

        If it raises, or is cancelled, the tunnel is removed and its name is free.

        Raises:
            DuplicateName: A tunnel with this name exists.
            NotConnected: There is no session, or it was lost, or the relay did not respond in time.
            NotBound: The relay refuses the tunnel; `end` says why.
        """
        if self.status.state is not SessionState.ONLINE:
            raise NotConnected(self.status.reason or "there is no session with the relay yet")
        if config.name in self._by_name:
            raise DuplicateName(f"there is a tunnel called {config.name} already")
        if len(self._by_name) >= MAX_TUNNELS:
            raise NotBound(Failed(f"an agent has at most {MAX_TUNNELS} tunnels", "start another agent"))
        tunnel = self._enter(config)
        tunnel.settled = asyncio.get_running_loop().create_future()
        if self._current is not None:
            self._current.offer(tunnel)
        try:
            async with asyncio.timeout(self._config.greeting_seconds):
                answer = await tunnel.settled
        except TimeoutError:
            self._withdraw(tunnel)
            raise NotConnected("the relay did not answer in time") from None
        except asyncio.CancelledError:
            self._withdraw(tunnel)
            raise
        if answer is not None:
            raise NotBound(answer)
        return tunnel

    def remove(self, name: str) -> AgentTunnel:
        """End a tunnel: its name is released at once, and the relay sends no more visitors.

        Exchanges in progress may finish, for at most `drain_seconds`. Afterwards the rest is aborted, upgraded
        connections included, and the returned tunnel's `closed` is set.

        Raises:
            KeyError: There is no tunnel with this name.
        """
        tunnel = self._by_name[name]
        self._withdraw(tunnel)
        self.watchers.removed(name)
        return tunnel

    def _withdraw(self, tunnel: AgentTunnel) -> None:
        if tunnel.end is None:
            for service in self._services:
                service.withdraw(tunnel)
            self._leave_table(tunnel, Stopped())
            tunnel.settle(Failed("it was removed before the relay had answered"))

    def _enter(self, config: TunnelConfig) -> AgentTunnel:
        """Add a tunnel to the table. Changes of its local service's state are reported to watchers and to the relay."""

        def tell(problem: str) -> None:
            self.watchers.app(config.upstream.url, problem)
            for service in self._services:
                service.report(tunnel)

        upstream = self._world.open_upstream(config, tell)
        if isinstance(upstream, TcpUpstream):
            upstream.is_own_api = lambda transport: self.local_api is not None and leads_to(transport, self.local_api)
        tunnel = AgentTunnel(self._free_number(), config, upstream, self.watchers, self._open_tap)
        self._by_name[config.name] = self._by_number[tunnel.number] = tunnel
        self._tasks[tunnel] = asyncio.create_task(tunnel.upstream.watch()), asyncio.create_task(self._prove_all(tunnel))
        return tunnel

    def _free_number(self) -> int:
        """Return a tunnel number that is not in use and was not used recently, as the relay may still send messages
        about an ended tunnel.
        """
        self._last_number = self._last_number % MAX_NUMBER + 1
        while self._last_number in self._by_number:
            self._last_number = self._last_number % MAX_NUMBER + 1
        return self._last_number

    def _leave_table(self, tunnel: AgentTunnel, end: TunnelEnd | Stopped) -> None:
        """Remove a tunnel from the table; its exchanges drain in the background."""
        del self._by_name[tunnel.name], self._by_number[tunnel.number]
        tunnel.finish(end)
        for task in self._tasks.pop(tunnel):
            self._own(task).cancel()
        self._draining.add(tunnel)
        self._in_background(self._drain(tunnel))

    async def _drain(self, tunnel: AgentTunnel) -> None:
        try:
            async with asyncio.timeout(self._config.drain_seconds):
                await tunnel.idle.wait()
        except TimeoutError:
            pass
        finally:
            tunnel.close("the tunnel has ended")
            self._draining.discard(tunnel)

    def _note_end(self, tunnel: AgentTunnel, end: TunnelEnd | Trouble) -> None:
        """Handle that the relay ended a tunnel. If it was the last configured one, the agent ends too."""
        self._leave_table(tunnel, Stopped() if isinstance(end, Trouble) else end)
        if tunnel.is_being_added or isinstance(end, Trouble):
            tunnel.settle(end)
            return
        if tunnel in self._first:
            self._ends[tunnel.name] = end
        is_last = bool(self._ends) and len(self._ends) == len(self._first) and not self._by_name
        if not (is_last and tunnel in self._first and len(self._first) == 1):  # then the agent's outcome reports it
            self.watchers.ended(tunnel.name, end.message)
        if is_last:
            self._all_ended.set()

    # The loop over links

    async def _run(self) -> Outcome:
        serving = asyncio.create_task(self._keep_serving())
        stopping = asyncio.create_task(self._stop.wait())
        all_ended = asyncio.create_task(self._all_ended.wait())
        outcome: Outcome = Stopped()
        try:
            await asyncio.wait({serving, stopping, all_ended}, return_when=asyncio.FIRST_COMPLETED)
            if all_ended.done():
                outcome = self._end_of_all()
            elif serving.done():
                outcome = serving.result()
            else:
                await _end({serving, *chain.from_iterable(self._tasks.values())})
                await self._leave()
            return outcome
        finally:
            await _end({serving, stopping, all_ended, *chain.from_iterable(self._tasks.values())})
            await _end(self._background)
            await self._close(self._services)
            for tunnel in (*self._by_name.values(), *self._draining):
                tunnel.fail(NotConnected("the agent has ended"))
                tunnel.finish(tunnel.end or Stopped())
                tunnel.close("the agent has ended")
            self._by_name.clear()
            self._by_number.clear()
            self.outcome = outcome
            self.watchers.agent_ended(outcome)

    def _end_of_running(self) -> asyncio.Task[Outcome]:
        assert self._running is not None, "the agent was not started"
        return self._running

    def _end_of_all(self) -> Outcome:
        if len(self._first) == 1:
            return next(iter(self._ends.values()))
        return AllEnded(tuple((config.name, self._ends[config.name]) for config in self._config.tunnels))

    async def _keep_serving(self) -> Outcome:
        while True:
            end = await self._use_one_link()
            self._current = None
            match end:
                case GoingAway(reason):
                    self.watchers.moving(reason)
                case Trouble(reason, wait, error):
                    # The wait that a busy relay asks for, plus up to half of it, so that not all agents come back at
                    # once.
                    delay = self._backoff.next_delay(self._world.clock())
                    delay = max(delay, wait * (1 + self._world.random() / 2))
                    self.watchers.lost(reason, delay, error)
                    self._note_lost(reason)
                    await self._world.sleep(delay)
                case _:
                    return end

    def _note_lost(self, reason: str) -> None:
        """Handle the loss of the link: report it, and stop waiting for tunnels that are being added."""
        for tunnel in tuple(self._by_name.values()):
            tunnel.note_unbound()
            if tunnel.is_being_added:
                self._leave_table(tunnel, Stopped())
                tunnel.fail(NotConnected(reason))

    async def _use_one_link(self) -> LinkEnd:
        """Use one link: from connecting until it can take no more visitors."""
        self.watchers.connecting(self._config.relay.url)
        service = Service(self.instance, self._by_number, self._config.relay.url, self.watchers, self._note_end)
        self._services.add(service)
        self._current = service
        end = await self._greet(service)
        is_steady = False
        if end is None:
            began = self._world.clock()
            end = await service.over
            is_steady = self._backoff.note_link(self._world.clock() - began)
        if not isinstance(end, GoingAway):
            await self._close({service})
            return end
        self._in_background(self._retire(service))
        # A relay that closes the link as soon as it is open must not be reconnected to at once.
        return end if is_steady else Trouble(f"the relay goes away: {end.reason}")

    async def _greet(self, service: Service) -> LinkEnd | None:
        """Wait until the relay has answered every offer. Returns None then, or how the link ended before."""
        config = self._config
        try:
            token = config.token if config.job is None else await config.job.token(config.relay.url)
        except NoJobToken as error:
            return NotAllowed(str(error), error.hint)
        except JobTokenAway as error:
            return Trouble(str(error))
        try:
            link = await self._world.dial(
                config.relay.url,
                user=service,
                token=token or None,
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

    # Probes of public addresses

    async def _prove_all(self, tunnel: AgentTunnel) -> None:
        """Probe every address that the tunnel serves, and every later one: edges may come and go while the tunnel
        stays.

        All addresses are probed again on each new link, as earlier results say nothing about it.
        """
        proving: dict[str, asyncio.Task[None]] = {}
        bindings = 0
        try:
            while True:
                tunnel.moved.clear()
                urls = tunnel.urls if tunnel.is_bound else ()
                if tunnel.is_bound:
                    for url in sorted(tunnel.told.difference(urls)):
                        self.watchers.left(tunnel.name, url)
                    tunnel.told = frozenset(urls)
                is_same = tunnel.bindings == bindings
                bindings = tunnel.bindings
                await _end([proving.pop(url) for url in tuple(proving) if not (is_same and url in urls)])
                if tunnel.is_bound and not urls:
                    self._tell_waiting(tunnel)
                for url in urls:
                    if url not in proving:
                        proving[url] = asyncio.create_task(self._prove(tunnel, url))
                await tunnel.moved.wait()
        finally:
            await _end(proving.values())

    async def _prove(self, tunnel: AgentTunnel, url: str) -> None:
        """Report the tunnel as started once its public address responds through it, and not before."""
        waits = iter(PROBE_WAITS)
        # For a TCP port the relay listens before it reports it, and a probe would be a connection to the service.
        while not tunnel.config.is_tcp and (reason := await self._probe(url)):
            if reason == OTHER_AGENT and tunnel.config.is_shared:
                break  # the address responds, through another tunnel this time
            wait = next(waits, PROBE_LATER)
            if wait == PROBE_LATER:
                self.watchers.unready(url, reason)
            await self._world.sleep(wait)
        tunnel.ready.set()
        self._tell_started(tunnel, url)

    async def _probe(self, url: str) -> str:
        """Probe the address once, when it is its turn. Return "" or the reason why it does not respond."""
        async with self._probes:
            return await self._world.probe(
                self._config.relay,
                url,
                instance=self.instance,
                ca_file=self._config.relay_ca,
                timeout=PROBE_SECONDS,
                proxy=self._config.proxy,
            )

    def _tell_waiting(self, tunnel: AgentTunnel) -> None:
        config = tunnel.config
        self.watchers.waiting(
            Waiting(
                name=config.name,
                upstream=config.upstream.url,
                owner=self.status.owner,
                labels=config.labels,
                edge=config.edge,
                reason=config.why_no_address(self.status.owner),
            )
        )

    def _tell_started(self, tunnel: AgentTunnel, url: str) -> None:
        assert tunnel.bound is not None
        self.watchers.started(
            Started(
                name=tunnel.name,
                upstream=tunnel.config.upstream.url,
                url=url,
                let_in=tunnel.config.who_may_visit,
                redirect_uri=tunnel.bound.redirect_uri,
                labels=tunnel.config.labels,
            )
        )

    # Ending

    async def _retire(self, service: Service) -> None:
        """Let a link whose relay drains finish its exchanges."""
        await asyncio.wait({service.closed}, timeout=self._config.retire_seconds)
        await self._close({service})

    async def _leave(self) -> None:
        """Accept no more visitors, let waiting ones get their responses, release the names, and close the links."""
        for service in self._services:
            service.drain()
        self.watchers.draining(sum(tunnel.in_flight for tunnel in (*self._by_name.values(), *self._draining)))
        waits: set[asyncio.Task[Any]] = {
            asyncio.create_task(self._all_idle()),
            asyncio.create_task(self._stop_now.wait()),
        }
        await asyncio.wait(waits, timeout=self._config.drain_seconds, return_when=asyncio.FIRST_COMPLETED)
        await _end(waits)
        for service in self._services:
            service.unbind()

    async def _all_idle(self) -> None:
        for tunnel in (*self._by_name.values(), *self._draining):
            await tunnel.idle.wait()

    async def _close(self, services: set[Service]) -> None:
        """Close these links and remove them."""
        closing = tuple(services)
        for service in closing:
            service.close()
        open_ones = {service.closed for service in closing if service.is_linked}
        if open_ones:
            await asyncio.wait(open_ones, timeout=CLOSE_SECONDS)
        self._services.difference_update(closing)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return self._own(asyncio.create_task(work))

    def _own(self, task: asyncio.Task[None]) -> asyncio.Task[None]:
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task


async def _end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until they have ended."""
    ending = tuple(tasks)
    for task in ending:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)
