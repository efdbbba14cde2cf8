"""Somebody who is signed in to a relay's dashboard: as an httpx client, or in a real browser.

`async with signed_in(w) as admin: page = await admin.get("/edges")` with a `World`; without a relay `async with
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
    """A browser without a screen: keeps the cookie, and says what browsers say.

    Args:
        world: A relay; or give `http` and `origin`.

    Attributes:
        http: Sends nothing of its own but the Host; for what browsers would not do.
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
        """Opens a page, as by a click on a page of the dashboard."""
        said = {
            "Accept": "text/html",
            "Sec-Fetch-Site": "same-origin",
            "Sec-Fetch-Mode": "navigate",
            "Sec-Fetch-Dest": "document",
        }
        return await self.http.get(path, headers=said | headers)

    async def post(self, path: str, data: dict[str, Any] | None = None, *, token: str | None = None) -> httpx.Response:
        """Sends a form of the dashboard.

        Args:
            token: None for that of the session's forms.
        """
        said = {"Accept": "text/html", "Origin": self.origin, "Sec-Fetch-Site": "same-origin"}
        said |= {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
        shown = await self.token() if token is None else token
        return await self.http.post(path, headers=said, data={"csrf": shown, **(data or {})})

    async def token(self) -> str:
        """The CSRF token that this session's pages hold; "" while nobody is signed in."""
        found = _TOKEN.search((await self.get("/edges")).text)
        return found[1] if found else ""

    async def sign_in(self, secret: str) -> httpx.Response:
        """Shows a code or an API key to the sign-in page."""
        return await self.post("/sign-in", {"secret": secret}, token="")


async def code_of(w: World, user: UserRow | None = None) -> str:
    """A one-time code: of the first administrator, who owns what agents without a token serve, or of somebody."""
    sign_ins = w.relay.parts.services.sign_ins
    code = await (sign_ins.first_run("local") if user is None else sign_ins.invite(None, user.id))
    assert code is not None, "there is an administrator already"
    return code


async def member(w: World, name: str, owner: str) -> UserRow:
    """A member who owns what `owner` owns. There must be an administrator."""
    services = w.relay.parts.services
    admin = (await w.relay.store.users.all(role="admin"))[0]
    return await services.users.create(actor_for(admin), name, owner=owner)


def actor_for(user: UserRow) -> Actor:
    """The actor that a user is."""
    return Actor(user_id=user.id, name=user.name, owner=user.owner, is_admin=user.role == "admin", via="dashboard")


@asynccontextmanager
async def signed_in(w: World, user: UserRow | None = None) -> AsyncIterator[DashboardClient]:
    """A client that is signed in: as the first administrator, or as this user."""
    client = DashboardClient(w)
    async with client.http:
        answer = await client.sign_in(await code_of(w, user))
        assert answer.status_code == 303, answer.text
        yield client


async def browse_signed_in(w: World, context: BrowserContext, user: UserRow | None = None, path: str = "/") -> Page:
    """A page of a browser that has the cookie of somebody who signed in."""
    async with signed_in(w, user) as client:
        for cookie in client.http.cookies.jar:
            await context.add_cookies([{"name": cookie.name, "value": cookie.value or "", "url": client.origin}])
    page = await context.new_page()
    await page.goto(client.origin + path)
    return page


class InMemory:
    """The dashboard over services in memory, at `https://dashboard.tun.example`: no relay, no network.

    Attributes:
        app: What stands behind the ingress.
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
        """The app, told what the ingress would have found out."""
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
        """Somebody who is not signed in."""
        transport = httpx.ASGITransport(app=self, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=self.origin) as http:
            yield DashboardClient(http=http, origin=self.origin)

    @asynccontextmanager
    async def signed_in(self, user: UserRow | None = None) -> AsyncIterator[DashboardClient]:
        """The first administrator, or this user."""
        sign_ins = self.managed.services.sign_ins
        code = await (sign_ins.first_run("default") if user is None else sign_ins.invite(None, user.id))
        async with self.stranger() as client:
            answer = await client.sign_in(code or "")
            assert answer.status_code == 303, answer.text
            yield client

    async def user(self, name: str, owner: str, role: str = "member") -> UserRow:
        """A new user."""
        return await self.managed.services.users.create(ADMIN, name, owner=owner, role=role)
