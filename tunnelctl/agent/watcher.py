"""The events of an agent, for the log, the live screen and tests. They are called in the event loop and must not block
or raise.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tunnelctl.agent.exchange import UpstreamExchange
from tunnelctl.agent.outcome import Outcome
from tunnelctl.agent.tcp import TcpExchange

Exchange = UpstreamExchange | TcpExchange
"""A visitor's stream: an HTTP request, an upgraded connection, or a TCP connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A tunnel whose public address has responded through its own link.

    Attributes:
        url: The public address.
        redirect_uri: Redirect URI to register at the OpenID provider; None without a login.
        labels: (name, value) pairs of a tunnel that serves edges.
        let_in: Who may enter, in words.
    """

    name: str
    upstream: str
    url: str
    let_in: str = ""
    redirect_uri: str | None = None
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A tunnel that the relay has accepted but that has no address, as no edge uses it yet.

    Attributes:
        owner: Owner of the agent, whose edges it could serve.
        labels: (name, value) pairs that an edge must require; empty when one edge was named.
        edge: The edge that was named.
        reason: Explanation for display, in one sentence without a full stop.
    """

    name: str
    upstream: str
    owner: str
    reason: str
    labels: tuple[tuple[str, str], ...] = ()
    edge: str = ""


class Watcher:
    """The events of an agent, in the order in which they occur.

    By default each does nothing; subclasses override some.
    """

    def connecting(self, relay: str) -> None:
        """The agent begins to connect to the relay."""

    def connected(self, relay: str, owner: str) -> None:
        """The relay has accepted the agent, as one of this owner."""

    def latency(self, seconds: float) -> None:
        """The link's round trip was measured, in seconds."""

    def started(self, tunnel: Started) -> None:
        """Visitors can now reach the tunnel at an address. Called for each address, and again after each reconnect."""

    def waiting(self, tunnel: Waiting) -> None:
        """The relay has accepted the tunnel, but no edge uses it yet."""

    def left(self, name: str, url: str) -> None:
        """Visitors of an address no longer reach the tunnel: the edge is gone, or requires other labels."""

    def unready(self, url: str, reason: str) -> None:
        """The link is up, but the public address does not respond through it. Called at most every few seconds."""

    def app(self, upstream: str, reason: str) -> None:
        """The local service does not accept connections, for this reason; or, if the reason is "", accepts them
        again.
        """

    def ended(self, name: str, message: str) -> None:
        """The relay refused this tunnel, or another agent took it over; the agent's other tunnels continue."""

    def removed(self, name: str) -> None:
        """The tunnel was removed from the agent; its exchanges in progress may still end."""

    def began(self, name: str) -> None:
        """An exchange of this tunnel began."""

    def joined(self, name: str, upstream: str, exchange: Exchange) -> None:
        """A connection to the local service was opened for an exchange; it may carry later ones too.

        Args:
            upstream: Address of the service, as in `UpstreamAddress.authority`.
        """

    def exchange(self, name: str, exchange: Exchange) -> None:
        """An exchange of this tunnel has ended."""

    def lost(self, reason: str, retry_in: float, error: str) -> None:
        """The link was lost or not opened; the next try is in `retry_in` seconds.

        Args:
            error: The relay's name for the reason, "" without one.
        """

    def moving(self, reason: str) -> None:
        """The relay drains; a new link is opened while the old one finishes."""

    def draining(self, exchanges: int) -> None:
        """The agent was asked to stop; it first lets this many exchanges finish."""

    def agent_ended(self, outcome: Outcome) -> None:
        """The agent has ended; no event follows."""


EVENTS = tuple(name for name in vars(Watcher) if not name.startswith("_"))


class Watchers(Watcher):
    """Combines several watchers into one, called in order. They may be added and removed during an event."""

    def __init__(self, *watchers: Watcher) -> None:
        self._watchers: tuple[Watcher, ...] = ()
        for watcher in watchers:
            self.add(watcher)

    def add(self, watcher: Watcher) -> None:
        """Add a watcher, which gets events after the others."""
        self._watchers = (*self._watchers, watcher)
        self._tell_these()

    def discard(self, watcher: Watcher) -> None:
        """Remove a watcher."""
        self._watchers = tuple(one for one in self._watchers if one is not watcher)
        self._tell_these()

    def _tell_these(self) -> None:
        for event in EVENTS:
            listeners = [getattr(watcher, event) for watcher in self._watchers]
            setattr(self, event, partial(_tell_all, [one for one in listeners if not _is_idle(one, event)]))


def _is_idle(listener: Callable[..., None], event: str) -> bool:
    """Return whether a watcher does not override this event, so that frequent events can skip it."""
    return getattr(listener, "__func__", None) is vars(Watcher)[event]


def _tell_all(listeners: list[Callable[..., None]], *args: object) -> None:
    for listener in listeners:
        listener(*args)
