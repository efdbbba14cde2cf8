"""The state of an agent's session with its relay, as its events tell it.

connecting -> online <-> reconnecting;  any of them -> stopping -> ended
"""

import asyncio
from enum import StrEnum

from tunnelctl.agent.outcome import Outcome
from tunnelctl.agent.watcher import Watcher


class SessionState(StrEnum):
    """The names are those of ngrok's API."""

    CONNECTING = "connecting"
    ONLINE = "online"
    RECONNECTING = "reconnecting"
    STOPPING = "stopping"
    ENDED = "ended"


class SessionStatus(Watcher):
    """What is known of the session now.

    Attributes:
        relay: The relay's address.
        owner: Whose agent the relay takes this for; "" before it said so.
        round_trip: The link's latency as last measured, in seconds; None before that.
        changed: Set when `state` has changed; a reader that waits for it clears it.
        reason: Why the session is not online; "" when it is, or before the first trouble.
    """

    def __init__(self, relay: str) -> None:
        self.state = SessionState.CONNECTING
        self.relay = relay
        self.owner = ""
        self.round_trip: float | None = None
        self.reason = ""
        self.changed = asyncio.Event()

    def connected(self, relay: str, owner: str) -> None:
        """The session is online; tunnels can be added."""
        self.owner = owner
        self.reason = ""
        self._become(SessionState.ONLINE)

    def latency(self, seconds: float) -> None:
        """Keep the round trip."""
        self.round_trip = seconds

    def lost(self, reason: str, retry_in: float, error: str) -> None:
        """There is no link. An agent that never had one is still connecting."""
        self.round_trip = None
        self.reason = reason
        if self.state is SessionState.ONLINE:
            self._become(SessionState.RECONNECTING)

    def draining(self, exchanges: int) -> None:
        """The agent was asked to stop."""
        self._become(SessionState.STOPPING)

    def agent_ended(self, outcome: Outcome) -> None:
        """The agent has ended."""
        self.round_trip = None
        self._become(SessionState.ENDED)

    def _become(self, state: SessionState) -> None:
        if self.state is not SessionState.STOPPING or state is SessionState.ENDED:
            self.state = state
            self.changed.set()
