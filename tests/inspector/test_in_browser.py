"""The inspector as people meet it: requests as they come, one of them in detail, sent again; with hostile words."""

import asyncio
import json
import shlex
import subprocess
from collections.abc import AsyncIterator
from urllib.parse import parse_qs

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, Page, Route, expect

from tests.inspector.making import captured
from tests.inspector.staged import Stage, staged
from tests.support.app_routes import sample_app
from tests.support.apps import Exchange
from tests.support.axe import with_axe
from tests.support.browser import launched
from tests.support.every import every
from tests.support.looks import FITS, PHONE, look_at, unreadable
from tunnelctl.agent.status import SessionState

pytestmark = [pytest.mark.thorough, pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

HOSTILE = "\"'><script>window.hit = 1</script><img src=x onerror='window.hit = 1'></textarea><svg/onload=window.hit=1>"
HOSTILE_PATH = "/%3Cscript%3Ewindow.hit=1%3C/script%3E?q=%22%3E%3Cimg%20src=x%20onerror=window.hit=1%3E&javascript:hit"
TABS = ("Summary", "Headers", "Body", "Raw")
SECRET = "s3cret-that-no-page-may-have"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """In the loop of the module's relay."""
    async with launched() as chromium:
        yield chromium


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    with sample_app() as app:
        for path, (kind, body) in BODIES.items():
            app.routes[path] = answering(kind, body)
        async with staged(tmp_path_factory.mktemp("relay"), app) as stage:
            yield stage


@pytest_asyncio.fixture(loop_scope="module")
async def page(stage: Stage, browser: Browser) -> AsyncIterator[Page]:
    """The list, with nothing in it."""
    stage.store.clear()
    stage.said.clear()
    async with stage.page(browser) as page:
        await expect(page.get_by_role("heading", name="No requests yet")).to_be_visible()
        yield page


BODIES = {
    "/good.json": ("application/json", b'{"id":12345678901234567890,"tags":["a","b"],"none":{},"more":null}'),
    "/bad.json": ("application/json", b'{"a": 1,\n "b": [1, 2,, 3]}'),
    "/good.xml": ("application/atom+xml", b"<feed><title>Shop</title><entry/></feed>"),
    "/bad.xml": ("text/xml", b"<feed>\n<title>Shop</feed>"),
    "/page.html": ("text/html", HOSTILE.encode()),
    "/picture.png": ("image/png", bytes(range(256))),
}


def answering(kind: str, body: bytes):
    async def answer(exchange: Exchange) -> None:
        await exchange.respond(200, body, [("Content-Type", kind), ("X-Words", HOSTILE)])

    return answer


def row(page: Page, words: str) -> Locator:
    return page.locator("#rows tr").filter(has_text=words)


async def open_row(page: Page, words: str) -> Locator:
    """The pane of that request, open."""
    await row(page, words).get_by_role("button").click()
    pane = page.get_by_role("region", name="Details")
    await expect(pane.get_by_role("heading", level=2)).to_contain_text(words)
    return pane


async def choose(page: Page, tab: str) -> Locator:
    await page.get_by_role("tab", name=tab).click()
    return page.get_by_role("tabpanel")


async def targets(page: Page) -> list[str]:
    """What the rows are about, from the top."""
    return await page.locator("#rows .r-request bdi:nth-of-type(1)").evaluate_all(
        "all => all.filter(e => e.closest('button')).map(e => e.textContent)"
    )


# The list


async def test_an_empty_list_tells_the_addresses_and_how_to_ask(stage: Stage, page: Page):
    address = f"http://shop.localhost:{stage.world.port}"
    await expect(page.get_by_role("link", name=address)).to_be_visible()
    await expect(page.locator("#empty pre")).to_have_text(f"curl {address}")


async def test_requests_show_up_as_they_come_newest_first(stage: Stage, page: Page):
    await stage.visit("GET", "/echo?first")
    await expect(row(page, "/echo?first")).to_contain_text("200")
    await stage.visit("POST", "/status/404", body=b"x")
    await expect(row(page, "/status/404")).to_contain_text("404")
    await stage.visit("GET", "/", host="preview")

    await expect(page.locator("#rows tr")).to_have_count(3)
    assert await targets(page) == ["/", "/status/404", "/echo?first"]
    first = row(page, "/echo?first")
    await expect(first).to_contain_text("GET")
    await expect(first).to_contain_text("shop")
    await expect(first).to_contain_text("127.0.0.1")
    await expect(first).to_contain_text("open to everybody")
    await expect(first).to_contain_text(" ms")
    await expect(row(page, "preview")).to_contain_text("none")
    await expect(page.locator("#count")).to_have_text("3 requests")


async def test_a_request_that_goes_on_is_shown_and_then_its_answer(stage: Stage, page: Page):
    waiting = asyncio.ensure_future(stage.visit("GET", "/held"))
    await expect(row(page, "/held")).to_contain_text("…")
    pane = await open_row(page, "/held")
    await expect(pane).to_contain_text("not yet")
    button = await row(page, "/held").get_by_role("button").element_handle()
    assert button is not None
    stage.app.open_gate("held")
    await waiting
    await expect(row(page, "/held")).to_contain_text("200")
    await expect(pane).to_contain_text("200 OK")
    assert await button.evaluate("button => button.isConnected")  # a click that began before the answer is not lost


async def test_what_comes_while_the_list_is_paused_waits(stage: Stage, page: Page):
    await page.get_by_role("button", name="Pause").click()
    await stage.visit("GET", "/echo?waits")
    await expect(page.get_by_role("button", name="Resume (1 new)")).to_be_visible()
    await expect(row(page, "/echo?waits")).to_have_count(0)
    await page.get_by_role("button", name="Resume").click()
    await expect(row(page, "/echo?waits")).to_have_count(1)

    await page.get_by_role("button", name="Pause").click()
    await page.evaluate(HIDE, True)
    await stage.visit("GET", "/echo?missed")
    async with page.expect_response("**/inspect/now"):
        await page.evaluate(HIDE, False)
    await expect(row(page, "/echo?missed")).to_have_count(0)
    await page.get_by_role("button", name="Resume").click()
    await expect(row(page, "/echo?missed")).to_have_count(1)


async def test_a_flood_leaves_the_newest_rows_and_no_more(stage: Stage, page: Page):
    for number in range(3000):
        captured(stage.store, f"GET /flood/{number} HTTP/1.1", tunnel="shop")
        if number % 100 == 0:
            await asyncio.sleep(0)
    await expect(page.locator("#rows tr").first).to_contain_text("/flood/2999")
    await expect(page.locator("#rows tr")).to_have_count(500)
    await expect(page.locator("#count")).to_have_text("1,000 requests")


async def test_clearing_asks_first_and_empties_list_and_store(stage: Stage, page: Page):
    await stage.visit("GET", "/echo?gone")
    await expect(row(page, "/echo?gone")).to_be_visible()
    await page.get_by_role("button", name="Clear").click()
    await page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    await expect(row(page, "/echo?gone")).to_be_visible()
    await page.get_by_role("button", name="Clear").click()
    await page.get_by_role("dialog").get_by_role("button", name="Clear").click()
    await expect(page.get_by_role("heading", name="No requests yet")).to_be_visible()
    assert not list(stage.store.newest())


# The filter


async def some(stage: Stage) -> None:
    """Requests that differ in everything that can be filtered by."""
    await stage.visit("GET", "/echo?apple")
    await stage.visit("POST", "/echo?pear", ("X-Kind", "Fruit basket"), body=b"x")
    await stage.visit("GET", "/status/404")
    await stage.visit("GET", "/bytes/20000")
    await stage.visit("GET", "/echo?away", host="preview")
    captured(stage.store, "GET /slow HTTP/1.1", tunnel="shop").over_at += 3


ALL = ["/slow", "/echo?away", "/bytes/20000", "/status/404", "/echo?pear", "/echo?apple"]


@every(
    "fields, fit",
    [
        ({"Path": "ECHO"}, ["/echo?away", "/echo?pear", "/echo?apple"]),
        ({"Path": "apple"}, ["/echo?apple"]),
        ({"Method": "post"}, ["/echo?pear"]),
        ({"Status": "404"}, ["/status/404"]),
        ({"Status": "4xx"}, ["/status/404"]),
        ({"Status": "none"}, ["/echo?away"]),
        ({"Tunnel": "preview"}, ["/echo?away"]),
        ({"Size": "over 19 kB"}, ["/bytes/20000"]),
        ({"Took": "at least 2.5 s"}, ["/slow"]),
        ({"Header": "x-kind: fruit"}, ["/echo?pear"]),
        ({"Header": "octet-stream"}, ["/bytes/20000"]),
        ({"Path": "echo", "Method": "GET", "Status": "2xx"}, ["/echo?apple"]),
        ({"Path": "nothing-has-this"}, []),
    ],
)
async def test_every_field_that_is_filled_in_must_fit(stage: Stage, browser: Browser, fields, fit):
    stage.store.clear()
    await some(stage)
    async with stage.page(browser) as page:
        await expect(page.locator("#rows tr")).to_have_count(len(ALL))
        assert await targets(page) == ALL
        await page.get_by_text("More filters").click()
        for label, text in fields.items():
            field = page.get_by_role("search").get_by_label(label, exact=True)
            await (field.select_option(text) if label == "Tunnel" else field.fill(text))
        await expect(page.locator("#rows tr")).to_have_count(len(fit))
        assert await targets(page) == fit
        fragment = parse_qs(page.url.partition("#")[2])
        assert {*fragment} == {{"Took": "duration"}.get(label, label.lower()) for label in fields}

        await page.reload()
        await expect(page.locator("#count")).to_contain_text("fit")
        await expect(page.locator("#rows tr")).to_have_count(len(fit))
        await page.get_by_role("button", name="Show all").click()
        await expect(page.locator("#rows tr")).to_have_count(len(ALL))
        assert "#" not in page.url


async def test_a_filter_holds_for_what_comes_later(stage: Stage, page: Page):
    await page.get_by_text("More filters").click()
    await page.get_by_label("Header", exact=True).fill("x-kind: fruit")
    await stage.visit("GET", "/echo?other")
    await stage.visit("GET", "/echo?wanted", ("X-Kind", "fruit"))
    await expect(page.locator("#count")).to_have_text("1 request of 2 fit")
    assert await targets(page) == ["/echo?wanted"]


async def test_a_field_that_cannot_be_read_says_how_to_write_it(page: Page):
    await page.get_by_label("Status").fill("teapot")
    await expect(page.get_by_role("alert")).to_contain_text("Status: write it like 404, 5xx")
    await page.get_by_label("Status").fill("")
    await expect(page.get_by_role("alert")).to_have_count(0)


# One request


async def test_the_summary_splits_query_and_form_and_says_where_the_time_went(stage: Stage, page: Page):
    form = ("Content-Type", "application/x-www-form-urlencoded")
    await stage.visit("POST", f"/echo?size=large&token={SECRET}", form, body=b"name=Ann+B&password=" + SECRET.encode())
    pane = await open_row(page, "/echo?size=large")
    query, fields = pane.get_by_role("table", name="Query parameters"), pane.get_by_role("table", name="Form fields")
    assert await query.locator("tr").all_inner_texts() == ["size\tlarge", "token\t***"]
    assert await fields.locator("tr").all_inner_texts() == ["name\tAnn B", "password\t***"]
    parts = await pane.get_by_role("region", name="Where the time went").get_by_role("listitem").all_inner_texts()
    assert [part.split()[0] for part in parts][:3] == ["Relay", "Connect", "Send"]
    await expect(pane.locator("dt", has_text="Let in by").locator("+ dd")).to_have_text("open to everybody")
    assert SECRET not in await page.content()


async def test_headers_of_both_are_listed_and_credentials_are_not(stage: Stage, page: Page):
    await stage.visit("GET", "/cookies", ("Authorization", f"Bearer {SECRET}"), ("X-Twice", "a"), ("X-Twice", "b"))
    await open_row(page, "/cookies")
    panel = await choose(page, "Headers")
    rows = await panel.locator("tr").all_inner_texts()
    assert {"Authorization\tBearer ***", "X-Twice\ta", "X-Twice\tb", "Set-Cookie\ta=***; Path=/"} <= {*rows}
    assert SECRET not in await page.content()


@every(
    "path, shown, about",
    [
        ("/good.json", '{\n  "id": 12345678901234567890,\n  "tags": [\n    "a",\n    "b"\n  ],\n  "none": {},\n', ""),
        ("/bad.json", '{"a": 1,\n "b": [1, 2,, 3]}', "Not valid JSON: a value is expected here, at line 2, column 13."),
        ("/good.xml", "<feed>\n  <title>Shop</title>\n  <entry/>\n</feed>", ""),
        ("/bad.xml", "<feed>\n<title>Shop</feed>", "Not valid XML: </title> is expected here, at line 2, column 12."),
        ("/page.html", HOSTILE, "text/html"),
        ("/picture.png", "000040  40 41 42 43 44 45 46 47 48 49 4a 4b 4c 4d 4e 4f  @ABCDEFGHIJKLMNO", "image/png"),
    ],
)
async def test_a_body_is_shown_by_its_type(stage: Stage, page: Page, path, shown, about):
    await stage.visit("GET", path)
    await open_row(page, path)
    panel = (await choose(page, "Body")).get_by_role("region", name="Response")
    text = await panel.locator("pre").text_content()
    assert text is not None
    assert shown in text
    await expect(panel).to_contain_text(about)
    if "Not valid" in about:
        assert await panel.locator("mark").text_content() == ("," if "JSON" in about else "<")


async def test_a_long_body_says_how_much_of_it_was_kept(stage: Stage, page: Page):
    await stage.visit("GET", "/bytes/200000")
    await open_row(page, "/bytes/200000")
    await expect(await choose(page, "Body")).to_contain_text("200 kB, of which the first 66 kB were kept")


async def test_the_raw_tab_has_heads_and_bodies_as_they_were(stage: Stage, page: Page):
    await stage.visit("POST", "/echo", ("X-Own", "1"), body=b"the body")
    await open_row(page, "/echo")
    panel = await choose(page, "Raw")
    request, response = await panel.locator("pre").all_text_contents()
    assert request.startswith("POST /echo HTTP/1.1\r\n")
    assert request.endswith("\n\nthe body")
    assert "X-Own: 1" in request
    assert response.startswith("HTTP/1.1 200 OK\r\n")


async def test_what_is_open_stays_so_after_a_reload(stage: Stage, page: Page):
    await stage.visit("GET", "/echo?kept-open")
    await open_row(page, "/echo?kept-open")
    await page.reload()
    await expect(page.get_by_role("region", name="Details")).to_contain_text("/echo?kept-open")


async def test_an_agent_that_keeps_no_requests_says_so(tmp_path, browser: Browser):
    with sample_app() as app:
        async with staged(tmp_path, app, inspects=False) as stage, stage.page(browser) as page:
            await stage.visit("GET", "/")
            await expect(page.get_by_role("heading", name="Requests are not kept")).to_be_visible()
            await expect(page.locator("#empty")).to_contain_text("--inspect=false")
            await expect(page.locator("#empty").get_by_role("link")).to_have_count(0)


async def test_what_comes_while_the_list_is_fetched_is_not_lost(stage: Stage, page: Page):
    fetched, going_on = asyncio.Event(), asyncio.Event()

    async def hold(route: Route) -> None:
        answer = await route.fetch()
        fetched.set()
        await going_on.wait()
        await route.fulfill(response=answer)

    await page.route("**/api/requests/http?format=summary*", hold)
    await page.evaluate(HIDE, True)
    await page.evaluate(HIDE, False)
    await fetched.wait()
    await stage.visit("GET", "/echo?meanwhile")
    await expect(row(page, "/echo?meanwhile")).to_contain_text("200")
    async with page.expect_response("**/api/requests/http?format=summary*") as answer:
        going_on.set()
    await (await answer.value).finished()
    await stage.visit("GET", "/echo?later")
    await expect(row(page, "/echo?later")).to_contain_text("200")
    await expect(row(page, "/echo?meanwhile")).to_contain_text("200")


# Sent again


async def test_replay_sends_the_very_request_and_shows_what_came_of_it(stage: Stage, page: Page):
    await stage.visit("POST", f"/echo?k={SECRET}", ("Authorization", f"Bearer {SECRET}"), body=b"again")
    before = len(stage.app.requests)
    pane = await open_row(page, "/echo?k=")
    await pane.get_by_role("button", name="Replay", exact=True).click()
    await expect(page.locator("#rows tr")).to_have_count(2)
    await expect(pane).to_contain_text("Replay of")
    (seen,) = stage.app.requests[before:]
    assert (seen.method, seen.target) == ("POST", f"/echo?k={SECRET}")
    assert seen.get("authorization") == f"Bearer {SECRET}"


async def test_replay_with_changes_sends_what_was_changed_and_the_rest_as_it_was(stage: Stage, page: Page):
    auth = ("Authorization", f"Bearer {SECRET}")
    await stage.visit("POST", "/echo?old", auth, ("X-Drop", "1"), ("X-Own", "old"), body=b'{"n": 1}')
    before = len(stage.app.requests)
    pane = await open_row(page, "/echo?old")
    await pane.get_by_role("button", name="Replay with changes").click()
    dialog = page.get_by_role("dialog")
    headers = await dialog.get_by_label("Headers").input_value()
    assert "Authorization: Bearer ***" in headers
    lines = [line.replace("old", "new") for line in headers.split("\n") if not line.startswith("X-Drop")]
    await dialog.get_by_label("Headers").fill("\n".join([*lines, "X-Added: yes"]))
    await dialog.get_by_label("Method").fill("PUT")
    await dialog.get_by_label("Path").fill("/echo?new")
    await dialog.get_by_label("Body").fill('{"n": "zwei – 2"}')
    await dialog.get_by_role("button", name="Send").click()
    await expect(pane.get_by_role("heading", level=2)).to_contain_text("PUT /echo?new")
    await expect(dialog).to_be_hidden()
    (seen,) = stage.app.requests[before:]
    assert (seen.method, seen.target) == ("PUT", "/echo?new")
    assert (seen.get("x-own"), seen.get("x-added"), seen.get("x-drop")) == ("new", "yes", "")
    assert seen.get("authorization") == f"Bearer {SECRET}"
    await expect(await choose(page, "Body")).to_contain_text("zwei – 2")


async def test_what_cannot_be_sent_is_said_in_the_dialog(stage: Stage, page: Page):
    await stage.visit("GET", "/echo")
    pane = await open_row(page, "/echo")
    await pane.get_by_role("button", name="Replay with changes").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Headers").fill("no colon")
    await dialog.get_by_role("button", name="Send").click()
    await expect(dialog.get_by_role("alert")).to_contain_text("Write each header as Name: value")
    await dialog.get_by_label("Headers").fill("A: b")
    await dialog.get_by_label("Path").fill("no slash")
    await dialog.get_by_role("button", name="Send").click()
    await expect(dialog.get_by_role("alert")).to_contain_text("cannot be replayed")


async def test_a_har_is_downloaded_without_secrets(stage: Stage, page: Page):
    await stage.visit("GET", f"/echo?token={SECRET}", ("Cookie", f"sid={SECRET}"))
    pane = await open_row(page, "/echo?token=")
    for place in (page.get_by_role("link", name="Download HAR"), pane.get_by_role("link", name="HAR")):
        async with page.expect_download() as download:
            await place.click()
        har = (await (await download.value).path()).read_text()
        (entry,) = json.loads(har)["log"]["entries"]
        assert entry["request"]["method"] == "GET"
        assert SECRET not in har


# curl


async def curl_of(page: Page, words: str) -> str:
    pane = await open_row(page, words)
    command = await pane.get_by_role("button", name="Copy as curl").get_attribute("data-copy")
    assert command is not None
    return command


def as_a_shell_reads_it(command: str) -> list[str]:
    """The arguments that curl gets, when a shell runs this."""
    script = "curl() { printf '%s\\0' \"$@\"; }; " + command
    done = subprocess.run(["sh", "-c", script], capture_output=True, check=True, cwd="/", text=True)
    assert not done.stderr
    return done.stdout.split("\0")[:-1]


async def test_a_request_is_copied_as_a_command_for_curl(stage: Stage, page: Page):
    await stage.visit(
        "POST", "/echo?a=1", ("Authorization", f"Bearer {SECRET}"), ("X-Own", "it's"), body=b"@/etc/passwd"
    )
    command = await curl_of(page, "/echo?a=1")
    given = as_a_shell_reads_it(command)
    assert given[:3] == ["--globoff", "--path-as-is", f"http://shop.localhost:{stage.world.port}/echo?a=1"]
    assert {"POST", "X-Own: it's", "Authorization: Bearer ***"} <= {*given}
    assert given[given.index("--data-raw") + 1] == "@/etc/passwd"
    assert SECRET not in command
    await page.get_by_role("button", name="Copy as curl").click()
    await expect(page.locator("#toasts")).to_contain_text("*** stands for a secret in Authorization: put yours in")


@every("path", ["/echo?'$(touch${IFS}/tmp/x)'", "/echo?`id`;id|id&id>x", "//evil.example/echo", "/../echo?a[1-3]={b}"])
async def test_hostile_words_stay_one_argument_and_go_to_no_other_host(stage: Stage, page: Page, path):
    stage.store.clear()
    captured(stage.store, f"GET {path} HTTP/1.1", "X-Bad: '; id #", tunnel="shop")
    await expect(page.locator("#rows tr")).to_have_count(1)
    given = as_a_shell_reads_it(await curl_of(page, path))
    assert given[2] == f"http://shop.localhost:{stage.world.port}{path}"
    assert given[-1] == "X-Bad: '; id #"


async def test_a_body_with_control_bytes_is_not_put_into_the_command(stage: Stage, page: Page):
    await stage.visit("POST", "/echo", body=b"\x1b[201~; id\n")
    command = await curl_of(page, "/echo")
    assert shlex.split(command)[-2:] == ["--data-binary", "@body"]
    assert "\x1b" not in command


# Keys


async def test_the_keys_go_through_the_list(stage: Stage, page: Page):
    for name in ("one", "two", "three"):
        await stage.visit("GET", f"/echo?{name}")
    await expect(page.locator("#rows tr")).to_have_count(3)
    pane = page.get_by_role("region", name="Details")
    await page.locator("main").focus()
    await page.keyboard.press("j")
    await expect(row(page, "/echo?three")).to_have_attribute("aria-current", "true")
    await expect(pane).to_be_hidden()
    await page.keyboard.press("j")
    await page.keyboard.press("Enter")
    await expect(pane).to_contain_text("/echo?two")
    await page.keyboard.press("j")
    await expect(pane).to_contain_text("/echo?one")
    await page.keyboard.press("k")
    await expect(pane).to_contain_text("/echo?two")
    await page.keyboard.press("r")
    await expect(page.locator("#rows tr")).to_have_count(4)
    await expect(pane).to_contain_text("Replay of")
    await page.keyboard.press("/")
    await expect(page.get_by_label("Path")).to_be_focused()
    await page.keyboard.type("jk")
    await expect(page.get_by_label("Path")).to_have_value("jk")
    await page.keyboard.press("Escape")
    await page.keyboard.press("Escape")
    await expect(pane).to_be_hidden()


async def test_the_tabs_are_reached_by_arrows(stage: Stage, page: Page):
    await stage.visit("GET", "/echo?tabs")
    await open_row(page, "/echo?tabs")
    await page.get_by_role("tab", name="Summary").focus()
    await page.keyboard.press("ArrowLeft")
    await expect(page.get_by_role("tab", name="Raw")).to_be_focused()
    await expect(page.get_by_role("tab", name="Raw")).to_have_attribute("aria-selected", "true")
    await page.keyboard.press("ArrowRight")
    await expect(page.get_by_role("tab", name="Summary")).to_be_focused()


# Hostile words, and how it looks


async def hostile(stage: Stage) -> None:
    """Requests with words in every place that a visitor or an app writes."""
    await stage.visit("POST", HOSTILE_PATH, ("X-Words", HOSTILE), ("Content-Type", HOSTILE), body=HOSTILE.encode())
    await stage.visit("GET", "/page.html", ("Content-Type", "text/html"), body=HOSTILE.encode())
    form = HOSTILE.replace("&", "%26").encode()
    await stage.visit("POST", "/echo?form", ("Content-Type", "application/x-www-form-urlencoded"), body=form + b"=1")
    parts = f'--B\r\nContent-Disposition: form-data; name="<b>x"; filename="{"x" * 80}<i>"\r\n\r\n{HOSTILE}\r\n--B--'
    await stage.visit("POST", "/echo?parts", ("Content-Type", "multipart/form-data; boundary=B"), body=parts.encode())
    await stage.visit("POST", "/echo?json", ("Content-Type", "application/json"), body=json.dumps([HOSTILE]).encode())
    await stage.visit("GET", "/" + "long-" * 100, ("X-Long", "x" * 500))


async def test_hostile_words_do_not_run_in_any_part_of_the_page(stage: Stage, page: Page):
    """Row 151."""
    await hostile(stage)
    await expect(page.locator("#rows tr")).to_have_count(6)
    for at in range(6):
        await page.locator("#rows tr").nth(at).get_by_role("button").click()
        for tab in TABS:
            await choose(page, tab)
        await page.get_by_role("button", name="Replay with changes").click()
        await expect(page.get_by_role("dialog")).to_be_visible()
        await page.keyboard.press("Escape")
    assert await page.evaluate("window.hit") is None
    assert await page.evaluate("document.querySelectorAll('#detail :is(script, img, b, i)').length") == 0
    assert stage.said == []


@every("tab", [*TABS, ""])
async def test_it_can_be_read_and_used_on_every_screen(stage: Stage, browser: Browser, tab):
    stage.store.clear()
    stage.said.clear()
    await hostile(stage)
    async with stage.page(browser) as page:
        await with_axe(page)
        await page.reload()
        await expect(page.locator("#rows tr")).to_have_count(6)
        if tab:
            await page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
            await page.locator("#rows tr").nth(1).get_by_role("button").click()
            await choose(page, tab)
        look = await look_at(page)
        assert look.broken == {}
        assert unreadable(look) == []
        assert look.complaints == []
    assert stage.said == []


async def test_the_dialog_fits_a_phone(stage: Stage, page: Page):
    await stage.visit("GET", "/echo")
    await page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    pane = await open_row(page, "/echo")
    await pane.get_by_role("button", name="Replay with changes").click()
    await page.get_by_role("dialog").get_by_role("button", name="Send").scroll_into_view_if_needed()
    box = await page.get_by_role("dialog").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= PHONE[0]
    assert await page.evaluate(FITS)


# The status


async def test_the_status_tells_of_the_session_the_tunnels_and_the_options(stage: Stage, browser: Browser):
    stage.said.clear()
    async with stage.page(browser, "/status") as page:
        await with_axe(page)
        await page.reload()
        shop = page.get_by_role("region", name="shop")
        await expect(shop).to_contain_text("anyone who has the address")
        await expect(shop.get_by_role("link").first).to_have_attribute(
            "href", f"http://shop.localhost:{stage.world.port}"
        )
        await expect(shop).to_contain_text(f"http://127.0.0.1:{stage.app.port}")
        count = shop.get_by_role("row", name="Requests").get_by_role("cell").first
        before = int((await count.inner_text()).replace(",", ""))
        await stage.visit("GET", "/echo")
        await expect(count).to_have_text(f"{before + 1:,}")
        session = page.get_by_role("region", name="Session")
        await expect(session).to_contain_text("online")
        await expect(session).to_contain_text("9.9.9")
        await expect(page.get_by_role("region", name="Options")).to_contain_text("Way to the relay")
        look = await look_at(page)
        assert (look.broken, unreadable(look), look.complaints) == ({}, [], [])
    assert stage.said == []


async def test_the_page_says_when_the_relay_is_away_and_when_the_agent_is_gone(tmp_path, browser: Browser):
    with sample_app() as app:
        async with staged(tmp_path, app) as stage, stage.page(browser, "/status") as page:
            session = page.get_by_role("complementary").get_by_role("status")
            await expect(session).to_contain_text("online")
            await stage.world.relay.stop()
            await expect(session).to_contain_text("reconnecting")
            await stage.world.start_relay()
            await stage.agent.agent.online()
            assert stage.agent.agent.status.state is SessionState.ONLINE
            await expect(session).to_contain_text("online")
            await stage.server.__aexit__(None, None, None)
            await expect(session).to_contain_text("the agent does not answer; it may have ended")


async def test_the_list_is_whole_again_when_the_page_was_hidden(stage: Stage, page: Page):
    await page.evaluate(HIDE, True)
    await stage.visit("GET", "/echo?while-hidden")
    await expect(page.locator("#rows tr")).to_have_count(0)
    await page.evaluate(HIDE, False)
    await expect(row(page, "/echo?while-hidden")).to_be_visible()


HIDE = """is => { Object.defineProperty(document, 'hidden', {configurable: true, value: is})
    document.dispatchEvent(new Event('visibilitychange')) }"""
