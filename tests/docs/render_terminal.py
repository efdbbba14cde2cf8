"""Draws docs/images/terminal.svg: the agent's own live screen, after a few visits of somebody who signed in.

    .venv/bin/python -m tests.docs.render_terminal

Everything in the picture happened: a relay, an agent, an app and oidc-provider-mock run, Alice logs in and looks
around, and rich exports the screen as it then is. Times and latencies differ from run to run; the rest does not, and
`test_terminal_picture` holds the picture in the repository to it.
"""

import asyncio
import html
import io
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import uvloop
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import MONOKAI

from tests.policy.making import typed
from tests.support.apps import App, running
from tests.support.apps import Exchange as AppExchange
from tests.support.idp import CLIENT_ID, CLIENT_SECRET, mock_provider
from tests.support.ports import free_port, is_free
from tests.support.visitor import Visitor
from tests.support.waiting import PATIENCE
from tests.support.world import Diary, World
from tunnelctl import __version__
from tunnelctl.agent.address import RelayAddress, UpstreamAddress
from tunnelctl.agent.agent import Agent
from tunnelctl.agent.config import AgentConfig, TunnelConfig
from tunnelctl.agent.exchange import UpstreamExchange
from tunnelctl.agent.watcher import Watchers
from tunnelctl.cli.screen import Screen, WebInterface
from tunnelctl.cli.settings import build_tunnel
from tunnelctl.localapi.address import DEFAULT_PORT, WebAddress, listen
from tunnelctl.localapi.api import LocalApi
from tunnelctl.policy.parse import build_policy

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "terminal.svg"
TITLE = "$ tunnel http 3000 --oidc=… --oidc-allow-domain=example.com --subdomain=demo"
WIDTH, HEIGHT = 96, 24
VISITS = ("/", "/style.css", "/reports/2026", "/api/orders?page=2", "/reports/2027")
"""What Alice opens; the last one the app does not have."""
_REMOTE_FONTS = re.compile(r"@font-face \{\{.*?\}\}\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the parts listen."""

    relay: int
    app: int
    idp: int


USUAL = Ports(relay=8080, app=3000, idp=9400)


def any_ports() -> Ports:
    """Free ones, for a test."""
    return Ports(relay=free_port(), app=free_port(), idp=free_port())


def render(ports: Ports) -> str:
    """The picture as SVG text, of a run on these ports."""
    with tempfile.TemporaryDirectory() as folder, running(_app(), ports.app), mock_provider(port=ports.idp):
        return uvloop.run(_visited(Path(folder), ports))


def words_of(svg: str) -> list[str]:
    """What the picture says, line by line, with every number and every gap as a mark, and no time zone."""
    lines: dict[str, list[str]] = {}
    for height, text in re.findall(r'<text [^>]*\by="([\d.]+)"[^>]*>(.*?)</text>', svg, re.DOTALL):
        lines.setdefault(height, []).append(html.unescape(text))
    marked = (re.sub(r"<?\d+(\.\d+)?", "#", "".join(parts)) for parts in lines.values())
    return [re.sub(r"#:#:# \S+", "#:#:#", " ".join(line.split())) for line in marked]


class Counted(Diary):
    """A diary that says when the last visit is over."""

    def __init__(self) -> None:
        super().__init__()
        self.is_complete = asyncio.Event()

    def exchange(self, name: str, exchange: UpstreamExchange) -> None:
        super().exchange(name, exchange)
        if len(self.exchanges) == len(VISITS):
            self.is_complete.set()


def _app() -> App:
    async def page(exchange: AppExchange) -> None:
        await exchange.respond(200, "<h1>hello</h1>", [("Content-Type", "text/html")])

    return App({path.partition("?")[0]: page for path in VISITS[:-1]})


async def _visited(folder: Path, ports: Ports) -> str:
    world = World(folder)
    world.port = ports.relay
    await world.start_relay()
    screen, diary, agent = _agent(ports)
    api = LocalApi(agent, lambda definition: build_tunnel(definition, {}), version=__version__)
    serving = asyncio.create_task(agent.run())
    try:
        async with api.serve(listen(WebAddress(), lambda taken: None), WebInterface(screen)):
            started = await asyncio.wait_for(diary.starts.get(), PATIENCE)
            await asyncio.to_thread(_look_around, started.url)
            await asyncio.wait_for(diary.is_complete.wait(), PATIENCE)
            return _export(screen)
    finally:
        agent.stop()
        await serving
        await world.stop()


def _agent(ports: Ports) -> tuple[Screen, Counted, Agent]:
    """The agent as `tunnel http` makes it, told to a screen."""
    policy = build_policy(
        typed(
            oidc=f"http://localhost:{ports.idp}",
            oidc_client_id=CLIENT_ID,
            oidc_client_secret=CLIENT_SECRET,
            oidc_allow_domain=("example.com",),
        )
    )
    upstream, relay = UpstreamAddress("http", "localhost", ports.app), RelayAddress("http", "127.0.0.1", ports.relay)
    tunnel = TunnelConfig(upstream=upstream, subdomain="demo", policy=policy)
    screen, diary = Screen(relay=relay.url, tunnels=(tunnel,)), Counted()
    return screen, diary, Agent(AgentConfig(relay=relay, tunnels=(tunnel,)), Watchers(screen, diary))


def _look_around(url: str) -> None:
    with Visitor() as alice:
        first = alice.login(url, "alice")
        assert first.status_code == 200, f"Alice got {first.status_code}:\n{first.text[:1000]}"
        for path in VISITS[1:]:
            alice.get(url + path)


def _export(screen: Screen) -> str:
    console = Console(record=True, width=WIDTH, height=HEIGHT, file=io.StringIO(), force_terminal=True)
    console.print(screen, end="")
    # Without the fonts that rich would fetch from elsewhere: a picture in a README calls nobody.
    form = _REMOTE_FONTS.sub("", CONSOLE_SVG_FORMAT)
    return console.export_svg(title=TITLE, theme=MONOKAI, code_format=form, unique_id="terminal")


def main() -> int:
    """Draws the picture of the repository, on the ports the documentation speaks of."""
    taken = [port for port in (USUAL.relay, USUAL.app, USUAL.idp, DEFAULT_PORT) if not is_free(port)]
    if taken:
        print(f"error: the picture shows the usual ports, and somebody listens on {taken}", file=sys.stderr)
        return 1
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(render(USUAL))
    print(PICTURE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
