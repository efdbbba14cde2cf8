"""The relay's own web app: which path exists where, and what it reads of a request."""

from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
import pytest
from starlette.responses import PlainTextResponse

from tests.oidc.world import APP, ISSUER, Browser, World, location
from tests.web.visiting import FORM, IDP, PAGE, Visitor, flood
from tunnelrelay.address import PublicAddress
from tunnelrelay.policy.rules import Connection


async def test_a_login_goes_through_the_web_app() -> None:
    world = World()
    visitor, browser = Visitor(world), Browser(world)
    params = world.provider.authorize(location(await browser.start()))
    handed = await visitor.send("GET", f"/oauth2/callback?{urlencode(params)}", host=IDP, kind="idp")
    assert handed.status_code == 303
    assert handed.headers["strict-transport-security"]
    url = urlsplit(handed.headers["location"])
    assert url.netloc == APP
    headers = [*PAGE, *(("Cookie", value.decode()) for value in browser.cookies())]
    done = await visitor.send("GET", f"{url.path}?{url.query}", headers=headers)
    assert done.headers["location"] == f"https://{APP}/x?y=1"
    assert len(done.headers.get_list("set-cookie")) == 2


async def test_a_provider_may_answer_by_form() -> None:
    world = World()
    params = world.provider.authorize(location(await Browser(world).start()))
    body = urlencode(params).encode()
    handed = await Visitor(world).send("POST", "/oauth2/callback", host=IDP, kind="idp", headers=FORM, content=body)
    assert handed.status_code == 303
    assert urlsplit(handed.headers["location"]).netloc == APP


@pytest.mark.parametrize(
    ("headers", "content"),
    [
        ({}, b"code=x&state=y"),
        ({"Content-Type": "application/json"}, b"{}"),
        ({"Content-Type": "text/plain"}, b"code=x&state=y"),
        ([("Content-Type", FORM["Content-Type"])] * 2, b"code=x&state=y"),
        (FORM, b"code=\xff&state=y"),
        (FORM, b"a=b&" * 5000),
        (FORM, b"a" * 20_000),
        (FORM, flood()),
    ],
)
async def test_a_form_that_is_none_is_an_answer_to_nothing(headers: Any, content: Any) -> None:
    """Row 39."""
    reply = await Visitor(World()).send(
        "POST", "/oauth2/callback", host=IDP, kind="idp", headers=headers, content=content
    )
    assert (reply.status_code, reply.headers["tunnel-error"]) == (400, "login_state_invalid")


@pytest.mark.parametrize("query", ["", "?", "?state", "?state=%ff", "?code=%ff&state=x", "?&&&", "?" + "a=b&" * 2000])
async def test_a_query_that_is_none_is_an_answer_to_nothing(query: str) -> None:
    """Row 39."""
    reply = await Visitor(World()).send("GET", f"/oauth2/callback{query}", host=IDP, kind="idp")
    assert (reply.status_code, reply.headers["tunnel-error"]) == (400, "login_state_invalid")


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("endpoint", "/oauth2/callback"),
        ("endpoint", "/.well-known/tunnel/jwks.json"),
        ("endpoint", "/_tunnel/"),
        ("endpoint", "/_tunnel/x"),
        ("endpoint", "/_tunnel/logout/"),
        ("endpoint", "/_tunnel//logout"),
        ("idp", "/"),
        ("idp", "/_tunnel/logout"),
        ("idp", "/_tunnel/oidc/cb"),
        ("idp", "/oauth2/callback/"),
        ("idp", "/oauth2/callback/x/y"),
        ("domain", "/oauth2/callback"),
        ("domain", "/_tunnel/logout"),
        ("domain", "/x"),
    ],
)
async def test_a_path_exists_on_its_own_host_only(kind: str, path: str) -> None:
    reply = await Visitor(World()).send("GET", path, kind=kind)
    assert reply.status_code == 404
    assert "location" not in reply.headers


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        (
            {"Sec-Purpose": "prefetch;prerender", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
            "prefetch_refused",
        ),
        ({"Sec-Fetch-Mode": "cors"}, "login_required"),
        ({"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}, "login_required"),
        ({"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}, "login_required"),
        ({"Accept": "*/*"}, "login_required"),
    ],
)
async def test_only_a_person_opening_a_page_finishes_a_login(headers: dict[str, str], code: str) -> None:
    world = World()
    browser = Browser(world)
    handed = await browser.callback(world.provider.authorize(location(await browser.start())))
    url = urlsplit(location(handed))
    cookie = {"Cookie": browser.cookies()[0].decode()}
    reply = await Visitor(world).send("GET", f"{url.path}?{url.query}", headers={**headers, **cookie})
    assert reply.headers["tunnel-error"] == code
    assert world.provider.calls_to("/token") == []
    # And nothing was used up by it.
    assert (await browser.finish(handed)).status == 303


@pytest.mark.parametrize("site", ["cross-site", "same-site", "same-origin", "none"])
async def test_a_login_ends_also_where_the_apps_own_service_worker_passes_the_page_load_on(site: str) -> None:
    world = World()
    browser = Browser(world)
    url = urlsplit(location(await browser.callback(world.provider.authorize(location(await browser.start())))))
    cookie = {"Cookie": browser.cookies()[0].decode()}
    passed_on = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "empty", "Sec-Fetch-Site": site}
    done = await Visitor(world).send("GET", f"{url.path}?{url.query}", headers={**passed_on, **cookie})
    assert done.headers["location"] == f"https://{APP}/x?y=1"


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "OPTIONS"])
async def test_the_hand_off_takes_get_only(method: str) -> None:
    reply = await Visitor(World()).send(method, "/_tunnel/oidc/cb?h=x")
    assert reply.status_code == 405


