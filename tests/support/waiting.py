"""The limit of time for all waits of tests.

It is so long that a busy machine never reaches it: only a wait that would hang ends there, with a failure that shows
where. No test passes because time has passed.
"""

import asyncio
from collections.abc import Callable

PATIENCE = 300.0
"""Seconds for one wait. pytest ends a whole test after 1200 (`--timeout` in pyproject.toml)."""


async def turns(holds: Callable[[], object]) -> None:
    """Let the event loop run until `holds()` is true, for changes in this process that nothing signals."""
    async with asyncio.timeout(PATIENCE):
        while not holds():  # noqa: ASYNC110  # see above
            await asyncio.sleep(0)
