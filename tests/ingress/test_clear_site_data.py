"""Row 84 on the wire: what a browser hears at a name that has changed hands, once, and what nobody else ever hears."""

from collections.abc import Iterator

import pytest

from tests.ingress.scene import HOST, Scene
from tests.support.raw_http import Response, request_bytes
from tests.support.scripted_agent import Asked
from tunnelctl.http1.head import RequestHead, parse_request
from tunnelctl.wire.errors import Code
from tunnelctl.wire.messages import PolicySpec
from tunnelrelay.ingress.clear_site_data import COOKIE, COOKIE_PLAIN, MAX_ENDED, ClearSiteData
from tunnelrelay.policy import cookies
from tunnelrelay.registry.endpoint import Endpoint

pytestmark = pytest.mark.asyncio(loop_scope="module")

CLEAR = '"cache", "storage"'


@pytest.fixture
def endpoint(s: Scene) -> Iterator[Endpoint]:
    """The scene's endpoint, in its second pair of hands."""
    endpoint = s.relay.registry.find(HOST)
    assert endpoint is not None
    endpoint.generation = 2
    yield endpoint
    endpoint.generation = 1


def set_cookies(response: Response) -> list[str]:
    return [value for name, value in response.fields if name.lower() == "set-cookie"]


def told(response: Response) -> str:
    """The cookie as the browser sends it from then on."""
    (line,) = [value for value in set_cookies(response) if value.startswith("tunnel-gen=")]
    return line.partition(";")[0]


def get(*fields: tuple[str, str], path: str = "/", dest: str = "document") -> bytes:
    return request_bytes("GET", path, host=HOST, fields=[("Sec-Fetch-Dest", dest), *fields])


async def test_row84_a_name_in_its_first_hands_says_nothing(s: Scene):
    s.agent.answers = lambda asked: asked.answer()
    response = await s.fetch(get())

    assert (response.get("clear-site-data"), set_cookies(response)) == (None, [])


@pytest.mark.usefixtures("endpoint")
async def test_row84_the_first_answer_clears_what_the_former_owner_left_and_the_next_one_does_not(s: Scene):
    s.agent.answers = lambda asked: asked.answer()
    first = await s.fetch(get())
    second = await s.fetch(get(("Cookie", told(first))))

    assert first.get("clear-site-data") == CLEAR
    assert "; Max-Age=34560000; HttpOnly; SameSite=Lax" in set_cookies(first)[0]
    assert (second.get("clear-site-data"), set_cookies(second)) == (None, [])


@pytest.mark.usefixtures("endpoint")
@pytest.mark.parametrize("value", ["2", "2-", "2-" + "0" * 32, "3-" + "0" * 32])
async def test_row84_the_former_owner_could_not_have_said_that_the_browser_was_told(s: Scene, value: str):
    s.agent.answers = lambda asked: asked.answer()
    response = await s.fetch(get(("Cookie", f"tunnel-gen={value}")))

    assert response.get("clear-site-data") == CLEAR


async def test_row84_what_was_told_of_one_generation_is_not_told_of_the_next(s: Scene, endpoint: Endpoint):
    s.agent.answers = lambda asked: asked.answer()
    cookie = told(await s.fetch(get()))
    endpoint.generation = 3
    response = await s.fetch(get(("Cookie", cookie)))

    assert response.get("clear-site-data") == CLEAR
    assert told(response) != cookie


@pytest.mark.usefixtures("endpoint")
async def test_row84_cookies_of_the_former_owner_end_and_those_of_the_new_one_stand(s: Scene):
    s.agent.answers = lambda asked: asked.answer(fields=b"Set-Cookie: sid=new\r\n")
    response = await s.fetch(get(("Cookie", "sid=old; theme=dark; tunnel=x; bad name=1; =y; ")))

    lines = set_cookies(response)
    assert lines[1:] == ["sid=; Path=/; Max-Age=0", "theme=; Path=/; Max-Age=0", "sid=new"]


@pytest.mark.usefixtures("endpoint")
async def test_row84_the_relays_own_answers_say_it_too(s: Scene):
    page = await s.fetch(get(path="/_tunnel/none"))
    s.agent.answers = lambda asked: asked.link.reset(asked.stream, Code.UPSTREAM_BROKEN)
    error = await s.fetch(get())

    assert (page.status, page.get("clear-site-data")) == (404, CLEAR)
    assert (error.status >= 500, error.get("clear-site-data")) == (True, CLEAR)


