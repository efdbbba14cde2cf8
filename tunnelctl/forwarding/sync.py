"""The endpoint for code without an event loop: the same on a thread that has a loop of its own."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from tunnelctl.forwarding.endpoint import AsyncEndpoint
from tunnelctl.forwarding.errors import TunnelError
from tunnelctl.secret import Secret

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")


class SyncEndpoint:
    """A local app at its public address; see `AsyncEndpoint`, whose attributes it has."""

    def __init__(self, endpoint: AsyncEndpoint, loop: asyncio.AbstractEventLoop) -> None:
        self.url = endpoint.url
        self.host = endpoint.host
        self.local_url = endpoint.local_url
        self.token: Secret = endpoint.token
        self.redirect_uri = endpoint.redirect_uri
        self.let_in = endpoint.let_in
        self._endpoint = endpoint
        self._loop = loop

    @property
    def hits(self) -> int:
        """Number of requests that the app has answered; the probes of this package are not counted."""
        return self._endpoint.hits

    @property
    def error(self) -> TunnelError | None:
        """The error with which the endpoint has ended by itself; None while it is served."""
        closed = self._endpoint.closed
        return closed.result() if closed.done() else None

    def headers(self) -> dict[str, str]:
        """Return the header with the run's token, for requests to `url` only."""
        return self._endpoint.headers()

    def client(self, **options: Any) -> "httpx.Client":
        """Return a client as `AsyncEndpoint.client` does, for code without an event loop.

        Args:
            options: Further arguments of `httpx.Client`.
        """
        from tunnelctl.forwarding.client import sync_client

        return sync_client(self.url, self.local_url, options)

    def wait_hits(self, number: int, timeout: float) -> None:
        """Wait until the app has answered this many requests.

        Args:
            timeout: Maximum seconds.

        Raises:
            NoHits: It has not in time.
        """
        asyncio.run_coroutine_threadsafe(self._endpoint.wait_hits(number, timeout), self._loop).result()


@contextmanager
def on_a_thread(make: Callable[[], AbstractAsyncContextManager[AsyncEndpoint]]) -> Iterator[SyncEndpoint]:
    """Serve an endpoint on a thread of its own while the block runs.

    Args:
        make: Returns the context manager of the endpoint; called on the thread.

    Raises:
        TunnelError: As `open_endpoint`.
    """
    entered: Future[SyncEndpoint] = Future()
    leave: Future[bool] = Future()
    left: Future[None] = Future()

    async def serve() -> None:
        try:
            async with make() as endpoint:
                entered.set_result(SyncEndpoint(endpoint, asyncio.get_running_loop()))
                if await asyncio.wrap_future(leave):
                    raise _BlockFailed
        except _BlockFailed:
            pass

    thread = threading.Thread(target=_run, args=(serve(), entered, left), name="tunnelctl", daemon=True)
    thread.start()
    try:
        yield entered.result()
    except BaseException:
        leave.set_result(True)
        thread.join()
        raise
    leave.set_result(False)
    thread.join()
    left.result()


class _BlockFailed(Exception):
    """The block raised an exception, which is raised on its own thread."""


def _run(serving: Coroutine[Any, Any, None], entered: Future[SyncEndpoint], left: Future[None]) -> None:
    """Run the endpoint's coroutine, and pass its exception to the thread of the block."""
    try:
        asyncio.run(serving)
    except BaseException as error:
        (left if entered.done() else entered).set_exception(error)
    else:
        left.set_result(None)
