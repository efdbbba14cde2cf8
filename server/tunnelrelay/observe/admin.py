"""The operator's endpoints `/metrics`, `/healthz` and `/readyz`, on an address of their own, never the public one.

Healthy: the event loop runs. Ready: the store answers, the public side listens, and no drain has begun.
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from tunnelrelay.observe.exposition import render
from tunnelrelay.observe.metrics import Metrics

CHECK_SECONDS = 2.0
"""How long a readiness check may take; load balancers give up after a few seconds themselves."""
STOP_SECONDS = 1.0
"""How long a stopping relay waits for a scrape that is under way."""

Check = Callable[[], Awaitable[object] | bool]
"""Ready when it returns anything but False and does not raise."""


def admin_app(metrics: Metrics, checks: Mapping[str, Check]) -> Starlette:
    """The ASGI application.

    Args:
        checks: The checks of readiness, by name; the answer shows each name with `ok` or `failed`, never the reason.
    """

    async def show_metrics(_: Request) -> Response:
        return Response(render(metrics), headers={"content-type": CONTENT_TYPE_LATEST})

    async def show_health(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def show_readiness(_: Request) -> Response:
        results = await asyncio.gather(*map(_passes, checks.values()))
        shown = {name: "ok" if passed else "failed" for name, passed in zip(checks, results, strict=True)}
        return JSONResponse({"ready": all(results), "checks": shown}, status_code=200 if all(results) else 503)

    pages = {"/metrics": show_metrics, "/healthz": show_health, "/readyz": show_readiness}
    return Starlette(routes=[Route(path, page, methods=["GET"]) for path, page in pages.items()])


class Admin:
    """Serves `admin_app` on the running loop, with one task that `stop` ends."""

    def __init__(self, host: str, port: int, *, metrics: Metrics, checks: Mapping[str, Check]) -> None:
        self._address = (host, port)
        self._server = _Server(
            uvicorn.Config(
                admin_app(metrics, checks),
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                ws="none",
                http="httptools",
                timeout_graceful_shutdown=int(STOP_SECONDS),
            )
        )
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> tuple[str, int]:
        """Listen. Returns the actual address. Raises OSError when it is not available."""
        listener = _listen(*self._address)
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]), name="admin")
        host, port = listener.getsockname()[:2]
        return host, port

    async def stop(self) -> None:
        """Stops listening; safe to call when it never started."""
        if self._task is None:
            return
        task, self._task = self._task, None
        self._server.should_exit = True
        try:
            await asyncio.wait_for(task, STOP_SECONDS * 2)
        except TimeoutError:  # `wait_for` has cancelled it
            return


class _Server(uvicorn.Server):
    """uvicorn inside a process that handles its own signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _listen(host: str, port: int) -> socket.socket:
    """A bound socket. Bound here, so that a busy port raises OSError instead of ending the process in uvicorn."""
    if not host:
        return socket.create_server(("", port), backlog=64, family=socket.AF_INET6, dualstack_ipv6=True)
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    return socket.create_server((host, port), backlog=64, family=family)


async def _passes(check: Check) -> bool:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            result = check()
            return (result if isinstance(result, bool) else await result) is not False
    except Exception:  # whatever is wrong with it, it is not ready
        return False
