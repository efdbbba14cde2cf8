"""Somebody who is signed in to a relay's dashboard: as an httpx client, or in a real browser.

`async with signed_in(w) as admin: page = await admin.get("/edges")`
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from playwright.async_api import BrowserContext, Page

from tests.support.world import World
from tunnelrelay.manage.actor import Actor
from tunnelrelay.store.resources import UserRow

_TOKEN = re.compile(r'name="csrf" value="([0-9a-f]+)"')


class DashboardClient:
    """A browser without a screen: keeps the cookie, and says what browsers say.

    Attributes:
        http: Sends nothing of its own but the Host; for what browsers would not do.
    """

    def __init__(self, w: World) -> None:
        address = w.relay.address
        self.origin = address.url(address.dashboard_host)
        host = self.origin.partition("://")[2]
        self.http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{w.port}", headers={"Host": host})

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
    """A page of a browser that has come by a sign-in link."""
    page = await context.new_page()
    address = w.relay.address
    origin = address.url(address.dashboard_host)
    await page.goto(f"{origin}/sign-in#code={await code_of(w, user)}")
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_role("navigation", name="Main").first.wait_for(state="attached")
    await page.goto(origin + path)
    return page
