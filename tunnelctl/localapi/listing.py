"""The tunnels that the local API shows, and their names: as in ngrok, one entry for each scheme that was requested.

A tunnel with both schemes is listed as `web` with its https address and as `web (http)` with its http address, and ends
when both entries are deleted. No other part of the agent knows these names.
"""

from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import urlsplit

from tunnelctl.agent.agent import Agent
from tunnelctl.agent.tunnel import AgentTunnel

PLAIN = " (http)"
"""Suffix that distinguishes the name of a tunnel's entry with the http address from the entry with the https
address."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the list of tunnels.

    Attributes:
        url: The public address; "" for a tunnel whose edges have none yet.
    """

    name: str
    tunnel: AgentTunnel
    url: str

    @property
    def proto(self) -> str:
        """The protocol of the entry: `https`, `http` or `tcp`."""
        return urlsplit(self.url).scheme or "http"


class ApiListing:
    """The list of entries for an agent's tunnels."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._schemes: dict[AgentTunnel, dict[str, str]] = {}

    def entries(self) -> list[Entry]:
        """Return every entry of the tunnels that the relay has accepted, the oldest tunnel first."""
        return [entry for tunnel in self._agent.tunnels.values() for entry in self.entries_of(tunnel)]

    def find(self, name: str) -> Entry | None:
        """Return the entry with this name; None when there is none."""
        return next((entry for entry in self.entries() if entry.name == name), None)

    def entries_of(self, tunnel: AgentTunnel) -> list[Entry]:
        """Return the entries of one tunnel, the one with the https address first."""
        if tunnel.bound is None:
            return []
        schemes = self._schemes.get(tunnel)
        if schemes is None or not tunnel.url.startswith("https://"):
            return [Entry(tunnel.name, tunnel, tunnel.url)]
        rest = tunnel.url.removeprefix("https")
        return [Entry(name, tunnel, scheme + rest) for name, scheme in schemes.items()]

    def note(self, tunnel: AgentTunnel, schemes: Collection[str]) -> None:
        """Store which schemes were requested for a tunnel; none for all schemes that it has."""
        self._schemes = {one: kept for one, kept in self._schemes.items() if one.end is None}
        if set(schemes) == {"http", "https"}:
            self._schemes[tunnel] = {tunnel.name: "https", tunnel.name + PLAIN: "http"}
        elif schemes:
            self._schemes[tunnel] = {tunnel.name: next(iter(schemes))}

    def schemes_of(self, tunnel: AgentTunnel) -> tuple[str, ...]:
        """Return the stored schemes of a tunnel, without those whose entry was removed."""
        return tuple(self._schemes.get(tunnel, {}).values())

    def remove(self, entry: Entry) -> None:
        """Remove an entry from the list, and end the tunnel with its last one."""
        if self.entries_of(entry.tunnel) == [entry]:
            self._schemes.pop(entry.tunnel, None)
            self._agent.remove(entry.tunnel.name)
        else:
            del self._schemes[entry.tunnel][entry.name]
