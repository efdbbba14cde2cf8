"""Web frameworks behind the tunnel, in a real Chromium: every cell of the guide's table, with the settings it names.

The relay has a public name here: frameworks trust `localhost` and what is below it, so a relay of that name would show
nothing. Chromium is told where the name leads. With a login the relay's name is below `localhost` after all, as the
test's provider has no certificate: what the login changes is looked at where the framework is content with the name.
"""

import asyncio
import itertools
import json
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, WebSocket
from playwright.async_api import Error as PageError

from tests.support.browser import fresh_profile, launched, sign_in
from tests.support.certificates import Authority
from tests.support.frameworks import ALL, GUIDE, Framework, Server, served, settings
from tests.support.idp import Provider
from tests.support.ports import free_port
from tests.support.raw_http import connect
from tests.support.stack import Stack
from tests.support.waiting import PATIENCE

pytestmark = [pytest.mark.browser, pytest.mark.timeout(1800)]
IN_LOOP = pytest.mark.asyncio(loop_scope="module")
"""Where the browser is."""

BROKEN_SECONDS = 20.0
"""Wait for something that the guide says does not come."""
DOMAIN, LOGIN_DOMAIN = "tun.example", "tun.localhost"
REWRITE = "--host-header=rewrite"
MARK = "the page was not loaded anew"
LOOKS = itertools.count()

KERNEL = """async () => {
  const xsrf = document.cookie.match(/_xsrf=([^;]+)/)?.[1]
  const made = await fetch('/api/kernels', {method: 'POST', headers: {'X-XSRFToken': xsrf}, body: '{}'})
  if (!made.ok) return `POST ${made.status}`
  const {id} = await made.json()
  const socket = new WebSocket(`${location.origin.replace('http', 'ws')}/api/kernels/${id}/channels`)
  await new Promise((done, failed) => { socket.onopen = done; socket.onerror = () => failed('no websocket') })
  const header = {msg_id: '1', msg_type: 'execute_request', session: '1', username: '', version: '5.3'}
  const content = {code: 'print(6 * 7)', silent: false, user_expressions: {}}
  const heard = new Promise((done) => { socket.onmessage = ({data}) => {
    if (typeof data === 'string' && data.includes('"stream"')) done(JSON.parse(data).content.text) } })
  socket.send(JSON.stringify({header, parent_header: {}, metadata: {}, content, channel: 'shell'}))
  return await heard
}"""


class PublicStack(Stack):
    """A relay with a public name, as visitors see it at `https://*.tun.example`."""

    def __init__(self, folder: Path, domain: str) -> None:
        self.domain = domain
        self.https_port = free_port()
        self.authority = Authority(folder / "tls")
        cert_file, key_file = self.authority.issue(domain)
        flags = [f"--https=127.0.0.1:{self.https_port}", f"--tls-cert={cert_file}", f"--tls-key={key_file}"]
        super().__init__(folder / "data", [*flags, f"--domain={domain}", f"--public-url=https://*.{domain}"])
        made = self.tokens("create")
        assert made.out, made.output
        self.token = made.out[0]

    @property
    def agent_flags(self) -> list[str]:
        relay = f"--relay=https://localhost:{self.https_port}"
        return [relay, f"--relay-ca={self.authority.ca_file}", f"--authtoken={self.token}", "--subdomain=demo"]

    @property
    def leads(self) -> Mapping[str, int]:
        """Where Chromium finds the public names, and the callback's on a relay below `localhost`."""
        names = {f"*.{self.domain}:443": self.https_port, f"*.{self.domain}:80": self.port}
        return {**names, "localhost:443": self.https_port} if self.domain == LOGIN_DOMAIN else names


@dataclass(frozen=True, slots=True)
class Row:
    """What the guide's table says of a framework; each `works`, or what does not."""

    as_it_comes: str
    with_setting: str
    with_rewrite: str


def table() -> dict[str, Row]:
    """The guide's table, of the frameworks that are run here."""
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in GUIDE.read_text().splitlines()]
    return {line[0]: Row(*line[1:]) for line in cells if len(line) == 4 and line[0] in {one.name for one in ALL}}


