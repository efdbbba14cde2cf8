"""What tests of re-checks begin with."""

from typing import Any

from tests.oidc.world import APP, Browser, World, connection, signed_in
from tunnelrelay.policy.rules import Rules

RECHECK = 900
OPS = Rules(groups=frozenset({"ops"}))


def refreshing(**changes: Any) -> World:
    """A world whose provider gives refresh tokens, and whose owner wants everybody asked about every 15 minutes."""
    world = World(endpoints={APP: connection(recheck_seconds=RECHECK, **changes)})
    world.provider.gives_refresh = True
    return world


async def due(world: World, late: float = 0.0) -> Browser:
    """A browser whose session is due for a re-check, or this late."""
    browser = await signed_in(world)
    world.clock.now += RECHECK + late
    return browser
