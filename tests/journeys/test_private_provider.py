"""A public relay and a provider at port 8443 with a private authority, restarted with other keys under the same names.

What people meet first who run Keycloak: all of it in a network of its own, with real names, addresses and ports.
"""

import json
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path

import pytest
from playwright.async_api import BrowserContext, Page

from tests.support import idp, processes
from tests.support.browser import chromium_path, fresh_profile, launched, sign_in
from tests.support.certificates import Authority
from tests.support.netns import Network, network
from tests.support.processes import Child

pytestmark = pytest.mark.browser

DOMAIN, SSO = "tun.example", "sso.acme.example"
RELAY_ADDRESS, SSO_ADDRESS = "93.184.216.34", "93.184.216.35"
ISSUER = f"https://{SSO}:8443"
APP = f"https://app.{DOMAIN}"
TABS = 12
NAMES = {
    DOMAIN: RELAY_ADDRESS,
    f"app.{DOMAIN}": RELAY_ADDRESS,
    f"idp.{DOMAIN}": RELAY_ADDRESS,
    SSO: SSO_ADDRESS,
}


class Company:
    """Everything in its network.

    Attributes:
        authority: The company's own, of which only the relay's operator has told the relay.
        provider: Its process now.
    """

    def __init__(self, net: Network, folder: Path, ends: ExitStack) -> None:
        self.net = net
        self.folder = folder
        self._ends = ends
        self.authority = Authority(folder / "company")
        self._relays_authority = Authority(folder / "relay")
        self.data_dir = folder / "data"
        cert, key = self.authority.issue(SSO)
        self._tls = {"cert": str(cert), "key": str(key)}
        self.start_provider()

    def until_the_end(self, child: Child) -> Child:
        self._ends.callback(child.stop)
        return child

    def python(self, what: str, module: str, *args: str) -> Child:
        return self.until_the_end(self.net.python(what, module, *args))

    def start_provider(self) -> None:
        """For the first time, or again: with new keys, and the old ones' names."""
        config = {
            "client_id": idp.CLIENT_ID,
            "client_secret": idp.CLIENT_SECRET,
            "redirect_uris": [f"https://idp.{DOMAIN}/oauth2/callback"],
            "users": idp.USERS,
            "issuer": ISSUER,
            "address": SSO_ADDRESS,
            "port": 8443,
            "tls": self._tls,
        }
        command = [*idp.node(), str(idp.IDP / "server.mjs"), json.dumps(config)]
        self.provider = self.until_the_end(self.net.child("idp", *command))
        self.provider.wait_for_record("listening")

    def start_relay(self, *flags: str) -> Child:
        cert, key = self._relays_authority.issue(DOMAIN)
        relay = self.python(
            "relay",
            "tunnelrelay",
            "serve",
            f"--domain={DOMAIN}",
            f"--https={RELAY_ADDRESS}:443",
            "--http=off",
            "--admin=off",
            f"--tls-cert={cert}",
            f"--tls-key={key}",
            f"--data-dir={self.data_dir}",
            "--log-format=json",
            *flags,
        )
        relay.wait_for_record("relay ready")
        return relay

    def publish(self) -> Child:
        """An app behind a login at the company's provider."""
        folder = self.folder / "app"
        folder.mkdir()
        for number in range(TABS):
            (folder / f"{number}.html").write_text(f"<h1>Page {number}</h1>")
        app = self.python("app", "http.server", "3000", "--bind=127.0.0.1", f"--directory={folder}")
        app.wait_for(lambda line: "Serving HTTP" in line)
        made = processes.run("tunnelrelay", "token", "create", "--owner=ann", f"--data-dir={self.data_dir}")
        agent = self.python(
            "agent",
            "tunnelctl",
            "http",
            "3000",
            f"--relay=https://{DOMAIN}",
            f"--relay-ca={self._relays_authority.ca_file}",
            f"--authtoken={made.out[-1]}",
            "--subdomain=app",
            f"--oidc={ISSUER}",
            f"--oidc-client-id={idp.CLIENT_ID}",
            f"--oidc-client-secret={idp.CLIENT_SECRET}",
            "--log=stdout",
            "--log-format=json",
        )
        agent.wait_for_record("started tunnel")
        return agent

    def check(self, *flags: str) -> Child:
        """`tunnel oidc check`, run to its end."""
        relay = [f"--relay=https://{DOMAIN}", f"--relay-ca={self._relays_authority.ca_file}"]
        child = self.python("check", "tunnelctl", "oidc", "check", ISSUER, *relay, *flags)
        child.wait(60)
        return child


@contextmanager
def company(folder: Path) -> Iterator[Company]:
    with network(NAMES) as net, ExitStack() as ends:
        yield Company(net, folder, ends)


async def shows(page: Page, number: int) -> None:
    await page.get_by_role("heading", name=f"Page {number}", exact=True).wait_for()
    assert page.url == f"{APP}/{number}.html?tab={number}"


async def sign_in_beside(page: Page, user: str) -> None:
    """Signs in where another tab has agreed already."""
    await page.get_by_placeholder("Login").fill(user)
    await page.get_by_placeholder("Password").fill(user)
    await page.get_by_role("button", name="Sign in").click()


async def opened(context: BrowserContext, number: int) -> Page:
    page = await context.new_page()
    await page.goto(f"{APP}/{number}.html?tab={number}")
    return page


async def test_people_log_in_through_a_private_authority_port_8443_and_a_restart_with_new_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with AsyncExitStack() as held:
        place = held.enter_context(company(tmp_path))
        monkeypatch.setenv("CHROMIUM", str(place.net.wrapper(tmp_path, chromium_path())))
        chromium = await held.enter_async_context(launched(names=NAMES))
        relay = place.start_relay()
        agent = place.publish()

        # Its certificate is of nobody the relay knows: all three are told, and what to do.
        untrusted = place.check()
        assert untrusted.returncode == 1
        assert "--issuer-ca" in "\n".join(untrusted.out)
        assert place.check(f"--issuer-ca={place.authority.ca_file}").returncode == 0
        async with fresh_profile(chromium) as context:
            page = await opened(context, 0)
            assert "does not trust the certificate" in await page.inner_text("body")
            assert "issuer_ca" in await page.inner_text("body")
        before = len(agent.lines)
        relay.stop()
        place.start_relay(f"--issuer-ca={place.authority.ca_file}")
        agent.wait_for_record("started tunnel", after=before)

        async with fresh_profile(chromium) as context:
            page = await opened(context, 1)
            assert page.url.startswith(f"{ISSUER}/interaction/")
            await sign_in(page, "alice")
            await shows(page, 1)

        # The provider starts anew: other keys, the same names. The next login notices.
        place.provider.stop()
        place.start_provider()
        async with fresh_profile(chromium) as context:
            tabs = [await opened(context, number) for number in range(TABS)]
            await sign_in(tabs[-1], "alice")
            await shows(tabs[-1], TABS - 1)
            for number in range(TABS - 1):
                await sign_in_beside(tabs[number], "alice")
                await shows(tabs[number], number)