class Look:
    """A person who looks at one framework's app through the tunnel."""

    def __init__(self, page: Page, url: str, framework: Framework, server: Server) -> None:
        self.page, self.url, self.framework, self.server = page, url, framework, server
        self.ms = PATIENCE * 1000
        self.frames = ""
        self.has_frames = asyncio.Event()
        page.set_default_timeout(self.ms)  # a click that signs in waits for the app's first page
        page.on("websocket", self.listen)

    def listen(self, socket: WebSocket) -> None:
        """Keeps what the page's newest websocket sends and receives: an older one ended with its page."""
        self.frames = ""
        socket.on("framesent", self.add_frame)
        socket.on("framereceived", self.add_frame)

    def add_frame(self, frame: str | bytes) -> None:
        self.frames += f"{frame if isinstance(frame, str) else ''}\n"
        self.has_frames.set()

    async def found(self, expected: str) -> str:
        """What does not work, as the guide's table says it; what it expects not to work is not waited for as long."""
        checks: list[tuple[str, Callable[[], Awaitable[None]]]] = [("no page", self.opens)]
        if self.framework.live:
            checks.append(("no live reload", self.reloads))
        if self.framework.name in {"Jupyter", "Streamlit", "Gradio", "Flask"}:
            checks.append(("no websocket" if self.framework.name != "Gradio" else "no events", self.talks))
        if self.framework.form or self.framework.name in {"Streamlit", "Gradio"}:
            checks.append(("form refused" if self.framework.form else "upload refused", self.sends))
        if self.framework.old:
            checks.append(("redirect leads away", self.is_redirected))
        wrong = []
        for name, check in checks:
            self.ms = (BROKEN_SECONDS if name in expected else PATIENCE) * 1000
            try:
                await check()
            except (PageError, AssertionError, TimeoutError) as error:
                print(f"{self.framework.name}: {name}: {repr(error)[:600]}")
                wrong.append(name)
                if name == "no page":
                    break
        return ", ".join(wrong) or "works"

    async def opens(self) -> None:
        response = await self.page.goto(self.url + self.framework.path, timeout=PATIENCE * 1000)
        if "/oauth2/authorize" in self.page.url:
            await sign_in(self.page, "alice")
        elif response is not None:
            assert response.status == 200, response.status
        if self.framework.name == "Jupyter":
            await self.page.wait_for_url(re.compile(re.escape(self.url) + "/lab.*"), timeout=self.ms)
            await self.page.wait_for_selector("#jp-main-dock-panel, .jp-Launcher", timeout=self.ms)
        elif self.framework.name in {"Streamlit", "Gradio"}:
            await self.page.get_by_text("as it was").wait_for(timeout=self.ms)
        elif self.framework.name in {"Flask"}:
            await self.page.wait_for_selector("#text", state="attached", timeout=self.ms)
        elif self.framework.live:
            await self.text_is(self.source.read_text().split("'")[1])
        else:
            await self.text_is("as it was")

    @property
    def source(self) -> Path:
        """The file whose change shows up in the page: one line, `export const text = '…'`."""
        return self.server.folder / self.framework.live

    async def text_is(self, text: str) -> None:
        await (
            self.page.locator("#text")
            .get_by_text(text)
            .or_(self.page.locator("#text", has_text=text))
            .first.wait_for(timeout=self.ms)
        )

    async def reloads(self) -> None:
        """Changes the source, and looks for the change in the page that is open.

        Not before the page listens for changes: Next loads a page anew that connects after a change. The change stays
        for the looks that follow: Vite's watcher takes two changes in quick succession for one.
        """
        await self.listens_for_changes()
        await self.page.evaluate(f"window.mark = {json.dumps(MARK)}")
        text = f"as look {next(LOOKS)} left it"
        self.source.write_text(f"export const text = '{text}'\n")
        await self.text_is(text)
        assert await self.page.evaluate("window.mark") == MARK

    async def listens_for_changes(self) -> None:
        async with asyncio.timeout(self.ms / 1000):
            while not re.search(self.framework.live_once, self.frames, re.DOTALL):
                self.has_frames.clear()
                await self.has_frames.wait()

    async def talks(self) -> None:
        if self.framework.name == "Jupyter":
            async with asyncio.timeout(self.ms / 1000):
                assert await self.page.evaluate(KERNEL) == "42\n"
        elif self.framework.name == "Flask":
            await self.text_is("as it was")
        else:
            await self.page.get_by_label("word").fill("hello")
            await self.page.get_by_label("word").press("Enter")
            await self.page.get_by_text("heard hello").wait_for(timeout=self.ms)

    async def sends(self) -> None:
        if not self.framework.form:
            await self.page.set_input_files(
                "input[type=file]", {"name": "a.txt", "mimeType": "text/plain", "buffer": b"abc"}
            )
            await self.page.get_by_text("got abc").wait_for(timeout=self.ms)
            return
        await self.page.goto(self.url + self.framework.form, timeout=PATIENCE * 1000)
        await self.page.locator("input[name=word]").fill("hello")
        await self.page.get_by_role("button", name="Send").click()
        await self.page.locator("#done", has_text="hello").wait_for(timeout=self.ms)
        assert self.page.url.startswith(f"{self.url}/")

    async def is_redirected(self) -> None:
        response = await self.page.goto(self.url + self.framework.old, timeout=PATIENCE * 1000)
        assert response is not None
        assert self.page.url.startswith(f"{self.url}/"), self.page.url
        assert self.page.url != self.url + self.framework.old
        assert response.status == 200, response.status


