"""Clients that are signed in to a relay's dashboard: an httpx client, or a page of a real browser.

With a `World`: `async with signed_in(w) as admin: page = await admin.get("/edges")`. Without a relay: `async with
InMemory().signed_in() as admin: ...`.
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from playwright.async_api import BrowserContext, Page

from tests.support.managed import ADMIN, Managed
from tests.support.visitor import NO_TLS
from tests.support.world import World
from tunnelctl.http1.head import parse_request
from tunnelrelay.dashboard.app import dashboard
from tunnelrelay.dashboard.context import Deps
from tunnelrelay.model import PageRequest, Peer
from tunnelrelay.policy.classify import classify
from tunnelrelay.services.actor import Actor
from tunnelrelay.store.resources import UserRow

_TOKEN = re.compile(r'name="csrf" value="([0-9a-f]+)"')


class DashboardClient:
    """An httpx client of the dashboard that keeps cookies and sends the header fields of a browser.

    Args:
        world: The world with the relay; None when `http` and `origin` are given.

    Attributes:
        http: The httpx client, which adds no fields but Host, for requests that browsers would not send.
    """

    def __init__(self, world: World | None = None, *, http: httpx.AsyncClient | None = None, origin: str = "") -> None:
        if world is not None:
            address = world.relay.address
            origin = address.url(address.dashboard_host)
            host = origin.partition("://")[2]
            http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{world.port}", headers={"Host": host}, verify=NO_TLS)
        assert http is not None
        self.http = http
        self.origin = origin

    async def get(self, path: str, **headers: str) -> httpx.Response:
        """Open a page, as a click on a link of the dashboard would."""
        said = {
            "Accept": "text/html",
            "Sec-Fetch-Site": "same-origin",
            "Sec-Fetch-Mode": "navigate",
            "Sec-Fetch-Dest": "document",
        }
        return await self.http.get(path, headers=said | headers)

    async def post(self, path: str, data: dict[str, Any] | None = None, *, token: str | None = None) -> httpx.Response:
        """Send a form, as a page of the dashboard would.

        Args:
            token: The CSRF token; None for the one in this session's forms.
        """
        said = {"Accept": "text/html", "Origin": self.origin, "Sec-Fetch-Site": "same-origin"}
        said |= {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
        shown = await self.token() if token is None else token
        return await self.http.post(path, headers=said, data={"csrf": shown, **(data or {})})

    async def token(self) -> str:
        """Return the CSRF token in this session's pages; "" while the client is not signed in."""
        found = _TOKEN.search((await self.get("/edges")).text)
        return found[1] if found else ""

    async def sign_in(self, secret: str) -> httpx.Response:
        """Sign in with a one-time code or an API key, by the form of the sign-in page."""
        return await self.post("/sign-in", {"secret": secret}, token="")


async def code_of(w: World, user: UserRow | None = None) -> str:
    """Return a one-time code for a user. None is the first administrator, who owns tunnels of agents without tokens."""
    sign_ins = w.relay.parts.services.sign_ins
    code = await (sign_ins.first_run("local") if user is None else sign_ins.invite(None, user.id))
    assert code is not None, "there is an administrator already"
    return code


async def member(w: World, name: str, owner: str) -> UserRow:
    """Create a member of an owner. The relay must have an administrator already."""
    services = w.relay.parts.services
    admin = (await w.relay.store.users.all(role="admin"))[0]
    return await services.users.create(actor_for(admin), name, owner=owner)


def actor_for(user: UserRow) -> Actor:
    """Return the `Actor` with which services act for a user."""
    return Actor(user_id=user.id, name=user.name, owner=user.owner, is_admin=user.role == "admin", via="dashboard")


@asynccontextmanager
async def signed_in(w: World, user: UserRow | None = None) -> AsyncIterator[DashboardClient]:
    """Context manager: a client that is signed in as a user, or as the first administrator."""
    client = DashboardClient(w)
    async with client.http:
        answer = await client.sign_in(await code_of(w, user))
        assert answer.status_code == 303, answer.text
        yield client


async def browse_signed_in(w: World, context: BrowserContext, user: UserRow | None = None, path: str = "/") -> Page:
    """Open a page of the dashboard in a real browser, signed in as a user, or as the first administrator."""
    async with signed_in(w, user) as client:
        for cookie in client.http.cookies.jar:
            await context.add_cookies([{"name": cookie.name, "value": cookie.value or "", "url": client.origin}])
    page = await context.new_page()
    await page.goto(client.origin + path)
    return page


class InMemory:
    """The dashboard on services in memory, at `https://dashboard.tun.example`, without a relay or network.

    Attributes:
        app: The dashboard's ASGI app.
    """

    def __init__(self, managed: Managed | None = None) -> None:
        self.managed = managed or Managed()
        address = self.managed.base.address
        self.origin = address.url(address.dashboard_host)
        self.deps = Deps(
            address=address,
            services=self.managed.services,
            key=b"k" * 32,
            clock=self.managed.clock,
            provider="Acme",
            issuer="https://login.acme.example",
        )
        self.app = dashboard(self.deps)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Call the dashboard's app with the `PageRequest` that the ingress would have added to the scope."""
        lines = b"".join(b"%b: %b\r\n" % field for field in scope["headers"])
        path = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        head = parse_request(b"%b %b HTTP/1.1\r\n%b\r\n" % (scope["method"].encode(), path, lines))
        host = self.managed.base.address.dashboard_host
        peer = Peer("203.0.113.9", 50_000)
        kind = classify(head)
        asked = PageRequest(host=host, kind="dashboard", request_kind=kind, peer=peer, is_secure=True, request_id="r-1")
        await self.app({**scope, "tunnel": asked}, receive, send)

    @asynccontextmanager
    async def stranger(self) -> AsyncIterator[DashboardClient]:
        """Context manager: a client that is not signed in."""
        transport = httpx.ASGITransport(app=self, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=self.origin) as http:
            yield DashboardClient(http=http, origin=self.origin)

    @asynccontextmanager
    async def signed_in(self, user: UserRow | None = None) -> AsyncIterator[DashboardClient]:
        """Context manager: a client that is signed in as a user, or as the first administrator."""
        sign_ins = self.managed.services.sign_ins
        code = await (sign_ins.first_run("default") if user is None else sign_ins.invite(None, user.id))
        async with self.stranger() as client:
            answer = await client.sign_in(code or "")
            assert answer.status_code == 303, answer.text
            yield client

    async def user(self, name: str, owner: str, role: str = "member") -> UserRow:
        """Create a user with this name, owner and role."""
        return await self.managed.services.users.create(ADMIN, name, owner=owner, role=role)
