"""Which tunnels the local API shows, and under which names: one for each scheme that was asked for, as ngrok has it.

A tunnel of both schemes is listed as `web` at its https address and as `web (http)` at its http one, and ends with the
last of the two that is deleted. No other part of the agent knows of this.
"""

from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import urlsplit

from tunnelctl.agent.agent import Agent
from tunnelctl.agent.tunnel import AgentTunnel

PLAIN = " (http)"
"""Behind the name of the entry at the http address, beside one at the https address."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the list.

    Attributes:
        url: The public address; "" of a tunnel whose edges have none yet.
    """

    name: str
    tunnel: AgentTunnel
    url: str

    @property
    def proto(self) -> str:
        """`https`, `http` or `tcp`."""
        return urlsplit(self.url).scheme or "http"


class ApiListing:
    """The entries of an agent's tunnels."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._schemes: dict[AgentTunnel, dict[str, str]] = {}

    def entries(self) -> list[Entry]:
        """Every entry of a tunnel that the relay has taken, the oldest tunnel first."""
        return [entry for tunnel in self._agent.tunnels.values() for entry in self.entries_of(tunnel)]

    def find(self, name: str) -> Entry | None:
        """The entry of this name."""
        return next((entry for entry in self.entries() if entry.name == name), None)

    def entries_of(self, tunnel: AgentTunnel) -> list[Entry]:
        """Those of one tunnel, that at the https address first."""
        if tunnel.bound is None:
            return []
        schemes = self._schemes.get(tunnel)
        if schemes is None or not tunnel.url.startswith("https://"):
            return [Entry(tunnel.name, tunnel, tunnel.url)]
        rest = tunnel.url.removeprefix("https")
        return [Entry(name, tunnel, scheme + rest) for name, scheme in schemes.items()]

    def note(self, tunnel: AgentTunnel, schemes: Collection[str]) -> None:
        """Remember for which schemes a tunnel was asked; none for whatever it has."""
        self._schemes = {one: kept for one, kept in self._schemes.items() if one.end is None}
        if set(schemes) == {"http", "https"}:
            self._schemes[tunnel] = {tunnel.name: "https", tunnel.name + PLAIN: "http"}
        elif schemes:
            self._schemes[tunnel] = {tunnel.name: next(iter(schemes))}

    def schemes_of(self, tunnel: AgentTunnel) -> tuple[str, ...]:
        """What `note` was told of a tunnel, less what was removed since."""
        return tuple(self._schemes.get(tunnel, {}).values())

    def remove(self, entry: Entry) -> None:
        """Take an entry off the list, and end the tunnel with its last one."""
        if self.entries_of(entry.tunnel) == [entry]:
            self._schemes.pop(entry.tunnel, None)
            self._agent.remove(entry.tunnel.name)
        else:
            del self._schemes[entry.tunnel][entry.name]
