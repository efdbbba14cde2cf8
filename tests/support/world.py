"""Runs a relay and agents in the test's own process, on free ports: the highest level of test without processes.

`async with world(tmp_path) as w: tunnel = await w.tunnel(app.port, subdomain="demo")`
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.support.raw_http import Response, fetch
from tests.support.waiting import PATIENCE
from tunnelctl.agent.address import RelayAddress, UpstreamAddress
from tunnelctl.agent.agent import Agent
from tunnelctl.agent.config import AgentConfig, TunnelConfig
from tunnelctl.agent.outcome import Outcome
from tunnelctl.agent.tap import OpenTap
from tunnelctl.agent.watcher import Exchange, Started, Waiting, Watcher
from tunnelctl.wire.messages import PolicySpec
from tunnelrelay.app.relay import Relay
from tunnelrelay.config.config import RelayConfig
from tunnelrelay.config.values import ListenAddress


@dataclass(slots=True)
class Diary(Watcher):
    """A watcher of an agent that records all its events.

    Attributes:
        events: Names of the events, in order.
        exchanges: All finished exchanges.
        lost_for: The reasons of lost links.
        starts, waits: The events `started` and `waiting`, for tests to wait on.
    """

    events: list[str] = field(default_factory=list)
    exchanges: list[Exchange] = field(default_factory=list)
    lost_for: list[str] = field(default_factory=list)
    starts: "asyncio.Queue[Started]" = field(default_factory=asyncio.Queue)
    waits: "asyncio.Queue[Waiting]" = field(default_factory=asyncio.Queue)

    def connecting(self, relay: str) -> None:
        self.events.append("connecting")

    def connected(self, relay: str, owner: str) -> None:
        self.events.append("connected")

    def started(self, tunnel: Started) -> None:
        self.events.append("started")
        self.starts.put_nowait(tunnel)

    def waiting(self, tunnel: Waiting) -> None:
        self.events.append(f"waiting: {tunnel.reason}")
        self.waits.put_nowait(tunnel)

    def app(self, upstream: str, reason: str) -> None:
        self.events.append(f"app: {reason}")

    def ended(self, name: str, message: str) -> None:
        self.events.append(f"ended: {name}: {message}")

    def left(self, name: str, url: str) -> None:
        self.events.append(f"left: {url}")

    def unready(self, url: str, reason: str) -> None:
        self.events.append(f"unready: {reason}")

    def removed(self, name: str) -> None:
        self.events.append(f"removed: {name}")

    def exchange(self, name: str, exchange: Exchange) -> None:
        self.exchanges.append(exchange)

    def lost(self, reason: str, retry_in: float, error: str) -> None:
        self.events.append("lost")
        self.lost_for.append(reason)

    def moving(self, reason: str) -> None:
        self.events.append("moving")

    def draining(self, exchanges: int) -> None:
        self.events.append("draining")


class WorldTunnel:
    """An agent with one tunnel.

    Attributes:
        host: The value of `Host` that visitors send, with the port.
    """

    def __init__(self, world: "World", agent: Agent, diary: Diary, running: "asyncio.Task[Outcome]") -> None:
        self.world = world
        self.agent = agent
        self.diary = diary
        self.running = running
        self.url = ""

    @property
    def host(self) -> str:
        return self.url.partition("://")[2]

    async def until_started(self) -> None:
        """Wait until the agent reports that visitors reach its tunnel, for the first time or again."""
        starting = asyncio.ensure_future(self.diary.starts.get())
        await asyncio.wait({starting, self.running}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        assert starting.done(), f"the tunnel did not start: {self.outcome or self.diary.events}"
        self.url = starting.result().url

    @property
    def outcome(self) -> Outcome | None:
        """How the agent ended; None while it runs."""
        return self.running.result() if self.running.done() else None

    async def fetch(self, method: str, target: str, **kwargs: Any) -> Response:
        """Send a visitor's request for the tunnel on a new connection, and return its response."""
        return await fetch(self.world.port, method, target, host=self.host, **kwargs)

    async def stop(self) -> Outcome:
        """Ask the agent to stop, and wait until it has. Returns how it ended."""
        self.agent.stop()
        return await self.running


