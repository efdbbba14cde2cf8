"""The dashboard as people meet it: a phone, a desk, light and dark, the keyboard, no script; and with hostile words."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, expect

from tests.dashboard.test_logins import session
from tests.support.app_routes import sample_app
from tests.support.axe import with_axe
from tests.support.browser import fresh_profile, launched
from tests.support.dashboard import actor_for, browse_signed_in, code_of
from tests.support.every import every
from tests.support.looks import DESK, PHONE, Look, look_at, unreadable
from tests.support.tools import in_ci
from tests.support.world import World, world
from tunnelrelay.services.actor import Actor
from tunnelrelay.services.edges import EdgeDraft
from tunnelrelay.services.provider_settings import ProviderSettings

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

HOSTILE = "\"><script>window.hit = 1</script><img src=x onerror='window.hit = 1'>" + "long-" * 20
MISSING = "{edge}/x"
"""The path of no page."""
PATHS = (
    "/edges",
    "/edges/new",
    "{edge}",
    "{edge}/domain",
    "{edge}/tunnel-group",
    "{edge}/oidc",
    "{edge}/ip-restriction",
    "{edge}/request-headers",
    "{edge}/basic-auth",
    "{edge}/stickiness",
    "/account",
    "/domains",
    "/domains/new",
    "{domain}",
    "/tcp-ports",
    "/tcp-ports/new",
    "/credentials",
    "/credentials/new",
    "{token}",
    "/trust-rules",
    "/trust-rules/new",
    "{rule}",
    "/api-keys",
    "/api-keys/new",
    "{key}",
    "/users",
    "/users/new",
    "{user}",
    "/providers",
    "/providers/new",
    "{provider}",
    "/logins",
    "/logins?host=shop.localhost",
    "/audit",
    MISSING,
)
LIVE = ("/", "/endpoints", "{endpoint}", "/tunnels", "{tunnel}", "{agent}", "/traffic")
"""Pages of what is connected and asked for at this moment."""
FEW = ("/edges", "{edge}", "{edge}/oidc", "{token}", "/audit", "/traffic", "/", "/sign-in")
"""A page of each kind."""
SEEN = (*PATHS, *LIVE, "/sign-in") if in_ci() else FEW
"""The pages that are looked at. All of them take 20 s of CPU."""


class Desk:
    """A signed-in browser before a relay with things to show.

    Attributes:
        edge: The path of an edge with hostile words and two tunnels.
        others: Paths of other things with hostile words, by what they are.
        said: What the browser complained about: errors, and what the policy did not let load.
    """

    def __init__(self, w: World, context: BrowserContext, page: Page, edge: str, others: dict[str, str]) -> None:
        self.w = w
        self.context = context
        self.page = page
        self.edge = edge
        self.others = others
        self.origin = w.relay.address.url(w.relay.address.dashboard_host)
        self.said: list[str] = []
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("console", lambda message: self.said.append(message.text) if message.type == "error" else None)

    async def open(self, path: str, size: tuple[int, int] = DESK, scheme: str = "light") -> Page:
        await self.page.set_viewport_size({"width": size[0], "height": size[1]})
        await self.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        await self.page.goto(self.origin + path.format(edge=self.edge, **self.others))
        return self.page


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Browser]:
    """In the loop of the module's relay."""
    async with launched() as browser:
        yield browser


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desk(tmp_path_factory: pytest.TempPathFactory, chromium: Browser) -> AsyncIterator[Desk]:
    data: Path = tmp_path_factory.mktemp("relay")
    with sample_app() as app:
        async with world(data) as w, fresh_profile(chromium) as context:
            page = await browse_signed_in(w, context, path="/edges")
            services = w.relay.parts.services
            admin = actor_for((await w.relay.store.users.all(role="admin"))[0])
            edge = await services.edges.create(admin, EdgeDraft(host="shop", description=HOSTILE))
            settings = ProviderSettings(issuer="https://login.acme.example", client_id="relay")
            work = await services.providers.create(
                admin, "work", settings, "client-secret-of-work", description=HOSTILE
            )
            await services.edges.create(admin, EdgeDraft(host="docs"))
            for name in ("shop-1", HOSTILE[:60]):
                w.agent(app.port, edge="shop", name=name)
            others = await set_up(w, admin) | {"provider": f"/providers/{work.id}"}
            origin = w.relay.address.url(w.relay.address.dashboard_host)
            await page.goto(f"{origin}/edges/{edge.id}")
            await expect(page.get_by_role("heading", name="You have 2 tunnels online")).to_be_visible()
            tunnel = services.tunnels.tunnels(admin)[0]
            others |= {
                "tunnel": f"/tunnels/{tunnel.id}",
                "agent": f"/tunnels/agents/{tunnel.session_id}",
                "endpoint": f"/endpoints/{tunnel.endpoint_ids[0]}",
            }
            yield Desk(w, context, page, f"/edges/{edge.id}", others)


