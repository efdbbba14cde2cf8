"""A relay without a network: the agent's side of a link, and what a test makes the relay say on it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

from tunnelctl.agent.address import RelayAddress, UpstreamAddress
from tunnelctl.agent.agent import Agent, Surroundings
from tunnelctl.agent.config import AgentConfig, TunnelConfig
from tunnelctl.agent.outcome import Outcome
from tunnelctl.agent.watcher import Started, Waiting, Watcher
from tunnelctl.link.dial import DialFailed
from tunnelctl.wire.errors import Code
from tunnelctl.wire.frames import TYPE_EXCHANGE, TYPE_UPGRADE, pack_open
from tunnelctl.wire.messages import Bind, Bound, Hello, Join, Message, Unbind, Welcome


class FakeLink:
    """Writes down what the agent sends; `user` is how the relay talks back."""

    def __init__(self, user: Any) -> None:
        self.user = user
        self.sent: list[Message] = []
        self.frames: list[tuple[Any, ...]] = []
        self.is_open = True
        self.is_leaving = False
        self.closed_with: Code | None = None
        self.on_send: Callable[[Message], None] = lambda message: None

    def send(self, message: Message, *, is_optional: bool = False) -> None:
        self.sent.append(message)
        self.on_send(message)

    def send_head(self, stream: Any, payload: bytes, fin: bool = False) -> None:
        self.frames.append(("head", payload))

    def send_data(self, stream: Any, data: bytes, fin: bool = False) -> None:
        self.frames.append(("data", bytes(data), fin))

    def reset(self, stream: Any, code: Code, reason: str = "") -> None:
        self.frames.append(("reset", code))

    def go_away(self, code: Code, reason: str = "") -> None:
        self.is_leaving = True

    def close(self, code: Code, reason: str = "") -> None:
        if self.is_open:
            self.closed_with = code
            self.drop(code, reason)

    def drop(self, code: Code = Code.HEARTBEAT, reason: str = "the connection was closed") -> None:
        """The link is gone."""
        if self.is_open:
            self.is_open = False
            asyncio.get_running_loop().call_soon(self.user.on_closed, code, reason)

    def sent_of(self, kind: type) -> list[Any]:
        return [message for message in self.sent if isinstance(message, kind)]

    def open(self, head: bytes, tunnel: int = 1, type_: int = TYPE_EXCHANGE) -> Any:
        """A visitor's request arrives."""
        stream = SimpleNamespace(id=1, owner=None, queued=0, is_closed=False)
        self.user.on_opened(stream, pack_open(tunnel, type_, 0, head), True)
        return stream


class FakeRelay:
    """Answers like a relay in which every name is free, unless told otherwise.

    Attributes:
        answers: What the next dials meet: a DialFailed to raise, or None for a link. When empty, links.
        on_bind: What a Bind is answered with; None for silence.
        on_join: The same for a Join.
        links: Every link there was, oldest first.
    """

    def __init__(self) -> None:
        self.answers: list[DialFailed | None] = []
        self.links: list[FakeLink] = []
        self.dials = 0
        self.linked: asyncio.Queue[FakeLink] = asyncio.Queue()
        self.greets = True
        self.on_bind: Callable[[Bind], Message | None] = bound
        self.on_join: Callable[[Join], Message | None] = joined

    async def dial(self, url: str, *, user: Any, token: str | None, **way: Any) -> Any:
        self.dials += 1
        if self.answers and (failure := self.answers.pop(0)) is not None:
            raise failure
        link = FakeLink(user)
        link.on_send = lambda message: self._answer(link, message)
        self.links.append(link)
        self.linked.put_nowait(link)
        return link

    def _answer(self, link: FakeLink, message: Message) -> None:
        answer: Message | None = None
        if isinstance(message, Hello) and self.greets:
            answer = WELCOME
        elif isinstance(message, Bind):
            answer = self.on_bind(message)
        elif isinstance(message, Join):
            answer = self.on_join(message)
        if answer is not None:
            asyncio.get_running_loop().call_soon(link.user.on_message, answer)


WELCOME = Welcome(version="1", owner="ann", domain="tun.example", heartbeat_seconds=5.0, max_streams=100)


def bound(bind: Bind) -> Bound:
    host = bind.host or f"{bind.subdomain or 'random-1'}.tun.example"
    return Bound(tunnel=bind.tunnel, url=f"https://{host}", host=host, generation=1)


def joined(join: Join, *urls: str) -> Bound:
    """A join's answer with these addresses, or one made of the first label."""
    urls = urls or (f"https://{join.edge or join.labels[0][1]}.tun.example",)
    return Bound(tunnel=join.tunnel, url=urls[0], host=urls[0].partition("://")[2], generation=1, urls=urls)


def joined_nothing(join: Join) -> Bound:
    """A join's answer while no edge looks for these labels."""
    return Bound(tunnel=join.tunnel, url="", host="", generation=1)