def tunnel_to(upstream: int, **what: Any) -> TunnelConfig:
    """Return the configuration of a tunnel to a port of this machine.

    Args:
        upstream: Port of the local service.
        what: Fields of `TunnelConfig`. A host of `tcp://` or `tcp://:PORT` makes it a tcp tunnel.
    """
    scheme = "tcp" if str(what.get("host")).startswith("tcp:") else "http"
    return TunnelConfig(upstream=UpstreamAddress(scheme, "127.0.0.1", upstream), **what)


class World:
    """A relay, and the agents that a test starts, in one process.

    Attributes:
        settings: Fields of `RelayConfig` for the next start of the relay.
    """

    def __init__(self, data_dir: Path, transport: httpx.AsyncBaseTransport | None = None, **settings: Any) -> None:
        self._transport = transport
        self.settings = {
            "http": ListenAddress("127.0.0.1", 0),
            "admin": None,
            "data_dir": data_dir,
            "drain_seconds": 1.0,
            **settings,
        }
        self.relay: Relay
        self.port = 0
        self.tunnels: list[WorldTunnel] = []

    async def start_relay(self) -> None:
        """Start the relay, for the first time, or again on the same port and data."""
        settings = {**self.settings, "http": ListenAddress("127.0.0.1", self.port)}
        self.relay = Relay(RelayConfig(**settings), transport=self._transport)
        await self.relay.start()
        assert self.relay.http is not None
        self.port = self.relay.http[1]

    def agent(self, upstream: int, *, token: str = "", policy: PolicySpec | None = None, **where: Any) -> WorldTunnel:
        """Start an agent with one tunnel, without waiting for the tunnel.

        Args:
            upstream: Port of the local service.
            token: The agent's authtoken.
            policy: The tunnel's policy; None lets all visitors in.
            where: `subdomain` or `host`, and `name` of the tunnel.
        """
        return self.agent_with(tunnel_to(upstream, policy=policy or PolicySpec(), **where), token=token)

    def agent_with(self, *tunnels: TunnelConfig, token: str = "", open_tap: OpenTap | None = None) -> WorldTunnel:
        """Start an agent with these tunnels, without waiting for them.

        Args:
            open_tap: Opens an observer of the tunnels' exchanges.
        """
        config = AgentConfig(relay=RelayAddress("http", "127.0.0.1", self.port), tunnels=tunnels, token=token)
        diary = Diary()
        agent = Agent(config, diary, open_tap=open_tap)
        tunnel = WorldTunnel(self, agent, diary, asyncio.create_task(agent.run()))
        self.tunnels.append(tunnel)
        return tunnel

    async def tunnel(self, upstream: int, **kwargs: Any) -> WorldTunnel:
        """Start an agent with one tunnel, and wait until visitors reach it; arguments as for `agent`."""
        tunnel = self.agent(upstream, **kwargs)
        await tunnel.until_started()
        return tunnel

    async def stop(self) -> None:
        """Stop all agents, then the relay."""
        for tunnel in self.tunnels:
            tunnel.agent.stop()
            tunnel.agent.stop()
        await asyncio.gather(*(tunnel.running for tunnel in self.tunnels), return_exceptions=True)
        await self.relay.stop()


@asynccontextmanager
async def world(
    data_dir: Path, transport: httpx.AsyncBaseTransport | None = None, **settings: Any
) -> AsyncIterator[World]:
    """Context manager: a running relay without agents; all agents that the test starts are stopped at its end.

    Args:
        data_dir: The relay's data directory, kept when the relay restarts.
        transport: Replaces the network to identity providers; None for the real network.
        settings: Fields of `RelayConfig`.
    """
    w = World(data_dir, transport, **settings)
    await w.start_relay()
    try:
        yield w
    finally:
        await w.stop()
