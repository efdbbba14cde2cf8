"""Every command that the dashboard or the relay's own pages show, pasted into a shell on a developer's machine.

The relay asks agents for authtokens. The machine has what the pages say that a command needs, and no other setting.
"""

import asyncio
import html
import os
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.support.dashboard import DashboardClient, actor_for, signed_in
from tests.support.issuer import issuer
from tests.support.ports import free_ports
from tests.support.processes import Child, commands
from tests.support.tools import ROOT, require_tool
from tests.support.world import World, world
from tunnelrelay.config.values import PortRange
from tunnelrelay.services.edges import EdgeDraft
from tunnelrelay.services.provider_settings import ProviderSettings

TEMPLATES = ROOT / "server" / "tunnelrelay" / "dashboard" / "templates"
COMMAND = re.compile(
    r'<div class="command"><span class="prompt" aria-hidden="true">\$</span>.*?<code>(.*?)</code>', re.DOTALL
)
BEGINS = ("tunnel http", "tunnel tcp", "tunnel tunnel")
"""Commands that go on until Ctrl-C."""
EMPTY = ("/", "/domains", "/tcp-ports", "/credentials", "/trust-rules", "/logins", "/providers")
"""Pages of what there is none of yet."""


@dataclass
class Machine:
    """A developer's machine: its home directory and what has been typed there."""

    home: Path
    typed: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)

    async def paste(self, command: str) -> None:
        """Types a command, and waits until it has ended well or its tunnel is up."""
        self.typed.append(command)
        path = f"{commands()}{os.pathsep}{os.environ['PATH']}"
        env = {"HOME": str(self.home), "XDG_CONFIG_HOME": str(self.home / ".config"), "PATH": path, **self.variables}
        child = Child("shell", ["sh", "-c", f"exec {command}" if command.startswith(BEGINS) else command], env=env)
        try:
            if command.startswith(BEGINS):
                await asyncio.to_thread(child.wait_for, lambda line: line.startswith(("http://", "tcp://")))
                assert await asyncio.to_thread(child.stop) == 0, child.output
            else:
                assert await asyncio.to_thread(child.wait) == 0, child.output
                assert '"error_code"' not in child.output, child.output
        finally:
            child.kill()

    async def paste_all(self, page: httpx.Response, count: int) -> None:
        """Types all commands of a page."""
        commands = [html.unescape(re.sub(r"<[^>]+>", "", found)) for found in COMMAND.findall(page.text)]
        assert len(commands) == count, commands
        for command in commands:
            await self.paste(command)


@pytest.fixture
async def relay(tmp_path: Path) -> AsyncIterator[World]:
    """A relay on loopback that asks agents for authtokens."""
    (port,) = free_ports(1)
    async with world(tmp_path / "data", multi_tenant=True, tcp_ports=(PortRange(None, port, port),)) as w:
        yield w


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    require_tool("curl")
    home = tmp_path / "home"
    home.mkdir()
    return Machine(home)


async def new_key(admin: DashboardClient) -> httpx.Response:
    """The page that shows a new API key."""
    return await admin.post("/api-keys/new", {"description": "laptop", "reach": "every", "expires_at": "90d"})


async def new_authtoken(admin: DashboardClient) -> httpx.Response:
    return await admin.post("/credentials/new", {"description": "laptop", "expires_at": "90d"})


async def test_what_every_page_shows_works_when_it_is_pasted(relay: World, machine: Machine) -> None:
    services = relay.relay.parts.services
    async with signed_in(relay) as admin:
        actor = actor_for((await relay.relay.store.users.all(role="admin"))[0])
        empty = {path: await admin.get(path) for path in EMPTY}
        assert not COMMAND.search(empty["/logins"].text), "no provider is there that a command could name"
        assert not COMMAND.search(empty["/providers"].text)

        await machine.paste_all(await new_key(admin), 3)
        await machine.paste_all(await new_authtoken(admin), 2)
        for path in ("/", "/domains", "/tcp-ports", "/credentials"):
            await machine.paste_all(empty[path], 1)

        (domain,) = await services.domains.page(actor)
        await machine.paste_all(await admin.get(f"/domains/{domain.id}"), 1)

        (addr,) = await services.addrs.page(actor)
        await machine.paste_all(await admin.get(f"/tcp-ports/{addr.id}"), 1)

        settings = ProviderSettings(issuer="https://login.acme.example", client_id="c")
        provider = await services.providers.create(actor, "staff", settings, "s3cret-of-the-client")
        await machine.paste_all(await admin.get(f"/providers/{provider.id}"), 1)
        await machine.paste_all(await admin.get("/logins"), 1)

        edge = await services.edges.create(actor, EdgeDraft(host="shop.localhost"))
        await machine.paste_all(await admin.get(f"/edges/{edge.id}"), 2)

        with issuer() as ci:
            rule = await services.trust_rules.create(actor, issuer=ci.url, claims={"team": "web"}, acl=["*"])
            machine.variables["TUNNELCTL_ID_TOKEN"] = ci.token(rule.audience, team="web")
            await machine.paste_all(empty["/trust-rules"], 1)
            await machine.paste_all(await admin.get(f"/trust-rules/{rule.id}"), 1)


async def test_the_page_at_the_relays_own_domain_shows_a_command_that_works(relay: World, machine: Machine) -> None:
    async with signed_in(relay) as admin:
        await machine.paste_all(await new_authtoken(admin), 2)
    async with httpx.AsyncClient() as visitor:
        page = await visitor.get(f"http://127.0.0.1:{relay.port}/", headers={"Host": f"localhost:{relay.port}"})

    (command,) = re.findall(r"<code>(tunnel .*?)</code>", page.text)
    await machine.paste(html.unescape(command))


async def test_the_sign_in_page_names_a_command_that_makes_a_link(
    relay: World, machine: Machine, tmp_path: Path
) -> None:
    async with signed_in(relay):
        pass  # by the link of the first start
    async with DashboardClient(relay).http as visitor:
        page = await visitor.get("/sign-in", headers={"Accept": "text/html"})

    (command,) = re.findall(r"<code>(tunnelrelay .*?)</code>", page.text)
    await machine.paste(f"TUNNELRELAY_DATA_DIR={tmp_path / 'data'} {html.unescape(command)}")


def test_every_template_that_shows_a_command_is_among_the_pages_above() -> None:
    showing = {
        str(path.relative_to(TEMPLATES)): path.read_text().count("ui.command(")
        for path in TEMPLATES.rglob("*.html")
        if "ui.command(" in path.read_text()
    }
    assert showing == {
        "addrs/list.html": 1,
        "addrs/one.html": 1,
        "api_keys/made.html": 3,
        "credentials/list.html": 1,
        "credentials/made.html": 2,
        "domains/list.html": 1,
        "domains/one.html": 1,
        "edges/edge.html": 1,  # in a loop
        "logins/list.html": 1,
        "overview/page.html": 1,
        "providers/one.html": 1,
        "trust_rules/list.html": 1,
        "trust_rules/one.html": 1,
    }
