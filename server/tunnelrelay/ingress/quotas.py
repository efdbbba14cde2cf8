"""Counts connections and open requests by address.

A request costs one dict look-up when it begins and one when it ends; visitors on this machine are not counted.
"""

from tunnelrelay.policy.limits import fair_share, give_back


class VisitorQuotas:
    """The counts, by address. An empty address is not counted.

    Args:
        requests: How many requests one address may have open at one endpoint.
    """

    def __init__(self, requests: int) -> None:
        self._requests = requests
        self._connections: dict[str, int] = {}

    def admits(self, address: str, open_now: int, most: int) -> bool:
        """Whether an address may have one more connection.

        Args:
            open_now: Connections that are open, of all addresses.
            most: How many there may be.
        """
        return not address or fair_share(self._connections.get(address, 0), open_now, most)

    def enter(self, address: str) -> None:
        """Count a new connection."""
        if address:
            self._connections[address] = self._connections.get(address, 0) + 1

    def leave(self, address: str) -> None:
        """Count a closed connection."""
        if address:
            give_back(self._connections, address)

    def connections(self, address: str) -> int:
        """How many connections an address has."""
        return self._connections.get(address, 0)

    def take(self, held: dict[str, int], address: str) -> bool:
        """Count an open request in its endpoint's `held`. False when that is one too many; then it is not counted."""
        count = held.get(address, 0)
        if count >= self._requests:
            return False
        held[address] = count + 1
        return True
