"""Wait for the requests that a file server of an agent still works on: they close files when the visitor has all."""

import asyncio


async def requests_ended() -> None:
    """Return once no request of an ASGI app runs in this loop."""
    while running := [task for task in asyncio.all_tasks() if "run_asgi" in repr(task.get_coro())]:
        await asyncio.wait(running)
