"""What happens right now, seen in Chromium: pages that change by themselves while visitors, agents and people come and
go. Everything runs in the test's own process but the browser."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.policy.making import oidc
from tests.support.browser import fresh_profile, launched, sign_in
from tests.support.dashboard import browse_signed_in
from tests.support.idp import CLIENT_ID, CLIENT_SECRET, Provider
from tests.support.raw_http import fetch
from tests.support.scripted_agent import Asked, ScriptedAgent
from tests.support.waiting import PATIENCE
from tests.support.world import World, world
from tunnelctl.wire.messages import Bound, PolicySpec
from tunnelrelay.policy import cookies

pytestmark = [pytest.mark.thorough, pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

WIDTHS = (375, 1280)


@dataclass
class Scene:
    """A relay, and an administrator's browser at one of its pages.

    Attributes:
        noise: What the page complained about.
        agents: Those that were started; they end with the scene.
    """

    w: World
    page: Page
    noise: list[str]
    agents: list[ScriptedAgent] = field(default_factory=list)

    async def agent(self, name: str, policy: PolicySpec | None = None) -> ScriptedAgent:
        """An agent that publishes a name and answers whatever it is asked."""
        agent = ScriptedAgent()
        self.agents.append(agent)
        agent.answers = Asked.answer
        await agent.connect(self.w.port)
        bound = await agent.bind(name, policy=policy)
        assert isinstance(bound, Bound), bound
        return agent

    async def visit(self, name: str, path: str = "/", fields: list[tuple[str, str]] | None = None) -> None:
        """Somebody asks for something."""
        await fetch(self.w.port, "GET", path, host=f"{name}.localhost", fields=fields)

    async def signed_in(self, name: str, email: str) -> list[tuple[str, str]]:
        """The fields of somebody who is signed in at an endpoint."""
        connection = self.w.relay.registry.connection_of(f"{name}.localhost")
        assert connection is not None
        claims = {"sub": email, "email": email, "email_verified": True}
        host = f"{name}.localhost"
        sessions = self.w.relay.parts.sessions
        cookie = await sessions.create(host, connection, issuer=connection.issuer, claims=claims)
        return [("Cookie", f"{cookies.SESSION_PLAIN.decode()}={cookie.decode()}")]

    async def open(self, path: str) -> None:
        """Goes to a page, and notes that it must not be loaded again."""
        address = self.w.relay.address
        await self.page.goto(address.url(address.dashboard_host) + path)
        await self.page.evaluate("window.isTheSame = true")

    async def is_the_same(self) -> bool:
        """Whether the page was not loaded again since."""
        return bool(await self.page.evaluate("window.isTheSame === true"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Browser]:
    """In the loop of the module's relay."""
    async with launched() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module")
async def s(tmp_path: Path, chromium: Browser) -> AsyncIterator[Scene]:
    async with world(tmp_path) as w, fresh_profile(chromium) as context:
        page = await browse_signed_in(w, context)
        noise: list[str] = []
        page.on("console", lambda message: noise.append(message.text))
        page.on("pageerror", lambda error: noise.append(str(error)))
        page.on("dialog", lambda dialog: noise.append("a dialog opened"))
        s = Scene(w, page, noise)
        try:
            yield s
        finally:
            for agent in s.agents:
                await agent.close()


async def test_traffic_shows_requests_as_they_come_with_who_by_which_rule_and_which_tunnel(s: Scene) -> None:
    await s.agent("demo", PolicySpec(oidc=oidc(allow_domains=("acme.com",))))
    await s.open("/traffic")
    await expect(s.page.get_by_text("No requests yet")).to_be_visible()
    await s.visit("demo", "/orders?token=s3cr3t", await s.signed_in("demo", "ann@acme.com"))

    row = s.page.get_by_role("row").filter(has_text="/orders")
    await expect(row).to_contain_text("ann@acme.com")
    await expect(row).to_contain_text("domain acme.com")
    await expect(row).to_contain_text("test")
    await s.visit("demo", "/secret")
    refused = s.page.get_by_role("row").filter(has_text="/secret")
    await expect(refused).to_contain_text("401")
    await expect(refused).to_contain_text("not signed in")
    assert "s3cr3t" not in await s.page.content()
    assert await s.is_the_same()
    assert s.noise == []


