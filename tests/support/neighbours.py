"""Two endpoints of different owners on one relay: `app`, behind a login, and `evil`, an attacker's, open to all.

All names are below `tun.localhost`, which is one site for a browser, like an operator's domain. `rogue.tun.localhost`
is an attacker's web server that got a name there without the relay, so that no relay filters the cookies it sets.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.async_api import Browser, BrowserContext, Page

from tests.support.app_routes import SECRET, sample_app
from tests.support.apps import App, Exchange
from tests.support.browser import fresh_profile, sign_in
from tests.support.idp import Provider, mock_provider
from tests.support.stack import Stack, Tunnel, stacked
from tests.support.stack_tls import DOMAIN, SecureStack


@dataclass(frozen=True)
class Neighbours:
    """A relay with two endpoints of different owners, and the browser of their visitors.

    Attributes:
        app: The upstream of the tunnel `door`, which lets in people of example.com.
        evil: The attacker's upstream, of the tunnel `trap`.
    """

    stack: Stack
    idp: Provider
    app: App
    evil: App
    door: Tunnel
    trap: Tunnel
    chromium: Browser

    @property
    def rogue(self) -> str:
        """The URL of the attacker's upstream under a sibling host's name, reached without the relay."""
        return f"http://rogue.{DOMAIN}:{self.evil.port}"

    def serve(self, path: str, body: str, *fields: tuple[str, str]) -> None:
        """Make the attacker's upstream serve a page at a path."""
        serve(self.evil, path, body, *fields)

    @asynccontextmanager
    async def signed_in(self, user: str = "alice") -> AsyncIterator[tuple[BrowserContext, Page]]:
        """Context manager: a browser profile in which a user is signed in at `app`, and the page that shows `app`."""
        async with fresh_profile(self.chromium) as context:
            page = await context.new_page()
            await self.log_in(page, user)
            self.app.requests.clear()
            yield context, page

    async def log_in(self, page: Page, user: str) -> None:
        """Open `app` in a browser that is not signed in, and sign in as a user."""
        await page.goto(self.door.url)
        await sign_in(page, user)
        await shows_app(page)


async def shows_app(page: Page) -> None:
    """Wait until the browser shows the page of `app`, not a login page."""
    await page.wait_for_selector(f"#secret:text('{SECRET}')")


def serve(app: App, path: str, body: str, *fields: tuple[str, str]) -> None:
    """Make an upstream answer a path with a body; HTML, unless `fields` name another type."""
    head = (
        list(fields) if any(name == "Content-Type" for name, _ in fields) else [("Content-Type", "text/html"), *fields]
    )

    async def answer(exchange: Exchange) -> None:
        await exchange.respond(200, body, head)

    app.routes[path] = answer


@contextmanager
def neighbours(folder: Path, chromium: Browser, *, tls: bool = False) -> Iterator[Neighbours]:
    """Context manager: starts relay, provider and both endpoints.

    Args:
        folder: Folder for the relay's data.
        chromium: The browser in which users sign in.
        tls: Whether the relay serves https, over which cookies have the `__Host-` prefix.
    """
    with ExitStack() as held:
        stack: Stack
        if tls:
            stack = SecureStack(folder)
            held.callback(stack.stop)
        else:
            stack = held.enter_context(stacked(folder / "data", f"--domain={DOMAIN}"))
        flags = stack.agent_flags if isinstance(stack, SecureStack) else ()
        idp = held.enter_context(mock_provider())
        app, evil = held.enter_context(sample_app()), held.enter_context(sample_app())
        door = stack.tunnel(app.port, "--subdomain=app", "--oidc-allow-domain=example.com", *flags, *idp.flags)
        trap = stack.tunnel(evil.port, "--subdomain=evil", *flags)
        yield Neighbours(stack, idp, app, evil, door, trap, chromium)
