"""Which of several tunnels gets a request: the healthy one with the fewest open requests for its weight.

Plain functions over tunnels; who calls them is `Endpoint`. A single tunnel never comes here (`Endpoint.only`).
"""

from collections.abc import Collection, Iterable, Sequence

from tunnelrelay.registry.tunnel import Tunnel


def in_service(tunnels: Iterable[Tunnel], tried: Collection[Tunnel] = ()) -> list[Tunnel]:
    """Tunnels that may be given a request: the healthy ones, or all when none is healthy.

    A tunnel whose upstream was away a moment ago may be back, and if not its error is the true answer: better than
    turning visitors away unasked.

    Args:
        tried: Those that have failed this request already.
    """
    running = [tunnel for tunnel in tunnels if not tunnel.is_draining and tunnel not in tried]
    return [tunnel for tunnel in running if tunnel.health.is_good] or running


def choose(tunnels: Iterable[Tunnel], tried: Collection[Tunnel] = ()) -> Tunnel | None:
    """The tunnel for one more request; None when none takes any now."""
    ready = [tunnel for tunnel in in_service(tunnels, tried) if tunnel.link.can_open]
    if len(ready) < 2:
        return ready[0] if ready else None
    return _in_turn(_idlest(ready))


def stuck_to(tunnels: Iterable[Tunnel], mark: bytes, tried: Collection[Tunnel] = ()) -> Tunnel | None:
    """The tunnel that a cookie names, if it can take the request: never a reason to wait, nor to let anybody in."""
    for tunnel in in_service(tunnels, tried):
        if tunnel.mark == mark and tunnel.link.can_open:
            return tunnel
    return None


def _idlest(tunnels: Sequence[Tunnel]) -> list[Tunnel]:
    """Those with the least open requests for their weight: products compared, so that no rounding decides."""
    least = tunnels[0]
    for tunnel in tunnels:
        if tunnel.open * least.weight < least.open * tunnel.weight:
            least = tunnel
    return [tunnel for tunnel in tunnels if tunnel.open * least.weight == least.open * tunnel.weight]


def _in_turn(equals: Sequence[Tunnel]) -> Tunnel:
    """Equals take turns by weight, evenly mixed (nginx's smooth weighted round robin): 3 to 1 gives A A B A."""
    for tunnel in equals:
        tunnel.credit += tunnel.weight
    chosen = max(equals, key=lambda tunnel: tunnel.credit)
    chosen.credit -= sum(tunnel.weight for tunnel in equals)
    return chosen