async def test_a_paused_list_stands_still_and_goes_on_with_what_came(s: Scene) -> None:
    await s.agent("demo")
    await s.visit("demo", "/before")
    await s.open("/traffic")
    await s.page.get_by_role("button", name="Pause").click()
    async with s.page.expect_event("console", lambda message: message.text == "held"):
        await s.page.evaluate(
            "document.addEventListener('htmx:sseBeforeMessage', (e) => e.detail.data.includes('/while') "
            "&& console.log('held'))"
        )
        await s.visit("demo", "/while")
    await expect(s.page.get_by_role("row").filter(has_text="/while")).to_have_count(0)
    await s.page.get_by_role("button", name="Resume").click()
    await expect(s.page.get_by_role("row").filter(has_text="/while")).to_be_visible()
    await expect(s.page.get_by_role("row").filter(has_text="/before")).to_be_visible()


async def test_requests_are_filtered_by_host_and_status_and_stay_so_while_more_come(s: Scene) -> None:
    await s.agent("demo")
    await s.agent("other", PolicySpec(cidr_allow=("10.0.0.0/8",)))
    await s.visit("demo", "/fine")
    await s.visit("other", "/refused")
    await s.open("/traffic")
    await s.page.get_by_label("Status").select_option("4")
    await s.page.wait_for_url("**/traffic?*status=4*")
    await expect(s.page.get_by_role("row").filter(has_text="/refused")).to_be_visible()
    await s.visit("demo", "/fine-too")
    await s.visit("other", "/refused-too")
    await expect(s.page.get_by_role("row").filter(has_text="/refused-too")).to_be_visible()
    await expect(s.page.get_by_role("row").filter(has_text="/fine")).to_have_count(0)


async def test_one_request_is_told_in_full_beside_the_list_and_by_keyboard(s: Scene) -> None:
    await s.agent("demo")
    await s.visit("demo", "/orders")
    await s.open("/traffic")
    link = s.page.get_by_role("link", name="/orders")
    await link.focus()
    await s.page.keyboard.press("Enter")
    drawer = s.page.get_by_role("dialog", name="Request")
    await expect(drawer).to_contain_text("open to everybody")
    await expect(drawer).to_contain_text("127.0.0.1")
    await s.page.keyboard.press("Escape")
    await expect(drawer).to_be_hidden()
    assert await s.is_the_same()
    assert s.noise == []


async def test_hostile_paths_and_names_are_text_also_when_they_come_live(s: Scene) -> None:
    """Row 139."""
    agent = await s.agent("demo")
    (tunnel,) = next(iter(s.w.relay.registry)).tunnels
    tunnel.name = "<script>alert(1)</script>"
    await s.open("/traffic")
    await s.visit("demo", "/<img/src=x/onerror=alert(2)>")
    row = s.page.get_by_role("row").filter(has_text="onerror=alert(2)")
    await expect(row).to_contain_text("<script>alert(1)</script>")
    await row.get_by_role("link").click()
    await expect(s.page.get_by_role("dialog", name="Request")).to_contain_text("<script>alert(1)</script>")
    assert await s.page.locator("main img, main script").count() == 0
    assert s.noise == []
    await agent.close()


async def test_a_login_that_no_rule_admits_is_told_with_who_it_was_and_one_that_is_with_its_rule(
    s: Scene, chromium: Browser, mock_idp: Provider
) -> None:
    login = oidc(
        issuer=mock_idp.issuer, client_id=CLIENT_ID, client_secret=CLIENT_SECRET, allow_emails=("alice@example.com",)
    )
    await s.agent("demo", PolicySpec(oidc=login))
    await s.open("/traffic")
    for who in ("mallory", "alice"):
        async with fresh_profile(chromium) as visitors:
            page = await visitors.new_page()
            await page.goto(f"http://demo.localhost:{s.w.port}/home")
            await sign_in(page, who)
            await page.wait_for_load_state()
    refused = s.page.get_by_role("row").filter(has_text="mallory@elsewhere.test")
    await expect(refused).to_contain_text("no rule names their e-mail address")
    admitted = s.page.get_by_role("row").filter(has_text="/home").filter(has_text="alice@example.com")
    await expect(admitted).to_contain_text("email alice@example.com")
    sent = s.page.get_by_role("row").filter(has_text="sent to sign in")
    await expect(sent).to_have_count(2)


