"""Two endpoints of one relay side by side, as strangers have them: `app`, behind a login, and `evil`, open to all.

All names are below `tun.localhost`, which is to a browser what an operator's domain is: one site. `rogue.tun.localhost`
is a web server of somebody who got hold of a name there and needs no relay: what it sets is filtered by nobody.
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
    """Who lives there.

    Attributes:
        app: The upstream behind `door`, which lets in people of example.com.
        evil: The upstream behind `trap`.
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
        """Evil's upstream without a relay in between, under a sibling's name."""
        return f"http://rogue.{DOMAIN}:{self.evil.port}"

    def serve(self, path: str, body: str, *fields: tuple[str, str]) -> None:
        """Evil has this page from now on."""
        serve(self.evil, path, body, *fields)

    @asynccontextmanager
    async def signed_in(self, user: str = "alice") -> AsyncIterator[tuple[BrowserContext, Page]]:
        """A browser in which `user` is signed in at `app`, and the page that shows it."""
        async with fresh_profile(self.chromium) as context:
            page = await context.new_page()
            await self.log_in(page, user)
            self.app.requests.clear()
            yield context, page

    async def log_in(self, page: Page, user: str) -> None:
        """Opens `app` in a browser that is not signed in, and signs in."""
        await page.goto(self.door.url)
        await sign_in(page, user)
        await shows_app(page)


async def shows_app(page: Page) -> None:
    """Returns once the page is the app's own."""
    await page.wait_for_selector(f"#secret:text('{SECRET}')")


def serve(app: App, path: str, body: str, *fields: tuple[str, str]) -> None:
    """`app` answers `path` with a page, or whatever type `fields` name."""
    head = (
        list(fields) if any(name == "Content-Type" for name, _ in fields) else [("Content-Type", "text/html"), *fields]
    )

    async def answer(exchange: Exchange) -> None:
        await exchange.respond(200, body, head)

    app.routes[path] = answer


@contextmanager
def neighbours(folder: Path, chromium: Browser, *, tls: bool = False) -> Iterator[Neighbours]:
    """Relay, provider and both endpoints.

    Args:
        folder: For the relay's data.
        chromium: Where people sign in.
        tls: Over https, where cookies are bound to their host by name.
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
