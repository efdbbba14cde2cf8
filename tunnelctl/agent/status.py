"""The state of an agent's session with its relay, derived from the agent's events.

connecting -> online <-> reconnecting;  any of them -> stopping -> ended
"""

import asyncio
from enum import StrEnum

from tunnelctl.agent.outcome import Outcome
from tunnelctl.agent.watcher import Watcher


class SessionState(StrEnum):
    """The states of a session, with the names of ngrok's API."""

    CONNECTING = "connecting"
    ONLINE = "online"
    RECONNECTING = "reconnecting"
    STOPPING = "stopping"
    ENDED = "ended"


class SessionStatus(Watcher):
    """The current state of the session, and what is known about it.

    Attributes:
        relay: Address of the relay.
        owner: Owner of the agent, as the relay reported; "" before that.
        round_trip: Latest measured latency of the link in seconds; None before the first measurement.
        changed: Set when `state` has changed; a reader that waits for it clears it.
        reason: Why the session is not online; "" when it is, or before the first failure.
    """

    def __init__(self, relay: str) -> None:
        self.state = SessionState.CONNECTING
        self.relay = relay
        self.owner = ""
        self.round_trip: float | None = None
        self.reason = ""
        self.changed = asyncio.Event()

    def connected(self, relay: str, owner: str) -> None:
        """Set the state to online; tunnels can be added."""
        self.owner = owner
        self.reason = ""
        self._become(SessionState.ONLINE)

    def latency(self, seconds: float) -> None:
        """Store the measured round trip of the link, in seconds."""
        self.round_trip = seconds

    def lost(self, reason: str, retry_in: float, error: str) -> None:
        """Set the state after the loss of the link. An agent that never had one is still connecting."""
        self.round_trip = None
        self.reason = reason
        if self.state is SessionState.ONLINE:
            self._become(SessionState.RECONNECTING)

    def draining(self, exchanges: int) -> None:
        """Set the state to stopping."""
        self._become(SessionState.STOPPING)

    def agent_ended(self, outcome: Outcome) -> None:
        """Set the state to ended."""
        self.round_trip = None
        self._become(SessionState.ENDED)

    def _become(self, state: SessionState) -> None:
        if self.state is not SessionState.STOPPING or state is SessionState.ENDED:
            self.state = state
            self.changed.set()
