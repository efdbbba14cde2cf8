"""How long a test waits for something that must happen.

One bound for every wait, so generous that a busy machine never reaches it: only what would hang ends there, and says
where. A test never passes because a time has passed.
"""

import asyncio
from collections.abc import Callable

PATIENCE = 300.0
"""Seconds for one wait. pytest ends a whole test after 1200 (`--timeout` in pyproject.toml)."""


async def turns(holds: Callable[[], object]) -> None:
    """Let the loop turn until `holds()`, for what happens in this process and wakes nothing that could be awaited."""
    async with asyncio.timeout(PATIENCE):
        while not holds():  # noqa: ASYNC110  # see above
            await asyncio.sleep(0)