@pytest.mark.parametrize("path", ["/_tunnel/oidc/cb?h=x", "/_tunnel/login", "/_tunnel/logout", "/_tunnel/signed-out"])
async def test_a_service_worker_cannot_be_served_from_our_paths(path: str) -> None:
    """Row 84."""
    assert (await Visitor(World()).send("GET", path, headers={"Service-Worker": "script"})).status_code == 404


async def test_an_endpoint_without_a_login_has_none_of_its_paths() -> None:
    world = World()
    world.endpoints.clear()
    visitor = Visitor(world)
    for path, status in (("/_tunnel/oidc/cb?h=x", 404), ("/_tunnel/logout", 404), ("/_tunnel/signed-out", 200)):
        assert (await visitor.send("GET", path)).status_code == status


async def test_signing_out_by_the_form_of_our_page() -> None:
    world = World()
    visitor, browser = Visitor(world), Browser(world)
    await browser.sign_in()
    cookie = {"Cookie": browser.cookies()[0].decode()}
    page = await visitor.send("GET", "/_tunnel/logout", headers=cookie)
    token = page.text.split('value="')[1].split('"')[0]
    body = urlencode({"token": token}).encode()
    for site in ("same-site", "cross-site", "none"):
        refused = await visitor.send(
            "POST", "/_tunnel/logout", headers={**cookie, **FORM, "Sec-Fetch-Site": site}, content=body
        )
        assert refused.status_code == 400
    done = await visitor.send(
        "POST", "/_tunnel/logout", headers={**cookie, **FORM, "Sec-Fetch-Site": "same-origin"}, content=body
    )
    assert (done.status_code, done.headers["location"]) == (303, f"https://{APP}/_tunnel/signed-out")
    assert await world.signed_in(browser) is None


async def test_a_planted_cookie_does_not_pass_the_web_app_either() -> None:
    """Row 65."""
    world = World()
    browser = Browser(world)
    await browser.sign_in()
    cookie = browser.session_cookie()
    assert cookie is not None
    planted = await Visitor(world).send("GET", "/_tunnel/logout", headers=[(b"Cookie", b"\xa0__Host-tunnel=" + cookie)])
    assert planted.status_code == 303


@pytest.mark.parametrize(("kind", "host"), [("idp", IDP), ("domain", "tun.example")])
async def test_the_keys_of_assertions_are_public(kind: str, host: str) -> None:
    world = World()
    reply = await Visitor(world).send("GET", "/.well-known/tunnel/jwks.json", kind=kind, host=host)
    assert reply.json() == world.signer.jwks()
    assert reply.headers["content-type"] == "application/jwk-set+json"


