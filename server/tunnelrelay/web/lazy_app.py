"""An app that is made when it is first asked for: importing a large one would make every start of a relay slower."""

import asyncio
import gc
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send


class LazyApp:
    """The ASGI app that `make` returns. It is made once, in a thread: tunnels go on meanwhile.

    Args:
        make: Imports and builds the app; called again by the next request if it fails.
    """

    def __init__(self, make: Callable[[], ASGIApp]) -> None:
        self._make = make
        self._app: ASGIApp | None = None
        self._turn = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if self._app is None:
            async with self._turn:
                if self._app is None:
                    self._app = await asyncio.to_thread(self._make)
                    gc.freeze()  # as in `process.py`: it lives as long as the relay, and is never walked again
        await self._app(scope, receive, send)
