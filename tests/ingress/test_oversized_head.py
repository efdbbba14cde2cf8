"""Requests that carry too much to be read: mostly cookies, which a neighbour can plant."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ingress.scene import HOST, Scene, error_of
from tests.pages.reading import PageRead
from tests.support.every import every
from tests.support.raw_http import Response
from tunnelctl.http1.head import MAX_FIELDS, MAX_REQUEST_HEAD
from tunnelrelay.ingress.oversized_head import glimpse
from tunnelrelay.model import Reply
from tunnelrelay.pages.cookies import CLEAR_COOKIES_PATH

pytestmark = pytest.mark.asyncio(loop_scope="module")

BOMB = b"Cookie: " + b"; ".join(b"c%d=%b" % (number, b"x" * 4000) for number in range(50)) + b"\r\n"
"""What 50 cookies of 4 KB, planted for the whole domain, make of every request."""
HTML = b"Accept: text/html\r\n"
NAVIGATES = b"Sec-Fetch-Site: %b\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-User: ?1\r\nSec-Fetch-Dest: document\r\n"
CLICK = NAVIGATES % b"same-origin"


def get(fields: bytes = HTML + BOMB) -> bytes:
    return b"GET /orders HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (HOST.encode(), fields)


def press(s: Scene, fields: bytes = CLICK, *, origin: bytes | None = b"", path: str = CLEAR_COOKIES_PATH) -> bytes:
    """The button's request as a browser sends it, cookies last. `origin` None: without; b"": our own."""
    own = s.relay.ingress.address.url(HOST).encode()
    line = b"" if origin is None else b"Origin: %b\r\n" % (origin or own)
    head = b"POST %b HTTP/1.1\r\nHost: %b\r\nContent-Length: 0\r\n" % (path.encode(), own.partition(b"://")[2])
    return head + line + HTML + fields + BOMB + b"\r\n"


def page(response: Response) -> PageRead:
    return PageRead(Reply(response.status, (), response.body))


def has_cleared(response: Response) -> bool:
    return response.get("clear-site-data") is not None


async def test_a_browser_whose_cookies_are_too_large_gets_a_page_with_a_button(s: Scene):
    """Row 69."""
    response = await s.fetch(get())
    assert (response.status, error_of(response)) == (431, "head_too_large")
    assert page(response).all("form") == [{"method": "post", "action": CLEAR_COOKIES_PATH}]
    assert HOST in page(response).text
    assert not has_cleared(response)


async def test_the_button_clears_the_cookies_though_its_own_request_is_too_large(s: Scene):
    """Row 69."""
    response = await s.fetch(press(s))
    assert (response.status, response.get("clear-site-data")) == (200, '"cookies"')
    assert [link["href"] for link in page(response).all("a")] == ["/"]


async def test_a_browser_that_says_how_it_fetches_behind_its_cookies_is_known_by_its_origin(s: Scene):
    assert has_cleared(await s.fetch(press(s, b"")))


@pytest.mark.parametrize("origin", [None, b"null", b"http://evil.localhost", b"https://" + HOST.encode()])
async def test_no_other_page_can_press_the_button(s: Scene, origin: bytes | None):
    """Row 69: it would sign people out of every neighbour."""
    response = await s.fetch(press(s, b"", origin=origin))
    assert response.status == 431
    assert not has_cleared(response)


@pytest.mark.parametrize(
    "fields",
    [
        NAVIGATES % b"same-site",
        NAVIGATES % b"cross-site",
        CLICK.replace(b"navigate", b"cors"),
        CLICK.replace(b"Sec-Fetch-User: ?1\r\n", b""),
        CLICK + b"Origin: http://evil.localhost\r\n",
    ],
)
async def test_only_a_persons_click_on_our_own_page_counts(s: Scene, fields: bytes):
    """Row 69."""
    assert not has_cleared(await s.fetch(press(s, fields)))


async def test_opening_the_buttons_address_clears_nothing(s: Scene):
    """Row 69."""
    response = await s.fetch(press(s).replace(b"POST", b"GET").replace(b"Content-Length: 0\r\n", b""))
    assert response.status == 431
    assert not has_cleared(response)


@pytest.mark.parametrize("path", [CLEAR_COOKIES_PATH + "?x", CLEAR_COOKIES_PATH + "/", "/"])
async def test_no_other_address_clears_anything(s: Scene, path: str):
    assert not has_cleared(await s.fetch(press(s, path=path)))


async def test_a_button_pressed_when_all_is_well_again_leads_home(s: Scene):
    response = await s.fetch(press(s).replace(BOMB, b""))
    assert response.status == 303
    assert (response.get("location") or "").endswith(f"{HOST}:{s.port}/")
    assert not has_cleared(response)


async def test_programs_get_json_also_for_what_was_read_in_part(s: Scene):
    response = await s.fetch(get(BOMB))
    assert response.get("content-type") == "application/json"


async def test_too_many_fields_get_the_same_page(s: Scene):
    response = await s.fetch(get(HTML + b"A: b\r\n" * MAX_FIELDS))
    assert response.status == 431
    assert page(response).all("form")


async def test_the_access_log_says_which_request_was_too_large(s: Scene):
    await s.fetch(get())
    assert [(entry.method, entry.host, entry.path, entry.status) for entry in s.log] == [("GET", HOST, "/orders", 431)]


async def test_a_host_that_is_none_is_offered_no_button(s: Scene):
    response = await s.fetch(get().replace(HOST.encode(), b"a..b"))
    assert response.status == 431
    assert not page(response).all("form")


async def test_tls_on_the_port_for_plain_http_is_refused_at_once(s: Scene):
    response = await s.fetch(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x99" * 32)
    assert (response.status, error_of(response)) == (400, "bad_request")


WHOLE = get(HTML)


@every("end", range(len(WHOLE)))
async def test_a_head_cut_anywhere_is_told_from_its_whole_lines_or_not_at_all(end: int):
    head = glimpse(WHOLE[:end])
    if head is None:
        assert HOST.encode() + b"\r\n" not in WHOLE[:end]
    else:
        assert (head.target, head.host) == (b"/orders", HOST.encode())
        assert set(head.fields) <= {(b"Host", HOST.encode()), (b"Accept", b"text/html")}


@given(st.binary(max_size=200), st.integers(0, 40))
@settings(max_examples=500)
async def test_whatever_stands_behind_the_limit_changes_nothing_that_was_read(noise: bytes, at: int):
    """Row 103."""
    head = glimpse(WHOLE[: len(WHOLE) - at] + noise)
    assert head is None or (head.method, head.target) == (b"GET", b"/orders")
    assert glimpse(noise) is None or noise.count(b"\r\n") > 1


@pytest.mark.parametrize(
    "part",
    [b"", b"GET / HTTP/1.1\r\n", b"\x00" * 100, b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n", b"x" * MAX_REQUEST_HEAD],
)
async def test_what_is_no_head_is_not_read(part: bytes):
    assert glimpse(part) is None
