"""Who gets past the guard, and with what: signed in, by a page of ours, and never by a sibling's."""

import httpx
import pytest
from starlette.routing import Route

from tests.support.dashboard import DashboardClient, InMemory
from tests.support.every import every
from tunnelrelay.dashboard.guard import OPEN
from tunnelrelay.dashboard.views import AREAS

COOKIE = "__Host-tunnel-dashboard"
SIBLING = "https://evil.tun.example"
CREATE = {"host": "new", "name": "shop"}

pages = [route for routes in AREAS for route in routes(InMemory.__new__(InMemory))]
GETS = sorted(route.path for route in pages if "GET" in (route.methods or ()))
POSTS = sorted(route.path for route in pages if "POST" in (route.methods or ()))


def filled(path: str) -> str:
    """A path with something in the place of its parameters."""
    return "/".join("x" if part.startswith("{") else part for part in path.split("/"))


async def edges(house: InMemory) -> list[str | None]:
    return [row.host for row in await house.managed.store.edges.all()]


async def raw_post(client: DashboardClient, path: str, data: dict[str, str], **headers: str) -> httpx.Response:
    """A form with just these header fields."""
    return await client.http.post(path, data=data, headers={name.replace("_", "-"): v for name, v in headers.items()})


# Who is not signed in


@every("path", GETS)
async def test_a_stranger_who_opens_a_page_is_led_to_the_sign_in_and_back(stranger, path):
    answer = await stranger.get(filled(path))

    where = filled(path)
    assert answer.status_code == 303
    assert answer.headers["location"] == ("/sign-in" if where == "/" else f"/sign-in?next={where}")


@every("path", GETS)
async def test_a_strangers_scripts_are_told_401_and_htmx_where_to_go(stranger, path):
    headers = {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty", "HX-Request": "true"}
    answer = await stranger.get(filled(path), **headers)

    assert answer.status_code == 401
    assert answer.headers["hx-redirect"].startswith("/sign-in")


@every("path", POSTS)
async def test_a_stranger_changes_nothing(stranger, path):
    answer = await stranger.post(filled(path), token="0" * 64)

    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/sign-in")


def test_only_the_sign_in_and_what_it_needs_is_open_to_strangers():
    assert OPEN == ("/sign-in", "/assets/", "/favicon.ico", "/robots.txt")


# Forged requests


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": SIBLING},
        {"origin": "null"},
        {"origin": "http://dashboard.tun.example"},
        {"origin": "https://dashboard.tun.example.evil.example"},
        {"origin": "https://dashboard.tun.example", "sec_fetch_site": "same-site"},
        {"origin": "https://dashboard.tun.example", "sec_fetch_site": "cross-site"},
        {"origin": "https://dashboard.tun.example", "sec_fetch_site": "none"},
    ],
    ids=lambda headers: " ".join(headers.values()) or "nothing",
)
async def test_a_change_from_any_other_origin_is_refused_even_with_the_token(house, admin, headers):
    """Rows 137, 143."""
    token = await admin.token()

    answer = await raw_post(admin, "/edges/new", {**CREATE, "csrf": token}, **headers)

    assert answer.status_code == 403
    assert await edges(house) == []


@pytest.mark.parametrize("token", ["", "0" * 64, "x", "\u2603"])
async def test_a_change_without_the_sessions_token_is_refused_even_from_our_origin(house, admin, token):
    """Row 137."""
    answer = await admin.post("/edges/new", CREATE, token=token)

    assert answer.status_code == 403
    assert await edges(house) == []


async def test_the_token_of_one_session_is_worth_nothing_in_another(house, admin):
    """Row 137."""
    other = await house.user("ann", "ann")
    async with house.signed_in(other) as ann:
        answer = await admin.post("/edges/new", CREATE, token=await ann.token())

    assert answer.status_code == 403


@pytest.mark.parametrize("kind", ["text/plain", "application/json", "multipart/form-data; boundary=x", ""])
async def test_only_forms_are_read(house, admin, kind):
    """Row 137."""
    body = f"csrf={await admin.token()}&host=new&name=shop".encode()
    headers = {"Origin": admin.origin, "Sec-Fetch-Site": "same-origin", "Content-Type": kind}

    answer = await admin.http.post("/edges/new", content=body, headers=headers)

    assert answer.status_code == 403
    assert await edges(house) == []


