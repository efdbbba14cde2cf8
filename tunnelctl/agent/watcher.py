"""The events of an agent, for the log, the live screen and tests. Called in the event loop: never block or raise."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tunnelctl.agent.exchange import UpstreamExchange
from tunnelctl.agent.outcome import Outcome
from tunnelctl.agent.tcp import TcpExchange

Exchange = UpstreamExchange | TcpExchange
"""What a visitor's stream came to: a request, an upgraded connection, or a tcp connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A tunnel whose public address has answered through its own link.

    Attributes:
        url: The address.
        redirect_uri: What to register at the OpenID provider, None without one.
        labels: (name, value) pairs of a tunnel that serves the edges that look for them.
        let_in: Who may visit, in words.
    """

    name: str
    upstream: str
    url: str
    let_in: str = ""
    redirect_uri: str | None = None
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A tunnel that the relay has taken and that no address leads to: no edge asks for it yet.

    Attributes:
        owner: Whose edges can: the agent's own owner.
        labels: (name, value) pairs that an edge has to ask for; empty when one edge was named.
        edge: The edge that was named.
        reason: All of it for people, in one sentence without a full stop.
    """

    name: str
    upstream: str
    owner: str
    reason: str
    labels: tuple[tuple[str, str], ...] = ()
    edge: str = ""


class Watcher:
    """The events, in the order they come about. Each does nothing: a watcher overrides those that it is about."""

    def connecting(self, relay: str) -> None:
        """The relay is dialled."""

    def connected(self, relay: str, owner: str) -> None:
        """The relay knows us, as an agent of this owner."""

    def latency(self, seconds: float) -> None:
        """The link's round trip was measured."""

    def started(self, tunnel: Started) -> None:
        """Visitors reach the tunnel at this address. Comes for each address, and again after each reconnect."""

    def waiting(self, tunnel: Waiting) -> None:
        """The relay has the tunnel, and no edge leads to it yet."""

    def left(self, name: str, url: str) -> None:
        """Visitors of this address no longer come to this tunnel: its edge is gone, or looks for other labels."""

    def unready(self, url: str, reason: str) -> None:
        """The link stands, but the public address does not answer through it. Comes at most every few seconds."""

    def app(self, upstream: str, reason: str) -> None:
        """The local service does not take connections, for this reason; or it does again, and the reason is ""."""

    def ended(self, name: str, message: str) -> None:
        """The relay refused this tunnel, or another agent took it over; the agent's others go on."""

    def removed(self, name: str) -> None:
        """The tunnel was removed from the agent; exchanges that it has in flight may still end."""

    def began(self, name: str) -> None:
        """An exchange of this tunnel began."""

    def joined(self, name: str, upstream: str, exchange: Exchange) -> None:
        """A connection to the local service was opened for an exchange; it may carry later ones too.

        Args:
            upstream: Where to, as `UpstreamAddress.authority` has it.
        """

    def exchange(self, name: str, exchange: Exchange) -> None:
        """An exchange of this tunnel is over."""

    def lost(self, reason: str, retry_in: float, error: str) -> None:
        """There is no link; the next try comes in so many seconds.

        Args:
            error: The relay's name for the reason, "" without one.
        """

    def moving(self, reason: str) -> None:
        """The relay drains; a new link is opened while the old one finishes."""

    def draining(self, exchanges: int) -> None:
        """Asked to stop; this many exchanges are let finish first."""

    def agent_ended(self, outcome: Outcome) -> None:
        """The agent has ended; no event comes after this one."""


EVENTS = tuple(name for name in vars(Watcher) if not name.startswith("_"))


class Watchers(Watcher):
    """Several watchers as one, told in order. Watchers come and go while events are told."""

    def __init__(self, *watchers: Watcher) -> None:
        self._watchers: tuple[Watcher, ...] = ()
        for watcher in watchers:
            self.add(watcher)

    def add(self, watcher: Watcher) -> None:
        """Tell this one too, after the others."""
        self._watchers = (*self._watchers, watcher)
        self._tell_these()

    def discard(self, watcher: Watcher) -> None:
        """Tell this one no more."""
        self._watchers = tuple(one for one in self._watchers if one is not watcher)
        self._tell_these()

    def _tell_these(self) -> None:
        for event in EVENTS:
            listeners = [getattr(watcher, event) for watcher in self._watchers]
            setattr(self, event, partial(_tell_all, [one for one in listeners if not _is_idle(one, event)]))


def _is_idle(listener: Callable[..., None], event: str) -> bool:
    """Whether a watcher has left this event as `Watcher` has it. Some events come with every exchange."""
    return getattr(listener, "__func__", None) is vars(Watcher)[event]


def _tell_all(listeners: list[Callable[..., None]], *args: object) -> None:
    for listener in listeners:
        listener(*args)