async def test_the_bare_domain_says_what_it_is() -> None:
    reply = await Visitor(World()).send("GET", "/", kind="domain", host="tun.example")
    assert reply.status_code == 200
    assert "https://tun.example" in reply.text
    assert "liar" not in reply.text


async def test_the_names_people_know_from_ngrok_lead_to_ours() -> None:
    visitor = Visitor(World())
    started = await visitor.send("GET", "/ngrok/login?url=//evil.example", headers=PAGE)
    assert started.headers["location"].startswith(f"{ISSUER}/authorize?")
    assert "evil" not in started.headers["location"]
    signed_out = await visitor.send("GET", "/ngrok/logout")
    assert signed_out.headers["location"] == f"https://{APP}/_tunnel/signed-out"


async def test_a_fault_of_ours_is_a_page_with_the_request_id(caplog: pytest.LogCaptureFixture) -> None:
    world = World()

    class Broken:
        def connection_of(self, host: str) -> Connection | None:
            raise RuntimeError("boom")

        def owner_of(self, host: str) -> str:
            return ""

        def generation_of(self, host: str) -> int:
            return 0

    visitor = Visitor(world, endpoints=Broken())
    reply = await visitor.send("GET", "/_tunnel/oidc/cb?h=x", headers={"Accept": "text/html"})
    assert (reply.status_code, reply.headers["tunnel-error"]) == (500, "internal_error")
    assert "r-1" in reply.text
    assert "boom" not in reply.text
    assert "boom" in caplog.text


async def test_a_request_that_did_not_come_through_the_ingress_is_not_answered() -> None:
    visitor = Visitor(World())
    transport = httpx.ASGITransport(visitor.app)
    with pytest.raises(KeyError):
        await transport.handle_async_request(httpx.Request("GET", "https://app.tun.example/_tunnel/logout"))


DASHBOARD = PlainTextResponse("dashboard")
API = PlainTextResponse("api")


@pytest.mark.parametrize(
    ("kind", "path", "status", "text"),
    [
        ("dashboard", "/", 200, "dashboard"),
        ("dashboard", "/_tunnel", 200, "dashboard"),
        ("dashboard", "/_tunnel/x", 404, ""),
        ("dashboard", "/_tunnel/signed-out", 200, "signed out"),
        ("api", "/edges", 200, "api"),
        ("api", "/_tunnel/signed-out", 200, "api"),
        ("endpoint", "/edges", 404, ""),
    ],
)
async def test_dashboard_and_api_have_their_hosts_and_people_sign_out_of_the_dashboard_as_everywhere(
    kind: str, path: str, status: int, text: str
) -> None:
    reply = await Visitor(World(), dashboard=DASHBOARD, api=API).send("GET", path, kind=kind, headers=PAGE)
    assert reply.status_code == status
    assert text in reply.text


@pytest.mark.parametrize("kind", ["dashboard", "api"])
async def test_a_relay_without_dashboard_and_api_has_no_such_pages(kind: str) -> None:
    assert (await Visitor(World()).send("GET", "/", kind=kind)).status_code == 404


async def test_a_service_worker_cannot_take_the_login_of_the_dashboard_either() -> None:
    """Row 84."""
    visitor = Visitor(World(), dashboard=DASHBOARD)
    reply = await visitor.send("GET", "/_tunnel/signed-out", kind="dashboard", headers={"Service-Worker": "script"})
    assert reply.status_code == 404


async def test_a_relay_without_tls_promises_none() -> None:
    world = World(address=PublicAddress(scheme="http", domain="tun.example", port=80))
    reply = await Visitor(world).send("GET", "/", kind="domain", host="tun.example")
    assert reply.status_code == 200
    assert "strict-transport-security" not in reply.headers


@pytest.mark.parametrize("kind", ["idp", "domain", "endpoint", "dashboard", "api"])
async def test_every_own_answer_over_tls_says_to_come_back_over_tls(kind: str) -> None:
    reply = await Visitor(World(), dashboard=DASHBOARD).send("GET", "/nothing-here", kind=kind)
    assert "max-age=" in reply.headers["strict-transport-security"]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_button_for_too_large_cookies_leads_home_once_they_are_small(method: str) -> None:
    reply = await Visitor(World()).send(method, "/_tunnel/clear-cookies")
    assert (reply.status_code, reply.headers["location"]) == (303, f"https://{APP}/")


