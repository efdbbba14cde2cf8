"""Signing in and out: by a code or a key, from our own page only, and on to our own pages only."""

import pytest

from tests.support.managed import ADMIN
from tunnelrelay.dashboard.sign_in_redirects import own_path

COOKIE = "__Host-tunnel-dashboard"


async def test_a_code_signs_in_once(house, stranger):
    """Row 143."""
    code = await house.managed.services.sign_ins.first_run("default")

    first = await stranger.sign_in(code)
    assert (first.status_code, first.headers["location"]) == (303, "/")
    assert (await stranger.get("/edges")).status_code == 200

    async with house.stranger() as other:
        second = await other.sign_in(code)
        assert second.status_code == 403
        assert (await other.get("/edges")).status_code == 303


async def test_the_cookie_is_host_only_secure_and_out_of_reach_of_scripts(house, stranger):
    """Row 143."""
    answer = await stranger.sign_in(await house.managed.services.sign_ins.first_run("default"))

    name, *attributes = answer.headers["set-cookie"].split("; ")
    assert name.startswith(f"{COOKIE}=")
    assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= set(attributes)
    assert not [attribute for attribute in attributes if attribute.lower().startswith("domain")]


async def test_every_sign_in_has_a_new_cookie_whatever_the_browser_had(house, stranger):
    """Row 143."""
    stranger.http.cookies.set(COOKIE, "planted-by-a-sibling", domain="dashboard.tun.example")

    answer = await stranger.sign_in(await house.managed.services.sign_ins.first_run("default"))

    assert "planted" not in answer.headers["set-cookie"]


async def test_an_api_key_that_may_everything_signs_in_and_another_does_not(house, admin):
    keys = house.managed.services.api_keys
    user = (await house.managed.store.users.all())[0]
    _, whole = await keys.create(ADMIN, user_id=user.id, scopes=("*",))
    _, part = await keys.create(ADMIN, user_id=user.id, scopes=("edges:read",))

    async with house.stranger() as client:
        assert (await client.sign_in(part)).status_code == 403
        assert (await client.sign_in(whole)).status_code == 303


@pytest.mark.parametrize("secret", ["", "tc_wrong", "x" * 10_000, "<script>alert(1)</script>", "\u2603"])
async def test_what_was_typed_wrongly_is_told_without_it(stranger, secret):
    """Rows 139, 141."""
    answer = await stranger.sign_in(secret)

    assert answer.status_code in (400, 403)
    assert "set-cookie" not in answer.headers
    assert not secret or secret not in answer.text


async def test_guesses_are_slowed_down(stranger):
    """Row 143."""
    answers = [(await stranger.sign_in(f"tc_guess{number}")).status_code for number in range(15)]

    assert answers[0] == 403
    assert answers[-1] == 429


async def test_a_siblings_page_signs_nobody_in_as_somebody_else(house, stranger):
    """Rows 137, 143."""
    code = await house.managed.services.sign_ins.first_run("default")

    headers = {"Origin": "https://evil.tun.example", "Sec-Fetch-Site": "same-site"}
    answer = await stranger.http.post("/sign-in", data={"secret": code}, headers=headers)

    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
    assert (await stranger.sign_in(code)).status_code == 303


async def test_a_code_in_the_address_is_not_taken(house, stranger):
    """Row 145."""
    code = await house.managed.services.sign_ins.first_run("default")

    answer = await stranger.get(f"/sign-in?code={code}&secret={code}")

    assert answer.status_code == 200
    assert code not in answer.text
    assert "set-cookie" not in answer.headers


async def test_signing_in_leads_back_to_the_page_that_was_asked_for(house, stranger):
    page = await stranger.get("/edges/new?x=1")
    assert page.headers["location"] == "/sign-in?next=/edges/new%3Fx%3D1"

    form = await stranger.get(page.headers["location"])
    assert 'name="next" value="/edges/new?x=1"' in form.text
    code = await house.managed.services.sign_ins.first_run("default")
    answer = await stranger.post("/sign-in", {"secret": code, "next": "/edges/new?x=1"}, token="")
    assert answer.headers["location"] == "/edges/new?x=1"


@pytest.mark.parametrize(
    "wanted",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "\t//evil.example",
        "/ /evil.example",
        "javascript:alert(1)",
        "/edges\r\nSet-Cookie: x=1",
        "edges",
        "",
        "/sign-in?next=/sign-in",
        "/_tunnel/login",
        "/" + "x" * 1000,
        "/\u2603",
    ],
)
async def test_nothing_leads_anywhere_else(house, stranger, wanted):
    """Row 143."""
    code = await house.managed.services.sign_ins.first_run("default")

    answer = await stranger.post("/sign-in", {"secret": code, "next": wanted}, token="")

    assert answer.headers["location"] == own_path(wanted) == "/"


async def test_signing_out_ends_it_at_the_relay_too(house, admin):
    cookie = admin.http.cookies[COOKIE]

    answer = await admin.post("/sign-out")

    assert answer.headers["location"] == "/sign-in?flash=signed_out"
    assert "Max-Age=0" in answer.headers["set-cookie"]
    admin.http.cookies.set(COOKIE, cookie, domain="dashboard.tun.example")
    assert (await admin.get("/edges")).status_code == 303


async def test_a_siblings_page_signs_nobody_out(admin):
    """Row 137."""
    headers = {"Origin": "https://evil.tun.example", "Sec-Fetch-Site": "same-site"}
    await admin.http.post("/sign-out", data={"csrf": await admin.token()}, headers=headers)

    assert (await admin.get("/edges")).status_code == 200


async def test_somebody_who_is_disabled_is_out_at_once(house, admin):
    """Row 145."""
    ann = await house.user("ann", "ann")
    async with house.signed_in(ann) as client:
        assert (await client.get("/edges")).status_code == 200
        await house.managed.services.users.update(ADMIN, ann.id, disabled=True)

        assert (await client.get("/edges")).status_code == 303


async def test_with_a_provider_its_button_leads_to_the_login_and_back(stranger):
    page = await stranger.get("/sign-in?next=/edges")

    assert "Sign in with Acme" in page.text
    target = "iss=https%3A%2F%2Flogin.acme.example&amp;target_link_uri=https%3A%2F%2Fdashboard.tun.example%2Fedges"
    assert f'href="/_tunnel/login?{target}"' in page.text


@pytest.mark.parametrize("said", ["<script>alert(1)</script>", "Your relay was hacked, call 555", "saved\u2603"])
async def test_a_link_puts_no_words_of_its_own_on_a_page(admin, stranger, said):
    """Row 139."""
    for client, path in ((stranger, "/sign-in"), (admin, "/edges")):
        page = await client.http.get(path, params={"said": said}, headers={"Accept": "text/html"})
        assert said not in page.text
        assert "alert(1)" not in page.text
