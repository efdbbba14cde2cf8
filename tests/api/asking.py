"""A program that asks the API in-process: what the ingress would have found out stands in the scope."""

from collections.abc import Mapping
from typing import Any

import httpx
from starlette.types import ASGIApp, Receive, Scope, Send

from tunnelrelay.address import PublicAddress
from tunnelrelay.model import PageRequest, Peer, RequestKind

ADDRESS = PublicAddress(scheme="https", domain="tun.example", port=443)
LOCAL = PublicAddress(scheme="http", domain="localhost", port=8080)
REQUEST_ID = "req-0123456789abcdef"


def through_ingress(app: ASGIApp, address: PublicAddress = ADDRESS, peer: str = "203.0.113.9") -> ASGIApp:
    """The app as the ingress calls it."""

    async def called(scope: Scope, receive: Receive, send: Send) -> None:
        page_request = PageRequest(
            host=address.api_host,
            kind="api",
            request_kind=RequestKind.OTHER,
            peer=Peer(peer, 40000),
            is_secure=address.is_secure,
            request_id=REQUEST_ID,
        )
        await app({**scope, "tunnel": page_request}, receive, send)

    return called


class Program:
    """Somebody with a key.

    Args:
        key: Sent as a bearer; "" for nobody's.
    """

    def __init__(
        self, app: ASGIApp, key: str = "", peer: str = "203.0.113.9", address: PublicAddress = ADDRESS
    ) -> None:
        transport = httpx.ASGITransport(through_ingress(app, address, peer))
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.client = httpx.AsyncClient(transport=transport, base_url=address.url(address.api_host), headers=headers)

    async def ask(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None, **kwargs: Any
    ) -> httpx.Response:
        """One request; `body` goes as JSON."""
        more = {} if body is None else {"json": body}
        return await self.client.request(method, path, headers=dict(headers or {}), **more, **kwargs)
