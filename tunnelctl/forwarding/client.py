"""HTTP clients for an endpoint: httpx clients whose requests to the endpoint go through the run's local address."""

from typing import Any

import httpx


def async_client(url: str, local_url: str, options: dict[str, Any]) -> httpx.AsyncClient:
    """Return a client with this base URL, whose requests to it go to `local_url`."""
    mounts = {url: _AsyncTransport(httpx.URL(local_url)), **options.pop("mounts", {})}
    return httpx.AsyncClient(base_url=url, mounts=mounts, **options)


def sync_client(url: str, local_url: str, options: dict[str, Any]) -> httpx.Client:
    """Return a client with this base URL, whose requests to it go to `local_url`."""
    mounts = {url: _Transport(httpx.URL(local_url)), **options.pop("mounts", {})}
    return httpx.Client(base_url=url, mounts=mounts, **options)


class _AsyncTransport(httpx.AsyncHTTPTransport):
    def __init__(self, local: httpx.URL) -> None:
        super().__init__(trust_env=False)
        self._local = local

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await super().handle_async_request(_sent_to(self._local, request))


class _Transport(httpx.HTTPTransport):
    def __init__(self, local: httpx.URL) -> None:
        super().__init__(trust_env=False)
        self._local = local

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return super().handle_request(_sent_to(self._local, request))


def _sent_to(local: httpx.URL, request: httpx.Request) -> httpx.Request:
    """Return the request with another address; its `Host` stays the endpoint's."""
    url = request.url.copy_with(scheme=local.scheme, host=local.host, port=local.port)
    return httpx.Request(
        request.method, url, headers=request.headers, stream=request.stream, extensions=request.extensions
    )