async def set_up(w: World, admin: Actor) -> dict[str, str]:
    """Something with hostile words in every list. Returns the paths of their pages."""
    services = w.relay.parts.services
    domain = await services.domains.create(admin, "kept", HOSTILE)
    token, _ = await services.credentials.create(admin, description=HOSTILE, acl=[f"bind:x={HOSTILE}", "bind:pr-*"])
    rule = await services.trust_rules.create(
        admin,
        issuer=f"https://ci.{'x' * 60}.example",
        claims={"sub": HOSTILE, "ref": "r" * 200},
        acl=[f"bind:x={HOSTILE}", "bind:pr-*"],
        description=HOSTILE,
    )
    key, _ = await services.api_keys.create(admin, description=HOSTILE, scopes=["edges:write", "audit:read"])
    user = await services.users.create(admin, HOSTILE[:100], owner="o" * 64, email=f"{'x' * 64}@acme.example")
    for who in ("alice", HOSTILE):
        await w.relay.store.save_session(session("shop.localhost", who, now=time.time(), email=""))
    return {
        "domain": f"/domains/{domain.id}",
        "token": f"/credentials/{token.id}",
        "rule": f"/trust-rules/{rule.id}",
        "key": f"/api-keys/{key.id}",
        "user": f"/users/{user.id}",
    }


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a browser has found out about one page, which was loaded once.

    Attributes:
        is_hit: Whether hostile words ran.
        said: What the browser complained about.
    """

    look: Look
    is_hit: bool
    said: list[str]


async def see(desk: Desk, path: str) -> Seen:
    desk.said.clear()
    page = await desk.open(path)
    is_hit, said = await page.evaluate("window.hit !== undefined"), list(desk.said)
    return Seen(look=await look_at(page), is_hit=is_hit, said=said)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def seen(desk: Desk) -> dict[str, Seen]:
    await with_axe(desk.page)
    await desk.page.emulate_media(reduced_motion="reduce")  # or colours would be seen on their way to others
    return {path: await see(desk, path) for path in SEEN}


@every("path", SEEN)
async def test_nothing_sticks_out_and_everything_has_a_name(seen: dict[str, Seen], path):
    assert seen[path].look.broken == {}


@every("path", SEEN)
async def test_every_word_can_be_read(seen: dict[str, Seen], path):
    assert unreadable(seen[path].look) == []


@every("path", SEEN)
async def test_axe_finds_nothing_to_complain_about(seen: dict[str, Seen], path):
    assert seen[path].look.complaints == []


@every("path", [path for path in SEEN if path != MISSING])
async def test_hostile_words_do_not_run_and_nothing_breaks_the_policy(seen: dict[str, Seen], path):
    """Row 139."""
    assert not seen[path].is_hit
    assert seen[path].said == []


async def test_hostile_words_that_come_live_or_stand_in_a_form_do_nothing(desk: Desk):
    """Row 139."""
    desk.said.clear()
    page = await desk.open("{edge}")
    await expect(page.get_by_role("heading", name="You have 2 tunnels online")).to_be_visible()
    await expect(page.locator("#tunnels")).to_contain_text("<script>window.hit")
    await page.get_by_role("link", name="Edit the description").click()
    await expect(page.get_by_label("Description")).to_have_value(HOSTILE)

    assert await page.evaluate("window.hit") is None
    assert desk.said == []


async def test_the_keyboard_finds_the_content_and_the_navigation(desk: Desk):
    page = await desk.open("/edges")

    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.textContent") == "Skip to content"
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.textContent.trim()") == "New edge"
    await page.keyboard.press("g")
    await page.keyboard.press("o")

    await page.wait_for_url(desk.origin + "/")


async def test_a_dialog_asks_waits_for_the_name_and_can_be_left(desk: Desk):
    page = await desk.open("{edge}")

    await page.get_by_role("button", name="Delete edge").first.click()
    dialog = page.get_by_role("dialog")
    await expect(dialog.get_by_role("textbox")).to_be_focused()
    await expect(dialog.get_by_role("button", name="Delete edge")).to_be_disabled()
    await dialog.get_by_role("textbox").fill("shop.localhost")
    await expect(dialog.get_by_role("button", name="Delete edge")).to_be_enabled()
    await page.keyboard.press("Escape")

    await expect(dialog).to_be_hidden()


async def test_what_is_focused_stays_so_when_the_figures_change(desk: Desk):
    page = await desk.open("{edge}")
    button = page.locator("#tunnels button").first
    await button.focus()
    name = await button.get_attribute("id")
    await page.evaluate("""() => { window.swaps = 0
        document.addEventListener('htmx:sseMessage', () => { window.swaps += 1 }) }""")

    await desk.w.relay.parts.services.edges.update(
        actor_for((await desk.w.relay.store.users.all(role="admin"))[0]), desk.edge.rpartition("/")[2], metadata="x"
    )
    agent = desk.w.agent(1, edge="shop", name="third")
    await expect(page.get_by_role("heading", name="You have 3 tunnels online")).to_be_visible()
    await agent.stop()
    await expect(page.get_by_role("heading", name="You have 2 tunnels online")).to_be_visible()

    assert await page.evaluate("document.activeElement.id") == name


async def test_without_a_script_a_phone_has_its_menu_and_forms_work(desk: Desk):
    cookies = await desk.context.cookies()
    assert desk.context.browser is not None
    plain = await desk.context.browser.new_context(
        java_script_enabled=False, viewport={"width": PHONE[0], "height": PHONE[1]}
    )
    try:
        await plain.add_cookies(cookies)
        page = await plain.new_page()
        await page.goto(f"{desk.origin}/edges/new")
        await page.locator("summary").click()
        await page.get_by_role("link", name="Edges").first.click()
        await page.get_by_role("link", name="docs.localhost").click()
        await page.get_by_role("link", name="Edit the description").click()
        await page.get_by_label("Description").fill("written without a script")
        await page.get_by_role("button", name="Save").click()

        await expect(page.locator("#description")).to_contain_text("written without a script")
        assert await page.locator(".copy").first.is_visible() is False
    finally:
        await plain.close()


async def test_the_code_of_a_link_leaves_the_address_bar_and_the_history(desk: Desk):
    """Row 145."""
    user = (await desk.w.relay.store.users.all(role="admin"))[0]
    code = await code_of(desk.w, user)
    asked: list[str] = []
    page = await desk.context.new_page()
    page.on("request", lambda request: asked.append(request.url))

    await page.goto(f"{desk.origin}/sign-in#code={code}")
    await expect(page.get_by_label("One-time code")).to_have_value(code)

    assert page.url == f"{desk.origin}/sign-in"
    await page.get_by_role("button", name="Sign in").click()
    await page.wait_for_url(f"{desk.origin}/")
    await page.go_back()
    assert "code=" not in page.url
    assert not [url for url in asked if code in url]
    await page.close()