@dataclass
class Diary(Watcher):
    """Everything the agent told, as words, and a queue of starts to wait on."""

    words: list[str] = field(default_factory=list)
    starts: "asyncio.Queue[Started]" = field(default_factory=asyncio.Queue)
    losses: "asyncio.Queue[tuple[str, float]]" = field(default_factory=asyncio.Queue)
    drains: "asyncio.Queue[int]" = field(default_factory=asyncio.Queue)
    unreadies: "asyncio.Queue[str]" = field(default_factory=asyncio.Queue)
    removals: list[str] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    waits: "asyncio.Queue[str]" = field(default_factory=asyncio.Queue)
    apps: "asyncio.Queue[str]" = field(default_factory=asyncio.Queue)
    ends: "asyncio.Queue[tuple[str, str]]" = field(default_factory=asyncio.Queue)
    lefts: "asyncio.Queue[str]" = field(default_factory=asyncio.Queue)

    def connected(self, relay: str, owner: str) -> None:
        self.words.append(f"connected as {owner}")

    def started(self, tunnel: Started) -> None:
        self.words.append(f"started {tunnel.url}")
        self.starts.put_nowait(tunnel)

    def waiting(self, tunnel: Waiting) -> None:
        self.waits.put_nowait(tunnel.reason)

    def app(self, upstream: str, reason: str) -> None:
        self.apps.put_nowait(reason)

    def ended(self, name: str, message: str) -> None:
        self.ends.put_nowait((name, message))

    def left(self, name: str, url: str) -> None:
        self.lefts.put_nowait(url)

    def removed(self, name: str) -> None:
        self.removals.append(name)

    def agent_ended(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)

    def unready(self, url: str, reason: str) -> None:
        self.unreadies.put_nowait(reason)

    def lost(self, reason: str, retry_in: float, error: str) -> None:
        self.words.append(f"lost: {reason}")
        self.losses.put_nowait((reason, retry_in))

    def moving(self, reason: str) -> None:
        self.words.append("moving")

    def draining(self, exchanges: int) -> None:
        self.drains.put_nowait(exchanges)


class FakeUpstream:
    """A local service that is never connected to. Its exchanges are ended by hand.

    Attributes:
        exchanges: Those that are open.
    """

    def __init__(self) -> None:
        self.problem: str | None = None
        self.exchanges: list[FakeExchange] = []
        self.is_closed = False

    async def watch(self) -> None:
        await asyncio.get_running_loop().create_future()

    def serve(self, link: Any, stream: Any, opened: Any, fin: bool, on_done: Callable[[Any], None]) -> "FakeExchange":
        exchange = FakeExchange(self, opened.head, opened.type == TYPE_UPGRADE, on_done)
        self.exchanges.append(exchange)
        return exchange

    def close(self) -> None:
        self.is_closed = True


class FakeExchange:
    """One that is over when `finish` or `abort` says so."""

    def __init__(self, upstream: FakeUpstream, head: bytes, is_upgrade: bool, on_done: Callable[[Any], None]) -> None:
        self._upstream = upstream
        self.head = head
        self._on_done = on_done
        self.is_upgrade = is_upgrade
        self.is_over = False
        self.started = 0.0
        self.seconds = 0.1
        self.aborted_with: Code | None = None

    def finish(self) -> None:
        self.is_over = True
        self._upstream.exchanges.remove(self)
        self._on_done(self)

    def abort(self, code: Code, reason: str) -> None:
        self.aborted_with = code
        self.finish()


async def answers_at_once(*args: Any, **kwargs: Any) -> str:
    return ""


async def no_wait(seconds: float) -> None:
    await asyncio.sleep(0)


def make_agent(
    relay: FakeRelay,
    diary: Diary,
    *,
    probe: Callable[..., Awaitable[str]] = answers_at_once,
    clock: Callable[[], float] = lambda: 0.0,
    random: Callable[[], float] = lambda: 1.0,
    sleep: Callable[[float], Awaitable[None]] = no_wait,
    port: int = 9,
    tunnel: TunnelConfig | None = None,
    tunnels: tuple[TunnelConfig, ...] | None = None,
    upstream: FakeUpstream | None = None,
    **config: Any,
) -> Agent:
    if tunnels is None:
        tunnels = (tunnel or TunnelConfig(upstream=UpstreamAddress("http", "127.0.0.1", port), subdomain="demo"),)
    world = Surroundings(dial=relay.dial, probe=probe, clock=clock, random=random, sleep=sleep)
    if upstream is not None:
        world = replace(world, open_upstream=lambda config, tell: upstream)
    return Agent(AgentConfig(relay=RelayAddress("http", "127.0.0.1", 1), tunnels=tunnels, **config), diary, world)


def unbound_numbers(link: FakeLink) -> list[int]:
    return [message.tunnel for message in link.sent_of(Unbind)]
