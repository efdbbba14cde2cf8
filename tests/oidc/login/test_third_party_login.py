"""Logins that a provider starts from a tile on its own pages (OpenID Connect Core section 4)."""

from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.oidc.login.redirect_payloads import PAYLOADS
from tests.oidc.login.test_return_path import stays_home
from tests.oidc.world import APP, EVIL, ISSUER, TUN_EXAMPLE, Browser, World, connection
from tests.support.every import every
from tests.web.visiting import FORM, IDP, Visitor
from tunnelrelay.oidc.login.third_party_login import LOGIN_PATH, Initiation, host_named, passed_on, read_initiation

BASE = f"https://{APP}"
PAGE = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Sec-Fetch-Site": "cross-site"}
OTHERS = (
    "https://evil.example/x",
    f"https://{EVIL}/x",
    f"http://{APP}/x",
    f"https://{APP}:8443/x",
    f"https://{APP}.evil.example/x",
    f"https://{APP}@evil.example/x",
    f"https://evil.example/@{APP}/x",
    f"https:{APP}/x",
    f"//{APP}/x",
    f"https://{APP}\\@evil.example/x",
    f"https://{APP}\t/x",
    f"https://{APP.upper()}/x",
    f"https://user@{APP}/x",
    f" https://{APP}/x",
    f"https://{APP}?/x",
    f"https://{APP}#/x",
    "/x",
    "javascript:alert(1)",
    "",
)


async def asked(world: World, cookies: dict[str, str] | None = None, /, **params: str) -> httpx.Response:
    """A visitor clicks the tile."""
    target = f"{LOGIN_PATH}?{urlencode(params)}" if params else LOGIN_PATH
    return await Visitor(world).send("GET", target, headers={**PAGE, **(cookies or {})})


async def test_a_tile_signs_in_and_leads_where_it_says() -> None:
    world = World()
    browser = Browser(world)
    started = await asked(world, iss=ISSUER, target_link_uri=f"{BASE}/report?q=1", login_hint="alice@acme.example")
    url = urlsplit(started.headers["location"])
    assert f"{url.scheme}://{url.netloc}{url.path}" == f"{ISSUER}/authorize"
    assert "login_hint=alice%40acme.example" in url.query

    browser.jars[APP] = dict(
        value.encode().split(b"; ")[0].split(b"=", 1) for value in started.headers.get_list("set-cookie")
    )
    params = world.provider.authorize(started.headers["location"])
    done = await browser.finish(await browser.callback(params))
    assert dict(done.fields)[b"Location"] == f"{BASE}/report?q=1".encode()


@pytest.mark.parametrize("issuer", [ISSUER, ISSUER + "/"])
async def test_one_slash_at_the_end_of_the_issuer_is_forgiven(issuer: str) -> None:
    assert (await asked(World(), iss=issuer)).status_code == 303


@pytest.mark.parametrize("issuer", ["", "https://evil.example", ISSUER + "//", ISSUER + ".evil", ISSUER.upper()])
async def test_another_issuer_starts_nothing(issuer: str) -> None:
    """Row 33."""
    reply = await asked(World(), iss=issuer, target_link_uri=f"{BASE}/x")
    assert (reply.status_code, reply.headers["tunnel-error"]) == (400, "form_refused")
    assert "set-cookie" not in reply.headers


@pytest.mark.parametrize("params", [{"target_link_uri": f"{BASE}/x"}, {"login_hint": "alice"}])
async def test_whoever_does_not_say_who_they_are_chooses_nothing(params: dict[str, str]) -> None:
    assert (await asked(World(), **params)).status_code == 400


@pytest.mark.parametrize("target", OTHERS)
async def test_a_target_anywhere_else_starts_nothing(target: str) -> None:
    """Row 43."""
    reply = await asked(World(), iss=ISSUER, target_link_uri=target)
    assert reply.status_code == 400
    assert "location" not in reply.headers


@every("payload", sorted(set(PAYLOADS)))
def test_no_target_leads_anywhere_but_home(payload: str) -> None:
    """Row 43. As the whole target, and as what stands behind our own address."""
    for target in (payload, BASE + payload, f"{BASE}/{payload}"):
        initiation = read_initiation([("iss", ISSUER), ("target_link_uri", target)], connection(), BASE)
        assert initiation is None or stays_home(BASE + initiation.return_path)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["iss", "target_link_uri", "login_hint", "state"]),
            st.sampled_from([ISSUER, BASE, f"{BASE}/x", ""])
            | st.text(alphabet="/\\\t\r\n.:@%2f5c#?a\xa0", max_size=20).map(lambda text: BASE + text)
            | st.text(max_size=40),
        ),
        max_size=5,
    )
)
def test_whatever_is_asked_for_leads_home_or_nowhere(params: list[tuple[str, str]]) -> None:
    """Row 43."""
    initiation = read_initiation(params, connection(), BASE)
    assert initiation is None or stays_home(BASE + initiation.return_path)
    host = host_named(params, TUN_EXAMPLE)
    assert host is None or passed_on(params, TUN_EXAMPLE.url(host)).startswith(f"https://{host}{LOGIN_PATH}?")


@pytest.mark.parametrize("name", ["iss", "target_link_uri", "login_hint"])
def test_a_parameter_that_stands_there_twice_starts_nothing(name: str) -> None:
    """Row 33."""
    params = [("iss", ISSUER), ("target_link_uri", f"{BASE}/x"), ("login_hint", "alice")]
    assert read_initiation(params, connection(), BASE) == Initiation("/x", "alice")
    assert read_initiation([*params, (name, dict(params)[name])], connection(), BASE) is None


