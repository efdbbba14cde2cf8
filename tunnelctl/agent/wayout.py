"""The way out for what the agent calls with httpx: by the proxies that its link takes (`link.proxy`)."""

import os
import ssl

import httpx

from tunnelctl.link.proxy import Proxy, ProxyInvalid, choose_proxy


def for_httpx(proxy: Proxy | None) -> httpx.Proxy | None:
    """The proxy as httpx takes it."""
    if proxy is None:
        return None
    user, _, password = proxy.credentials.partition(":")
    context = ssl.create_default_context() if proxy.scheme == "https" else None
    return httpx.Proxy(proxy.url, auth=(user, password) if proxy.credentials else None, ssl_context=context)


class ByEnvironment(httpx.AsyncBaseTransport):
    """Makes each call directly or through the proxy that the environment names for its address.

    Args:
        verify: For the calls' TLS.
    """

    def __init__(self, verify: ssl.SSLContext) -> None:
        self._verify = verify
        self._ways: dict[Proxy | None, httpx.AsyncHTTPTransport] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request directly or through the proxy for its address. A proxy's failure names the proxy."""
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
        """Close every way."""
        for way in self._ways.values():
            await way.aclose()
