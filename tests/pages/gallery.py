"""Every page a visitor can meet, by name, filled in as it is in life and as badly as it can be.

`python -m tests.pages.gallery` photographs them all in a real Chromium, into `tests/artifacts/pages`; with `docs`, it
takes the pictures of docs/concepts/login.md anew.
"""

import asyncio
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from playwright.async_api import Page

from tests.support.browser import browsing
from tests.support.tools import ARTIFACTS, ROOT
from tunnelrelay.model import Reply
from tunnelrelay.pages import login
from tunnelrelay.pages.cookies import cookies_cleared, head_too_large
from tunnelrelay.pages.errors import ERRORS
from tunnelrelay.pages.landing import landing_page
from tunnelrelay.pages.page import error_reply

HOST = "demo.tun.example"
LONG_HOST = f"{'a-very-long-name-that-somebody-has-chosen-for-an-app-of-theirs'}.{'x' * 63}.tun.example"
LONG_EMAIL = f"{'maximilian.alexander.von-und-zu-der-langen-strasse' * 2}@{'department.' * 4}example"
DOCS_IMAGES = ROOT / "docs" / "images"
DOCS_PICTURES = {"not-admitted": "light", "unreachable": "light", "signed-out-here": "dark"}
"""Pages that the docs show, in the scheme they are shown in."""
PROVIDER = "https://acme.okta.com/oauth2/v1/authorize"
HOSTILE = (
    "\"><script>alert(1)</script><img src=x onerror=alert(1)>'\r\nSet-Cookie: a=b\u202e\x1b[31m javascript:alert(1)"
)


def pages(
    host: str = HOST, *, who: str = "bob@acme.example", owner: str = "alice@acme.example", words: str = ""
) -> dict[str, Callable[[], Reply]]:
    """Functions that write each page, by the page's name. `words` are those of a provider or an agent."""
    about = {"request_id": "9f2c41aa-1d", "host": host}
    quote = words or "The application is not assigned to this user."
    again = login.use_another
    found: dict[str, Callable[[], Reply]] = {
        "state-invalid": lambda: login.state_invalid(**about, home="https://tun.example"),
        "start-again": lambda: login.start_again(**about),
        "provider-error": lambda: login.declined(
            "provider_error", **about, error=words or "server_error", description=quote, owner=owner
        ),
        "not-admitted": lambda: login.not_admitted(
            **about, who=who, owner=owner, form=again(token="t0ken", provider=PROVIDER)
        ),
        "unverified": lambda: login.not_admitted(**about, who=who, is_unverified=True),
        "busy": lambda: login.busy(**about),
        "denied": lambda: login.declined(
            "access_denied", **about, error="access_denied", description=quote, owner=owner
        ),
        "unfinished": lambda: login.declined(
            "login_unfinished",
            "consent",
            **about,
            owner=owner,
            form=again(token="t0ken", provider=PROVIDER),
        ),
        "misconfigured": lambda: login.declined("login_misconfigured", "scope", **about, owner=owner),
        "untrusted": lambda: login.declined("login_misconfigured", "untrusted", **about, owner=owner),
        "provider-busy": lambda: login.declined("provider_busy", **about),
        "unreachable": lambda: login.provider_unreachable(**about),
        "form-not-sent": lambda: login.form_not_sent(**about, path="/orders?page=2"),
        "frame": lambda: login.open_outside_frame(**about, path="/widget"),
        "again-too-old": lambda: login.sign_in_again("too_old", **about, path="/orders"),
        "again-too-weak": lambda: login.sign_in_again("too_weak", **about),
        "sign-out": lambda: login.logout_confirmation(
            host=host, who=who, form=login.sign_out(action="/_tunnel/logout", token="t0ken")
        ),
        "sign-out-everywhere": lambda: login.logout_confirmation(
            host=host, who=who, form=login.sign_out(action="/_tunnel/logout", token="t0ken", everywhere="everywhere")
        ),
        "signed-out": lambda: login.logged_out(host=host),
        "signed-out-everywhere": lambda: login.logged_out(host=host, is_everywhere=True),
        "signed-out-here": lambda: login.logged_out(
            host=host, provider_sign_out="https://acme.okta.com/oauth2/v1/logout"
        ),
        "cookies-too-large": lambda: head_too_large(**about, wants_html=True),
        "cookies-cleared": lambda: cookies_cleared(host=host),
        "landing": lambda: landing_page(url=f"https://{host}", dashboard="https://dashboard.tun.example"),
    }
    for code in ERRORS:
        found[f"error-{code}"] = lambda code=code: error_reply(code, **about, wants_html=True, detail=words)
    return found


async def show(page: Page, reply: Reply) -> None:
    """The page as a browser shows it, under its own security policy."""
    fields = {name.decode(): value.decode() for name, value in reply.fields if name != b"Retry-After"}
    url = "http://page.localhost/"

    await page.unroute_all()
    await page.route(url, lambda route: route.fulfill(status=200, headers=fields, body=reply.body))
    await page.goto(url)


async def photograph(folder: Path, sizes: Iterable[tuple[int, int]]) -> None:
    """Every page in every size, light and dark."""
    async with browsing() as context:
        page = await context.new_page()
        for name, write in pages().items():
            for scheme in ("light", "dark"):
                await page.emulate_media(color_scheme=scheme)
                for width, height in sizes:
                    await page.set_viewport_size({"width": width, "height": height})
                    await show(page, write())
                    await page.screenshot(path=folder / f"{name}-{scheme}-{width}.png")


async def illustrate() -> None:
    """The pictures of the docs, as a phone shows them."""
    async with browsing() as context:
        page = await context.new_page()
        for name, scheme in DOCS_PICTURES.items():
            await page.emulate_media(color_scheme=scheme)
            await page.set_viewport_size({"width": 375, "height": 600})
            await show(page, pages()[name]())
            await page.screenshot(path=DOCS_IMAGES / f"page-{name}.png", full_page=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["docs"]:
        asyncio.run(illustrate())
        sys.exit()
    target = ARTIFACTS / "pages"
    target.mkdir(parents=True, exist_ok=True)
    asyncio.run(photograph(target, [(375, 667), (768, 800), (1280, 800)]))