@pytest.fixture(scope="module")
def relays(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, PublicStack]]:
    """A relay for those who are let in at once, and one for logins."""
    with ExitStack() as closing:
        found = {}
        for domain in (DOMAIN, LOGIN_DOMAIN):
            found[domain] = PublicStack(tmp_path_factory.mktemp("relay"), domain)
            closing.callback(found[domain].stop)
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium(relays: dict[str, PublicStack]) -> AsyncIterator[Browser]:
    """A Chromium that is told where the relays' names lead."""
    leads = {name: port for relay in relays.values() for name, port in relay.leads.items()}
    async with launched(leads=leads) as browser:
        yield browser


async def look(
    chromium: Browser, relay: PublicStack, framework: Framework, server: Server, expected: str, *flags: str
) -> str:
    """What does not work through a tunnel with these flags."""
    tunnel = relay.tunnel(f"localhost:{server.port}", *relay.agent_flags, *flags)
    try:
        async with fresh_profile(chromium) as context:
            return await Look(await context.new_page(), tunnel.url, framework, server).found(expected)
    finally:
        tunnel.child.stop()


MARKS = {"short": pytest.mark.thorough, "long": pytest.mark.long}
"""The mark of a framework, by the folder of tests/frameworks/ that installs it."""
FRAMEWORKS = [pytest.param(one, id=one.name, marks=MARKS[one.kit]) for one in ALL]


@IN_LOOP
@pytest.mark.parametrize("framework", FRAMEWORKS)
async def test_as_it_comes_and_with_a_rewritten_host(
    relays: dict[str, PublicStack], chromium: Browser, mock_idp: Provider, framework: Framework
) -> None:
    row = table()[framework.name]
    with served(framework, f"demo.{DOMAIN}", is_set=False) as server:
        assert await look(chromium, relays[DOMAIN], framework, server, row.as_it_comes) == row.as_it_comes
        assert await look(chromium, relays[DOMAIN], framework, server, row.with_rewrite, REWRITE) == row.with_rewrite
        if row.with_rewrite != "works":
            return  # the relay for logins has a name that the framework may be content with
        login = [REWRITE, *mock_idp.flags]
        found = await look(chromium, relays[LOGIN_DOMAIN], framework, server, row.with_rewrite, *login)
        assert found == row.with_rewrite


@IN_LOOP
@pytest.mark.parametrize("framework", FRAMEWORKS)
async def test_with_what_the_guide_says_to_set(
    relays: dict[str, PublicStack], chromium: Browser, framework: Framework
) -> None:
    row = table()[framework.name]
    if not settings(framework):
        assert row.with_setting == "–", "nothing to set"
        return
    with served(framework, f"demo.{DOMAIN}", is_set=True) as server:
        assert await look(chromium, relays[DOMAIN], framework, server, row.with_setting) == row.with_setting


@IN_LOOP
@pytest.mark.parametrize("framework", FRAMEWORKS)
async def test_a_login_in_front_changes_nothing(
    relays: dict[str, PublicStack], chromium: Browser, mock_idp: Provider, framework: Framework
) -> None:
    row = table()[framework.name]
    expected = row.with_setting if settings(framework) else row.as_it_comes
    with served(framework, f"demo.{LOGIN_DOMAIN}", is_set=True) as server:
        assert await look(chromium, relays[LOGIN_DOMAIN], framework, server, expected, *mock_idp.flags) == expected


def test_the_table_has_every_framework_that_is_run() -> None:
    assert set(table()) == {one.name for one in ALL}


@pytest.mark.long
async def test_next_builds_the_address_of_a_request_from_its_own_host(relays: dict[str, PublicStack]) -> None:
    relay, framework = relays[DOMAIN], next(one for one in ALL if one.name == "Next")
    with served(framework, f"demo.{DOMAIN}", is_set=True) as server:
        tunnel = relay.tunnel(f"localhost:{server.port}", *relay.agent_flags)
        context = ssl.create_default_context(cafile=str(relay.authority.ca_file))
        async with connect(relay.https_port, tls=context, sni=tunnel.host) as visitor:
            answer = await visitor.request("GET", "/away", host=tunnel.host)
    assert answer.get("location") == f"https://localhost:{server.port}/done?word=moved"