async def test_the_overview_counts_what_comes_online_and_tells_who_was_kept_out(s: Scene) -> None:
    await s.open("/")
    online = s.page.get_by_role("link", name="Tunnels online")
    await expect(online).to_contain_text("0")
    agent = await s.agent("demo", PolicySpec(cidr_allow=("10.0.0.0/8",)))
    await expect(online).to_contain_text("1")
    await s.visit("demo")
    kept_out = s.page.get_by_role("region", name="Kept out")
    await expect(kept_out).to_contain_text("the visitor's network may not come in")
    await expect(s.page.get_by_role("img", name="Requests per second over the last 10 minutes")).to_be_visible()
    await agent.close()
    await expect(online).to_contain_text("0")
    assert await s.is_the_same()
    assert s.noise == []


async def test_pointing_at_a_chart_tells_that_moments_figures(s: Scene) -> None:
    await s.open("/")
    chart = s.page.get_by_role("img", name="Requests per second over the last 10 minutes")
    told = re.compile(r"\d\d:\d\d:\d\d 0\.0 /s")
    async with asyncio.timeout(PATIENCE):
        for number in count():  # a chart that is drawn anew tells nothing until the pointer moves on it
            await chart.locator("svg").hover(position={"x": 20 + number % 9, "y": 20})
            if told.search(await chart.inner_text()):
                break
    await s.page.mouse.move(0, 0)
    await expect(chart).not_to_contain_text(told)
    assert s.noise == []


async def test_an_endpoint_says_at_once_that_its_tunnel_is_gone(s: Scene) -> None:
    agent = await s.agent("demo")
    await s.open("/endpoints")
    row = s.page.get_by_role("row").filter(has_text="demo.localhost")
    await expect(row).to_contain_text("1 online")
    await agent.vanish()
    await expect(row).to_contain_text("Offline")
    assert await s.is_the_same()
    await row.get_by_role("link").click()
    await expect(s.page.get_by_text("No tunnel is online")).to_be_visible()


async def test_a_tunnel_is_drained_after_a_question_and_gets_no_more_requests(s: Scene) -> None:
    await s.agent("demo")
    await s.open("/tunnels")
    await s.page.get_by_role("row").filter(has_text="demo.localhost").get_by_role("link", name="test").click()
    await s.page.get_by_role("button", name="Drain").click()
    (tunnel,) = next(iter(s.w.relay.registry)).tunnels
    assert not tunnel.is_draining
    await s.page.get_by_role("dialog", name="Drain this tunnel?").get_by_role("button", name="Drain").click()
    await expect(s.page.get_by_text("takes no new requests")).to_be_visible()
    await expect(s.page.get_by_text("Draining", exact=True)).to_be_visible()
    assert tunnel.is_draining


async def test_an_agent_is_stopped_after_a_question_and_its_row_goes_away(s: Scene) -> None:
    agent = await s.agent("demo")
    await s.open("/tunnels")
    agents = s.page.get_by_role("region", name="Agents")
    await agents.get_by_role("link", name="127.0.0.1").click()
    await s.page.get_by_role("button", name="Stop").click()
    await s.page.get_by_role("button", name="Stop the agent").click()
    await expect(s.page.get_by_text("No agent is connected")).to_be_visible()
    await agent.until(lambda: agent.closed)


async def test_every_page_fits_a_phone_and_a_desk(s: Scene) -> None:
    await s.agent("demo", PolicySpec(oidc=oidc(allow_domains=("acme.com",), allow_groups=("admins", "staff"))))
    await s.agent("a-name-as-long-as-people-give-to-their-branches-of-work")
    for number in range(6):
        await s.visit("demo", f"/{'very-long-' * 40}{number}")
    (tunnel, *_) = s.w.relay.registry.tunnels()
    endpoint = s.w.relay.registry.find("demo.localhost")
    assert endpoint is not None
    paths = {
        "overview": "/",
        "traffic": "/traffic",
        "endpoints": "/endpoints",
        "endpoint": f"/endpoints/{endpoint.id}",
        "tunnels": "/tunnels",
        "tunnel": f"/tunnels/{tunnel.id}",
        "agent": f"/tunnels/agents/{tunnel.session}",
    }
    for name, path in paths.items():
        await s.open(path)
        for width in WIDTHS:
            await s.page.set_viewport_size({"width": width, "height": 800})
            beyond = await s.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
            assert beyond <= 0, f"{name} at {width}"
    assert s.noise == []
