"""Requests to the relay's own web app, as the ingress hands them on."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
from starlette.types import Receive

from tests.oidc.world import APP, PEER, World
from tests.policy.making import head
from tunnelrelay.model import PageRequest
from tunnelrelay.oidc.login.callback import Endpoints
from tunnelrelay.policy.classify import classify
from tunnelrelay.web.app import WebApp

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
IDP = "idp.tun.example"
PAGE = [("Accept", "text/html,application/xhtml+xml")]
"""What a browser that knows no Fetch Metadata sends when a person opens a page."""


class Visitor:
    """Requests as the ingress hands them on."""

    def __init__(self, world: World, *, endpoints: Endpoints | None = None, **more: Any) -> None:
        self.app = WebApp(
            address=world.address,
            login=world.login,
            logout=world.logout,
            provider_logout=world.provider_logout,
            endpoints=endpoints or world,
            signer=world.signer,
            **more,
        ).build()

    async def send(
        self,
        method: str,
        target: str,
        *,
        host: str = APP,
        kind: Any = "endpoint",
        headers: Any = (),
        content: Any = None,
        receive: Receive | None = None,
    ) -> httpx.Response:
        """One request.

        Args:
            receive: What comes of its body, instead of `content`.
        """

        async def app(scope: Any, from_client: Any, send: Any) -> None:
            sent = [(name.decode(), value.decode("latin-1")) for name, value in scope["headers"] if name != b"host"]
            visit = classify(head(method, fields=sent))
            inside = PageRequest(host=host, kind=kind, request_kind=visit, peer=PEER, is_secure=True, request_id="r-1")
            await self.app({**scope, "tunnel": inside}, receive or from_client, send)

        transport = httpx.ASGITransport(app)
        # A lying Host, which nothing may look at.
        async with httpx.AsyncClient(transport=transport, base_url="https://liar.example", trust_env=False) as client:
            return await client.request(method, target, headers=headers, content=content)


async def flood() -> AsyncIterator[bytes]:
    while True:
        yield b"a" * 10_000