async def test_a_flood_of_fields_or_bytes_is_no_form(house, admin):
    """Row 146."""
    token = await admin.token()

    many = await admin.post("/edges/new", {**CREATE, **{f"x{n}": "1" for n in range(200)}}, token=token)
    large = await admin.post("/edges/new", {**CREATE, "description": "x" * 60_000}, token=token)

    assert (many.status_code, large.status_code) == (403, 403)
    assert await edges(house) == []


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"])
async def test_there_are_no_other_methods(admin, method):
    """Row 137."""
    answer = await admin.http.request(method, "/edges", headers={"Origin": admin.origin})

    assert answer.status_code == 405
    assert "access-control-allow-origin" not in answer.headers


@every("path", POSTS)
async def test_what_changes_something_does_not_answer_a_get(house, admin, path):
    """Row 137."""
    before = await house.managed.store.revisions()

    await admin.get(filled(path))

    assert await house.managed.store.revisions() == before


# Reading from outside


@pytest.mark.parametrize("site", ["same-site", "cross-site"])
@pytest.mark.parametrize(
    ("mode", "dest"), [("no-cors", "script"), ("no-cors", "image"), ("cors", "empty"), ("navigate", "iframe")]
)
async def test_another_origins_page_reads_nothing(admin, site, mode, dest):
    """Row 137."""
    headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest, "Origin": SIBLING}
    answer = await admin.get("/edges", **headers)

    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers


async def test_a_link_from_anywhere_opens_a_page(admin):
    answer = await admin.get("/edges", **{"Sec-Fetch-Site": "cross-site"})

    assert answer.status_code == 200


@pytest.mark.parametrize("path", ["/edges", "/sign-in", "/nothing", "/edges/new", "/assets/nothing.css"])
async def test_every_answer_is_harmless(admin, path):
    """Rows 139, 143."""
    said = (await admin.get(path)).headers

    policy = dict(part.strip().split(" ", 1) for part in said["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == policy["form-action"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert "unsafe" not in said["content-security-policy"]
    assert (said["x-content-type-options"], said["x-frame-options"]) == ("nosniff", "DENY")
    assert said["cross-origin-opener-policy"] == said["cross-origin-resource-policy"] == "same-origin"
    assert said["referrer-policy"] == "same-origin"
    assert said["cache-control"] == "no-store"


# The cookie


@pytest.mark.parametrize(
    "cookies",
    [
        "{name}={value}; {name}={value}",
        "{name}={value}; {name}=planted",
        "{name}=planted; {name}={value}",
        "\u00a0{name}={value}",
        "{lower}={value}",
        "{name} ={value}",
        '{name}="{value}"',
        "tunnel-dashboard={value}",
        "x={name}={value}",
        "a,{name}={value}",
    ],
)
async def test_a_cookie_that_is_not_byte_for_byte_ours_and_the_only_one_is_none(house, admin, cookies):
    """Rows 143, 147."""
    value = admin.http.cookies[COOKIE]
    admin.http.cookies.clear()
    sent = cookies.format(name=COOKIE, lower=COOKIE.lower(), value=value)

    answer = await admin.http.get("/edges", headers=[(b"Cookie", sent.encode("latin-1")), (b"Accept", b"text/html")])

    assert answer.status_code == 303


async def test_other_cookies_of_siblings_do_not_matter(house, admin):
    """Row 147."""
    value = admin.http.cookies[COOKIE]
    admin.http.cookies.clear()

    sent = f"csrf=planted; session=planted; {COOKIE}={value}; tunnel-dashboard=planted"
    answer = await admin.http.get("/edges", headers={"Cookie": sent, "Accept": "text/html"})

    assert answer.status_code == 200


def test_every_path_is_guarded_alike():
    assert all(isinstance(page, Route) for page in pages)
    assert not [page.path for page in pages if any(page.path.startswith(path) for path in OPEN)]