@pytest.mark.usefixtures("endpoint")
async def test_row84_the_app_does_not_see_the_cookie(s: Scene):
    seen: list[Asked] = []
    s.agent.answers = lambda asked: (seen.append(asked), asked.answer())[1]
    cookie = told(await s.fetch(get()))
    await s.fetch(get(("Cookie", f"a=1; {cookie}; b=2")))

    assert seen[-1].get(b"cookie") == b"a=1; b=2"
    assert cookies.is_ours(COOKIE)
    assert cookies.is_ours(COOKIE_PLAIN)


@pytest.mark.usefixtures("endpoint")
@pytest.mark.parametrize(
    ("status", "kind", "is_cleared"),
    [
        (200, "text/javascript; charset=utf-8", False),
        (200, "application/javascript", False),
        (200, "text/html", True),
        (404, "text/javascript", True),
        (410, "text/html", True),
        (304, "", False),
        (503, "text/html", False),
    ],
)
async def test_row84_a_worker_the_app_does_not_have_goes_whatever_the_browser_was_told(
    s: Scene, status: int, kind: str, is_cleared: bool
):
    """Row 84. A worker that answers for the app can set the cookie, and cannot answer the look for a newer worker."""
    s.agent.answers = lambda asked: asked.answer()
    cookie = told(await s.fetch(get()))
    s.agent.answers = lambda asked: asked.answer(status=status, fields=f"Content-Type: {kind}\r\n".encode())
    response = await s.fetch(get(("Cookie", cookie), ("Service-Worker", "script"), path="/sw.js", dest="serviceworker"))

    assert (response.get("clear-site-data") == CLEAR) is is_cleared


async def test_row84_behind_a_login_a_browser_is_told_before_it_is_sent_to_the_provider(s: Scene):
    await s.agent.bind("demo", policy=PolicySpec(basic_auth=("ann:secret-word",)))
    guarded = s.relay.registry.find(HOST)
    assert guarded is not None
    guarded.generation = 2
    response = await s.fetch(get())
    await s.agent.bind("demo")

    assert (response.status, response.get("clear-site-data")) == (401, CLEAR)


def head(*lines: str) -> RequestHead:
    given = ("GET / HTTP/1.1", "Host: a", "Sec-Fetch-Dest: document", *lines, "")
    return parse_request("".join(f"{line}\r\n" for line in given).encode())


@pytest.mark.usefixtures("endpoint")
@pytest.mark.parametrize(
    ("method", "fields", "is_told"),
    [
        ("GET", [("Sec-Fetch-Dest", "document")], True),
        ("GET", [("Sec-Fetch-Dest", "serviceworker")], True),
        ("GET", [("Accept", "text/html,*/*")], True),
        ("GET", [("Accept", "*/*")], False),
        ("GET", [("Sec-Fetch-Dest", "image"), ("Accept", "text/html")], False),
        ("GET", [("Sec-Fetch-Dest", "iframe")], False),
        ("GET", [("Sec-Fetch-Dest", "empty")], False),
        ("POST", [("Sec-Fetch-Dest", "document")], False),
    ],
)
async def test_row84_only_pages_that_are_opened_and_workers_scripts_are_told(s: Scene, method, fields, is_told):
    """Row 84. Another site's page could else clear an app's storage by an image or a form, as often as it likes."""
    s.agent.answers = lambda asked: asked.answer()
    response = await s.fetch(request_bytes(method, "/", host=HOST, fields=fields), method=method)

    assert (response.get("clear-site-data") == CLEAR) is is_told
    assert bool(set_cookies(response)) is is_told


async def test_row84_over_https_the_cookies_name_keeps_neighbours_out():
    lines = ClearSiteData(b"k" * 32, is_secure=True).lines("app.tun.example", 2, head())

    assert b"Set-Cookie: __Host-tunnel-gen=2-" in lines
    assert b"; Path=/; Max-Age=34560000; HttpOnly; SameSite=Lax; Secure\r\n" in lines


async def test_row84_the_secret_is_the_relays_and_each_hosts_own():
    def value(key: bytes, host: str, generation: int) -> bytes:
        return ClearSiteData(key, is_secure=True).lines(host, generation, head())

    a, b = b"k" * 32, b"l" * 32
    values = {value(a, "a", 2), value(a, "b", 2), value(a, "a", 3), value(b, "a", 2)}
    assert len(values) == 4
    assert value(a, "a", 2) in values


async def test_row69_what_one_answer_ends_is_limited():
    many = head("Cookie: " + "; ".join(f"c{number}=1" for number in range(100)))

    assert ClearSiteData(b"k" * 32, is_secure=True).lines("a", 2, many).count(b"Max-Age=0") == MAX_ENDED