@pytest.mark.parametrize("hint", ["a" * 257, "a\nb", "\x00", "a\u2028b"])
def test_a_hint_is_short_and_one_line(hint: str) -> None:
    assert read_initiation([("iss", ISSUER), ("login_hint", hint)], connection(), BASE) is None


async def test_other_parameters_are_not_passed_on() -> None:
    """Row 58."""
    reply = await asked(World(), iss=ISSUER, prompt="none", scope="admin", acr_values="0", redirect_uri="https://evil")
    assert not {"prompt=", "admin", "acr_values", "evil"} & set(reply.headers["location"].replace("&", " ").split())
    assert "evil" not in reply.headers["location"]


async def test_whoever_is_signed_in_goes_straight_to_the_target() -> None:
    world = World()
    browser = Browser(world)
    await browser.sign_in()
    calls = len(world.provider.calls)
    cookies = {"Cookie": browser.cookies()[0].decode()}
    reply = await asked(world, cookies, iss=ISSUER, target_link_uri=f"{BASE}/report")
    assert reply.headers["location"] == f"{BASE}/report"
    assert len(world.provider.calls) == calls


async def test_the_address_alone_signs_in() -> None:
    assert (await asked(World())).headers["location"].startswith(f"{ISSUER}/authorize?")


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Sec-Purpose": "prefetch"}, "prefetch_refused"),
        ({"Sec-Purpose": "prefetch;prerender"}, "prefetch_refused"),
        ({"X-Moz": "prefetch"}, "prefetch_refused"),
        ({"Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}, "login_required"),
        ({"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}, "login_required"),
        ({"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}, "login_required"),
    ],
)
@pytest.mark.parametrize("kind", ["endpoint", "idp"])
async def test_only_a_person_opening_a_page_starts_one(headers: dict[str, str], code: str, kind: str) -> None:
    """Rows 56, 57."""
    target = f"{LOGIN_PATH}?{urlencode({'iss': ISSUER, 'target_link_uri': BASE + '/'})}"
    reply = await Visitor(World()).send("GET", target, kind=kind, headers={**PAGE, **headers})
    assert reply.headers["tunnel-error"] == code
    assert "set-cookie" not in reply.headers


async def test_a_form_of_another_site_becomes_a_get_that_has_our_cookies() -> None:
    params = {"iss": ISSUER, "target_link_uri": f"{BASE}/x", "login_hint": "alice", "extra": "evil"}
    reply = await Visitor(World()).send(
        "POST", LOGIN_PATH, headers={**PAGE, **FORM}, content=urlencode(params).encode()
    )
    assert reply.status_code == 303
    assert "set-cookie" not in reply.headers
    url = urlsplit(reply.headers["location"])
    assert (url.netloc, url.path) == (APP, LOGIN_PATH)
    assert "evil" not in url.query
    assert (await Visitor(World()).send("GET", f"{url.path}?{url.query}", headers=PAGE)).status_code == 303


async def test_a_form_that_may_not_start_one_is_not_turned_into_anything() -> None:
    content = urlencode({"iss": "https://evil.example"}).encode()
    reply = await Visitor(World()).send("POST", LOGIN_PATH, headers={**PAGE, **FORM}, content=content)
    assert reply.status_code == 400


# At the callback host, for whoever registers one address for all endpoints


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_callback_host_passes_it_on_to_the_endpoint(method: str) -> None:
    params = urlencode({"iss": ISSUER, "target_link_uri": f"{BASE}/report", "login_hint": "alice"})
    is_get = method == "GET"
    reply = await Visitor(World()).send(
        method,
        f"{LOGIN_PATH}?{params}" if is_get else LOGIN_PATH,
        host=IDP,
        kind="idp",
        headers=PAGE if is_get else {**PAGE, **FORM},
        content=None if is_get else params.encode(),
    )
    assert reply.headers["location"] == f"{BASE}{LOGIN_PATH}?{params}"
    assert "set-cookie" not in reply.headers


@every(
    "params",
    [
        *({"iss": ISSUER, "target_link_uri": target} for target in OTHERS),
        {"iss": "https://evil.example", "target_link_uri": f"{BASE}/"},
        {"target_link_uri": f"{BASE}/"},
        {"iss": ISSUER},
        {"iss": ISSUER, "target_link_uri": "https://[::1"},
        {"iss": ISSUER, "target_link_uri": f"https://{IDP}/"},
        {"iss": ISSUER, "target_link_uri": "https://tun.example/"},
        {"iss": ISSUER, "target_link_uri": "https://nobody.tun.example/"},
        {},
    ],
)
async def test_the_callback_host_leads_to_endpoints_of_that_provider_and_nowhere_else(params: dict[str, str]) -> None:
    """Row 43."""
    world = World(endpoints={EVIL: connection(id="conn-evil", issuer="https://b.example")})
    reply = await Visitor(world).send("GET", f"{LOGIN_PATH}?{urlencode(params)}", host=IDP, kind="idp", headers=PAGE)
    assert reply.status_code == 400
    assert "location" not in reply.headers


async def test_an_endpoint_without_a_login_starts_none() -> None:
    world = World()
    world.endpoints.clear()
    assert (await asked(world)).status_code == 404


async def test_a_provider_that_is_away_is_said_to_be() -> None:
    world = World()
    world.provider.answers["/.well-known/openid-configuration"] = httpx.ConnectError("no route")
    reply: Any = await asked(world, iss=ISSUER)
    assert reply.headers["tunnel-error"] == "provider_unreachable"
