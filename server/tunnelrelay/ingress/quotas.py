"""Counts visitors' connections and open requests by address, for the limits per address.

A request costs one dict look-up when it begins and one when it ends; visitors on this machine are not counted.
"""

from tunnelrelay.policy.limits import fair_share, give_back


class VisitorQuotas:
    """Counts connections by visitors' addresses, and limits open requests. The empty address is not counted.

    Args:
        requests: How many requests one address may have open at one endpoint.
    """

    def __init__(self, requests: int) -> None:
        self._requests = requests
        self._connections: dict[str, int] = {}

    def admits(self, address: str, open_now: int, most: int) -> bool:
        """Whether an address may have one more connection, by its fair share.

        Args:
            open_now: Open connections of all addresses.
            most: The limit of connections of all addresses.
        """
        return not address or fair_share(self._connections.get(address, 0), open_now, most)

    def enter(self, address: str) -> None:
        """Count a new connection of an address."""
        if address:
            self._connections[address] = self._connections.get(address, 0) + 1

    def leave(self, address: str) -> None:
        """Count a connection of an address less, as it is closed."""
        if address:
            give_back(self._connections, address)

    def connections(self, address: str) -> int:
        """Return how many connections an address has open."""
        return self._connections.get(address, 0)

    def take(self, held: dict[str, int], address: str) -> bool:
        """Count an open request of an address at an endpoint. False when it is one too many; then it is not counted.

        Args:
            held: The endpoint's open requests by address.
        """
        count = held.get(address, 0)
        if count >= self._requests:
            return False
        held[address] = count + 1
        return True
