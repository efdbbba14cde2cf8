"""Load balancing: chooses the healthy tunnel with the fewest open requests relative to its weight.

Plain functions over tunnels, called by `Endpoint`. An endpoint with a single tunnel does not use them
(`Endpoint.only`).
"""

from collections.abc import Collection, Iterable, Sequence

from tunnelrelay.registry.tunnel import Tunnel


def in_service(tunnels: Iterable[Tunnel], tried: Collection[Tunnel] = ()) -> list[Tunnel]:
    """Return the tunnels that may get a request: the healthy ones, or all when none is healthy.

    If none is healthy, an upstream may have recovered a moment ago; if not, the visitor gets its error.

    Args:
        tried: Tunnels that have already failed to serve this request.
    """
    running = [tunnel for tunnel in tunnels if not tunnel.is_draining and tunnel not in tried]
    return [tunnel for tunnel in running if tunnel.health.is_good] or running


def choose(tunnels: Iterable[Tunnel], tried: Collection[Tunnel] = ()) -> Tunnel | None:
    """Return the tunnel for one more request; None when every tunnel is full.

    Passes only once over the candidates of `in_service`, as every request to a shared host comes here. Loads are
    compared by products, to avoid rounding.
    """
    best: list[Tunnel] = []
    is_any_well = False
    for tunnel in tunnels:
        if tunnel.is_draining or (tried and tunnel in tried):
            continue
        is_well = tunnel.health.is_good
        if is_well and not is_any_well:
            is_any_well, best = True, []  # unhealthy tunnels no longer count
        if is_well is not is_any_well or not tunnel.link.can_open:
            continue
        more = tunnel.open * best[0].weight - best[0].open * tunnel.weight if best else -1
        if more < 0:
            best = [tunnel]
        elif not more:
            best.append(tunnel)
    if len(best) < 2:
        return best[0] if best else None
    return _in_turn(best)


def stuck_to(tunnels: Iterable[Tunnel], mark: bytes, tried: Collection[Tunnel] = ()) -> Tunnel | None:
    """Return the tunnel that a visitor's cookie names, if it can accept the request now; else None."""
    for tunnel in in_service(tunnels, tried):
        if tunnel.mark == mark and tunnel.link.can_open:
            return tunnel
    return None


def _in_turn(equals: Sequence[Tunnel]) -> Tunnel:
    """Choose among equally loaded tunnels by smooth weighted round robin, as nginx does: weights 3 and 1 give A A B
    A.
    """
    chosen, total = equals[0], 0
    for tunnel in equals:
        tunnel.credit += tunnel.weight
        total += tunnel.weight
        if tunnel.credit > chosen.credit:
            chosen = tunnel
    chosen.credit -= total
    return chosen
