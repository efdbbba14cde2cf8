"""A set of IP networks with fast look-ups: one binary search, however many networks there are."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

Network = IPv4Network | IPv6Network


class Networks:
    """A list of IP networks with a fast test of whether an address is in one of them.

    Overlapping and adjacent networks are merged to ranges for the search. A set of 1,000 networks takes about 100 kB:
    the original list is kept as text, as 1,000 `ipaddress` objects would take 700 kB.
    """

    __slots__ = ("_count", "_listed", "_v4", "_v6")

    def __init__(self, listed: Iterable[Network] = ()) -> None:
        networks = tuple(listed)
        self._count = len(networks)
        self._listed = " ".join(map(str, networks))
        self._v4 = _ranges(each for each in networks if each.version == 4)
        self._v6 = _ranges(each for each in networks if each.version == 6)

    def __contains__(self, address: IPv4Address | IPv6Address) -> bool:
        starts, ends = self._v4 if address.version == 4 else self._v6
        number = int(address)
        place = bisect_right(starts, number) - 1
        return place >= 0 and number <= ends[place]

    def __iter__(self) -> Iterator[Network]:
        return map(ip_network, self._listed.split())

    def __len__(self) -> int:
        return self._count

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Networks) and self._listed == other._listed

    def __hash__(self) -> int:
        return hash(self._listed)

    def __repr__(self) -> str:
        return f"Networks({self._listed.split()})"


def _ranges(networks: Iterable[Network]) -> tuple[list[int], list[int]]:
    """Return the first and last addresses, as ascending numbers, of the smallest set of ranges that covers the
    networks.
    """
    starts: list[int] = []
    ends: list[int] = []
    for first, last in sorted((int(each.network_address), int(each.broadcast_address)) for each in networks):
        if ends and first <= ends[-1] + 1:
            ends[-1] = max(ends[-1], last)
        else:
            starts.append(first)
            ends.append(last)
    return starts, ends
