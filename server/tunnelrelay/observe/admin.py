"""Serves the operator's endpoints `/metrics`, `/healthz` and `/readyz`, on a separate address that is not public.

Healthy means that the event loop runs. Ready means that the store responds, the public side listens, and the relay is
not draining.
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
"""Maximum seconds of a readiness check; load balancers themselves give up after a few seconds."""
STOP_SECONDS = 1.0
"""Seconds for which a stopping relay waits for a running scrape of the metrics."""

Check = Callable[[], Awaitable[object] | bool]
"""A readiness check. It passes if it returns anything but False and does not raise."""


def admin_app(metrics: Metrics, checks: Mapping[str, Check]) -> Starlette:
    """Return the ASGI application for the operator's endpoints.

    Args:
        checks: Readiness checks by name. The response lists each name with `ok` or `failed`, never the reason.
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
    """Serves `admin_app` on the running event loop, in one task that `stop` ends."""

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
        """Start to listen and return the actual address. Raises OSError when the address is not available."""
        listener = _listen(*self._address)
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]), name="admin")
        host, port = listener.getsockname()[:2]
        return host, port

    async def stop(self) -> None:
        """Stop listening. May be called even if `start` was not."""
        if self._task is None:
            return
        task, self._task = self._task, None
        self._server.should_exit = True
        try:
            await asyncio.wait_for(task, STOP_SECONDS * 2)
        except TimeoutError:  # `wait_for` has cancelled the task
            return


class _Server(uvicorn.Server):
    """A uvicorn server without signal handlers, as the relay's process has its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _listen(host: str, port: int) -> socket.socket:
    """Return a bound socket. Binding here makes a busy port raise OSError; uvicorn would end the process."""
    if not host:
        return socket.create_server(("", port), backlog=64, family=socket.AF_INET6, dualstack_ipv6=True)
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    return socket.create_server((host, port), backlog=64, family=family)


async def _passes(check: Check) -> bool:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            result = check()
            return (result if isinstance(result, bool) else await result) is not False
    except Exception:  # a check that raises has failed
        return False
