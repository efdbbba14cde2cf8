"""An ASGI app that is imported at its first request, so that a large app does not delay the relay's start."""

import asyncio
import gc
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send


class LazyApp:
    """The ASGI app that `make` returns.

    The first request creates it in a thread, so that the event loop is not blocked.

    Args:
        make: Function that imports and builds the app; if it raises, the next request calls it again.
    """

    def __init__(self, make: Callable[[], ASGIApp]) -> None:
        self._make = make
        self._app: ASGIApp | None = None
        self._turn = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request to the app, and create the app for the first request."""
        if self._app is None:
            async with self._turn:
                if self._app is None:
                    self._app = await asyncio.to_thread(self._make)
                    gc.freeze()  # the app lives as long as the relay: the garbage collector can skip it
        await self._app(scope, receive, send)
