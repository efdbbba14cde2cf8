"""Signing out: only by our own form (rows 74, 76)."""

import re
from urllib.parse import parse_qsl, quote, urlsplit

import httpx
import pytest

from tests.oidc.world import APP, ISSUER, PEER, Browser, World, code_of, connection, location, set_cookies
from tests.pages.reading import PageRead
from tunnelrelay.address import PublicAddress
from tunnelrelay.model import Reply
from tunnelrelay.oidc.login.visitor_request import VisitorRequest
from tunnelrelay.oidc.logout.logout import EVERYWHERE
from tunnelrelay.store.base import StoreError


def asking(browser: Browser) -> VisitorRequest:
    connection = browser.world.endpoints[APP]
    return VisitorRequest(host=APP, connection=connection, cookie_values=browser.cookies(), request_id="r", peer=PEER)


async def confirmation_page(browser: Browser) -> Reply:
    return await browser.world.logout.confirmation_page(asking(browser))


async def submit(browser: Browser, *tokens: str, everywhere: bool = False) -> Reply:
    form = [("token", token) for token in tokens] + [(EVERYWHERE, "1")] * everywhere
    return await browser.world.logout.submit(asking(browser), form)


def token_in(page: Reply) -> str:
    (token,) = re.findall(r'name="token" value="([^"]+)"', page.body.decode())
    assert isinstance(token, str)
    return token


async def test_the_button_signs_out() -> None:
    world = World()
    browser = Browser(world)
    await browser.sign_in()
    page = await confirmation_page(browser)
    assert b"alice@acme.example" in page.body
    done = await submit(browser, token_in(page))
    assert location(done) == f"https://{APP}/_tunnel/signed-out"
    assert dict(done.fields)[b"Clear-Site-Data"] == b'"cache"'
    (cleared,) = set_cookies(done)
    assert cleared.startswith(b"__Host-tunnel=;")
    assert len(world.ended) == 1
    assert await world.signed_in(browser) is None


async def test_row_76_opening_the_page_signs_nobody_out() -> None:
    world = World()
    browser = Browser(world)
    await browser.sign_in()
    await confirmation_page(browser)
    assert await world.signed_in(browser)


async def test_a_form_without_the_sessions_own_token_signs_nobody_out() -> None:
    world = World()
    browser, other = Browser(world), Browser(world)
    await browser.sign_in()
    await other.sign_in()
    foreign, own = token_in(await confirmation_page(other)), token_in(await confirmation_page(browser))
    for tokens in ([], [""], [foreign], [own, own], [own[:-1]], [own + "x"], ["é"]):
        assert code_of(await submit(browser, *tokens)) == "form_refused"
    assert await world.signed_in(browser)


@pytest.mark.parametrize("restarted", [True, False])
async def test_whoever_is_not_signed_in_is_told_so(restarted: bool) -> None:
    world = World()
    browser = Browser(world)
    await browser.sign_in()
    world.endpoints[APP] = connection(epoch="epoch-2")
    if restarted:
        world.restart()
    for reply in (
        await confirmation_page(browser),
        await submit(browser, "x"),
        await confirmation_page(Browser(world)),
    ):
        assert location(reply).endswith("/_tunnel/signed-out")


PROVIDER_LOGOUT = {"end_session_endpoint": f"{ISSUER}/logout?keep=1", "revocation_endpoint": f"{ISSUER}/revoke"}


async def signed_in(world: World, **claims: object) -> Browser:
    world.provider.metadata = dict(PROVIDER_LOGOUT)
    world.provider.claims = claims
    browser = Browser(world)
    await browser.sign_in()
    return browser


async def test_whoever_wants_to_is_signed_out_at_the_provider_too() -> None:
    world = World()
    browser = await signed_in(world)
    page = await confirmation_page(browser)
    assert f'name="{EVERYWHERE}"'.encode() in page.body
    assert b"form-action 'self' https:" in dict(page.fields)[b"Content-Security-Policy"]

    sent = urlsplit(location(await submit(browser, token_in(page), everywhere=True)))
    asked = dict(parse_qsl(sent.query))
    assert (sent.netloc, sent.path, asked["keep"]) == ("idp.acme.example", "/logout", "1")
    assert asked["post_logout_redirect_uri"] == "https://idp.tun.example/oauth2/logged-out"
    assert asked["id_token_hint"].count(".") == 2
    assert await world.signed_in(browser) is None

    back = location(world.logout.returned([("state", asked["state"])], "", "r"))
    assert back.startswith(f"https://{APP}/_tunnel/signed-out?h=")
    page = await world.logout.signed_out_page(APP, world.endpoints[APP], parse_qsl(urlsplit(back).query))
    assert b"so has the one at the sign-in service" in page.body
    assert [link["href"] for link in PageRead(page).all("a")] == ["/"]


