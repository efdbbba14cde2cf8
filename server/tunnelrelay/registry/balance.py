"""Chooses among several tunnels: the healthy one with the fewest open requests for its weight.

Plain functions over tunnels; who calls them is `Endpoint`. A single tunnel never comes here (`Endpoint.only`).
"""

from collections.abc import Collection, Iterable, Sequence

from tunnelrelay.registry.tunnel import Tunnel


def in_service(tunnels: Iterable[Tunnel], tried: Collection[Tunnel] = ()) -> list[Tunnel]:
    """Tunnels that may be given a request: the healthy ones, or all when none is healthy.

    When none is healthy, an upstream that was away a moment ago may be back; if not, its error is the right answer.

    Args:
        tried: Those that have failed this request already.
    """
    running = [tunnel for tunnel in tunnels if not tunnel.is_draining and tunnel not in tried]
    return [tunnel for tunnel in running if tunnel.health.is_good] or running


def choose(tunnels: Iterable[Tunnel], tried: Collection[Tunnel] = ()) -> Tunnel | None:
    """The tunnel for one more request; None when none takes any now.

    Once over all of `in_service` that take one more, as every request at a shared address comes by here. Loads are
    compared by products, so that no rounding decides.
    """
    best: list[Tunnel] = []
    is_any_well = False
    for tunnel in tunnels:
        if tunnel.is_draining or (tried and tunnel in tried):
            continue
        is_well = tunnel.health.is_good
        if is_well and not is_any_well:
            is_any_well, best = True, []  # the others do not count any more
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
    """The tunnel that a visitor's cookie names, if it can take the request now; else None."""
    for tunnel in in_service(tunnels, tried):
        if tunnel.mark == mark and tunnel.link.can_open:
            return tunnel
    return None


def _in_turn(equals: Sequence[Tunnel]) -> Tunnel:
    """Choose among equally loaded tunnels by smooth weighted round robin (as nginx): 3 to 1 gives A A B A."""
    chosen, total = equals[0], 0
    for tunnel in equals:
        tunnel.credit += tunnel.weight
        total += tunnel.weight
        if tunnel.credit > chosen.credit:
            chosen = tunnel
    chosen.credit -= total
    return chosen
