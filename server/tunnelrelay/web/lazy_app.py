"""An ASGI app that is imported at its first request, so that a large one does not slow the relay's start."""

import asyncio
import gc
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send


class LazyApp:
    """The ASGI app that `make` returns. It is made once, in a thread, so that the event loop goes on.

    Args:
        make: Imports and builds the app; if it raises, the next request calls it again.
    """

    def __init__(self, make: Callable[[], ASGIApp]) -> None:
        self._make = make
        self._app: ASGIApp | None = None
        self._turn = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request to the app, which the first request makes."""
        if self._app is None:
            async with self._turn:
                if self._app is None:
                    self._app = await asyncio.to_thread(self._make)
                    gc.freeze()  # the app lives as long as the relay: the collector can skip it
        await self._app(scope, receive, send)
