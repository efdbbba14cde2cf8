"""Routes the agent's calls with httpx through the same proxies as its link (`link.proxy`)."""

import os
import ssl

import httpx

from tunnelctl.link.proxy import Proxy, ProxyInvalid, choose_proxy


def for_httpx(proxy: Proxy | None) -> httpx.Proxy | None:
    """Return the proxy in httpx's form."""
    if proxy is None:
        return None
    user, _, password = proxy.credentials.partition(":")
    context = ssl.create_default_context() if proxy.scheme == "https" else None
    return httpx.Proxy(proxy.url, auth=(user, password) if proxy.credentials else None, ssl_context=context)


class ByEnvironment(httpx.AsyncBaseTransport):
    """Makes each call directly or through the proxy that the environment names for its URL.

    Args:
        verify: TLS context for the calls.
    """

    def __init__(self, verify: ssl.SSLContext) -> None:
        self._verify = verify
        self._ways: dict[Proxy | None, httpx.AsyncHTTPTransport] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request directly or through the proxy for its URL. An error of a proxy names the proxy."""
        try:
            proxy = choose_proxy(str(request.url), os.environ)
        except ProxyInvalid as error:
            raise httpx.ProxyError(str(error), request=request) from error
        way = self._ways.get(proxy)
        if way is None:
            way = httpx.AsyncHTTPTransport(verify=self._verify, trust_env=False, proxy=for_httpx(proxy))
            self._ways[proxy] = way
        try:
            return await way.handle_async_request(request)
        except (httpx.ProxyError, httpx.ConnectError) as error:
            if proxy is None:
                raise
            raise httpx.ProxyError(f"through the proxy {proxy.url}: {error}", request=request) from error

    async def aclose(self) -> None:
        """Close all connections."""
        for way in self._ways.values():
            await way.aclose()