async def test_whoever_is_signed_out_here_only_is_shown_the_way_to_sign_out_at_the_provider() -> None:
    world = World()
    await signed_in(world)
    page = PageRead(await world.logout.signed_out_page(APP, world.connection_of(APP), []))
    client_id = quote(world.endpoints[APP].client_id)
    assert [link["href"] for link in page.all("a")] == ["/", f"{ISSUER}/logout?keep=1&client_id={client_id}"]


@pytest.mark.parametrize("is_there", [True, False])
async def test_without_a_way_to_sign_out_at_the_provider_none_is_shown(is_there: bool) -> None:
    world = World()
    page = PageRead(await world.logout.signed_out_page(APP, world.connection_of(APP) if is_there else None, []))
    assert [link["href"] for link in page.all("a")] == ["/"]


async def test_one_button_alone_signs_out_here_only() -> None:
    world = World()
    browser = await signed_in(world)
    assert (
        location(await submit(browser, token_in(await confirmation_page(browser))))
        == f"https://{APP}/_tunnel/signed-out"
    )


async def test_a_provider_without_a_logout_is_not_offered() -> None:
    world = World()
    browser = Browser(world)
    await browser.sign_in()
    page = await confirmation_page(browser)
    assert EVERYWHERE.encode() not in page.body
    assert location(await submit(browser, token_in(page), everywhere=True)) == f"https://{APP}/_tunnel/signed-out"


@pytest.mark.parametrize("state", ["", "nonsense", "state of a login"])
async def test_only_our_own_state_leads_back_from_a_provider(state: str) -> None:
    """Row 39."""
    world = World()
    if state == "state of a login":
        state = dict(parse_qsl(urlsplit(location(await Browser(world).start())).query))["state"]
    assert code_of(world.logout.returned([("state", state)], "", "r")) == "login_state_invalid"


async def test_a_state_leads_back_on_its_own_connections_path_only() -> None:
    """Row 30."""
    world = World()
    browser = await signed_in(world)
    world.address = PublicAddress(scheme="https", domain="tun.example", port=443, is_multi_tenant=True)
    world.restart()
    sent = urlsplit(location(await submit(browser, token_in(await confirmation_page(browser)), everywhere=True)))
    asked = dict(parse_qsl(sent.query))
    assert asked["post_logout_redirect_uri"] == "https://idp.tun.example/oauth2/logged-out/conn-app"
    assert code_of(world.logout.returned([("state", asked["state"])], "conn-evil", "r")) == "login_state_invalid"
    assert location(world.logout.returned([("state", asked["state"])], "conn-app", "r"))


async def test_the_refresh_token_is_given_back_after_the_answer() -> None:
    world = World()
    world.provider.gives_refresh = True
    browser = await signed_in(world)
    await submit(browser, token_in(await confirmation_page(browser)))
    assert world.provider.calls_to("/revoke") == []
    (giving_back,) = world.spawned
    await giving_back
    (call,) = world.provider.calls_to("/revoke")
    assert dict(parse_qsl(call.content.decode()))["token_type_hint"] == "refresh_token"


async def test_a_provider_that_is_away_keeps_nobody_signed_in() -> None:
    world = World()
    browser = await signed_in(world)
    world.restart()
    world.provider.answers["/.well-known/openid-configuration"] = httpx.ConnectError("away")
    assert (
        location(await submit(browser, token_in(await confirmation_page(browser))))
        == f"https://{APP}/_tunnel/signed-out"
    )
    assert await world.signed_in(browser) is None


async def test_a_store_that_is_away_keeps_nobody_signed_in(monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: object) -> None:
        raise StoreError("away")

    world = World()
    browser = await signed_in(world)
    token, cookie = token_in(await confirmation_page(browser)), browser.session_cookie()
    monkeypatch.setattr(world.store, "load_session", away)
    monkeypatch.setattr(world.store, "end_sessions", away)
    done = await submit(browser, token)
    assert location(done) == f"https://{APP}/_tunnel/signed-out"
    assert set_cookies(done)[0].startswith(b"__Host-tunnel=;")
    assert world.find(browser) is None
    assert len(world.ended) == 1

    monkeypatch.undo()
    await world.sessions.flush()
    world.restart()
    assert browser.session_cookie() == cookie
    assert await world.signed_in(browser) is None


async def test_whom_only_the_store_knows_is_not_told_they_are_signed_out_while_it_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def away(*_: object) -> None:
        raise StoreError("away")

    world = World()
    browser = await signed_in(world)
    token = token_in(await confirmation_page(browser))
    world.restart()
    monkeypatch.setattr(world.store, "load_session", away)
    assert code_of(await submit(browser, token)) == "relay_busy"