@pytest.mark.parametrize(
    ("kind", "path", "methods"),
    [
        ("idp", "/oauth2/callback", ("PUT", "DELETE", "OPTIONS", "PROPFIND", "HEAD")),
        ("idp", "/oauth2/callback/conn-app", ("PUT", "HEAD")),
        ("idp", "/oauth2/backchannel-logout", ("GET", "HEAD", "PUT")),
        ("idp", "/oauth2/logged-out/conn-app", ("POST", "PUT")),
        ("endpoint", "/_tunnel/logout", ("PUT", "DELETE")),
        ("endpoint", "/_tunnel/signed-out", ("POST",)),
        ("domain", "/", ("POST", "PUT")),
        ("domain", "/.well-known/tunnel/jwks.json", ("POST",)),
    ],
)
async def test_other_methods_are_refused(kind: str, path: str, methods: tuple[str, ...]) -> None:
    for method in methods:
        reply = await Visitor(World()).send(method, path, kind=kind)
        assert (reply.status_code, reply.headers["tunnel-error"]) == (405, "method_not_allowed"), method


@pytest.mark.parametrize("path", ["/_tunnel/logout", "/ngrok/logout", "/_tunnel/frontchannel-logout"])
async def test_a_host_without_a_login_signs_nobody_out(path: str) -> None:
    world = World()
    world.endpoints.clear()
    assert (await Visitor(world).send("GET", path)).status_code == 404


@pytest.mark.parametrize("headers", [{}, {"Content-Type": "application/json"}])
async def test_what_is_no_form_signs_nobody_out(headers: dict[str, str]) -> None:
    counted: list[str] = []
    world = World()
    browser = Browser(world)
    await browser.sign_in()
    cookie = {"Cookie": browser.cookies()[0].decode()}
    reply = await Visitor(world, count_login=counted.append).send(
        "POST", "/_tunnel/logout", headers={**cookie, **headers}, content=b"token=x"
    )
    assert (reply.status_code, reply.headers["tunnel-error"]) == (400, "form_refused")
    assert counted == []
    assert await world.signed_in(browser)


async def test_each_end_of_a_login_and_each_sign_out_is_counted_and_the_person_is_told_once() -> None:
    world, counted, told = World(), list[str](), list[tuple[str, str, str]]()
    visitor = Visitor(
        world,
        count_login=counted.append,
        note_sign_in=lambda request_id, who, refusal: told.append((request_id, who.subject, refusal)),
    )
    browser = Browser(world)
    url = urlsplit(location(await browser.callback(world.provider.authorize(location(await browser.start())))))
    headers = [*PAGE, ("Cookie", browser.cookies()[0].decode())]
    await visitor.send("GET", f"{url.path}?{url.query}", headers=headers)
    await visitor.send("GET", f"{url.path}?h=nonsense", headers=headers)
    await visitor.send("POST", "/_tunnel/logout", headers=FORM, content=b"token=x")
    assert counted == ["ok", "failed", "logout"]
    assert told == [("r-1", "alice", "")]


async def test_a_providers_own_logout_comes_in_by_form_on_its_connections_path() -> None:
    reply = await Visitor(World()).send(
        "POST", "/oauth2/backchannel-logout/conn-app", host=IDP, kind="idp", headers=FORM, content=b"logout_token=x"
    )
    assert (reply.status_code, reply.json()) == (400, {"error": "invalid_request"})


@pytest.mark.parametrize("content", [b"", b"{}", b"x" * 20_000])
async def test_a_providers_logout_that_is_no_form_ends_nothing(content: bytes) -> None:
    """Row 18."""
    reply = await Visitor(World()).send("POST", "/oauth2/backchannel-logout", host=IDP, kind="idp", content=content)
    assert reply.status_code == 400


async def test_a_visitor_that_leaves_in_the_middle_of_a_form_is_no_fault_of_ours(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()

    async def leaves() -> dict[str, object]:
        return {"type": "http.disconnect"}

    reply = await Visitor(world).send("POST", "/_tunnel/logout", headers=FORM, receive=leaves)
    assert reply.status_code == 400
    assert "own page failed" not in caplog.text
