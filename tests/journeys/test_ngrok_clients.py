"""Programs that drive `ngrok`, unmodified, with our agent in its place: npm's `ngrok` and PyPI's `pyngrok`."""

import asyncio
import os
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from pyngrok import agent, conf, ngrok
from pyngrok.exception import PyngrokNgrokHTTPError

from tests.support import processes
from tests.support.app_routes import SECRET
from tests.support.apps import App
from tests.support.ports import free_port
from tests.support.processes import Child
from tests.support.raw_http import Response, connect
from tests.support.stack_tls import SecureStack
from tests.support.tools import ROOT, missing, require_tool

CLIENTS = ROOT / "tests" / "clients"
ROUND = [
    "connect and list",
    "requests and replay",
    "basic auth",
    "taken name refused: failed to start tunnel",
    "oauth refused: invalid tunnel configuration",
    "subdomain",
    "tcp and both schemes",
    "disconnect",
    "kill",
]
"""What the driver says of one round."""


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[SecureStack]:
    """A relay with TLS and a tcp port that asks agents for tokens."""
    port = free_port()
    stack = SecureStack(tmp_path / "relay", flags=["--multi-tenant=true", f"--tcp-ports={port}-{port}"])
    try:
        yield stack
    finally:
        stack.stop()


@pytest.fixture
def token(relay: SecureStack) -> str:
    return next(line for line in relay.tokens("create").out if line.startswith("tt_"))


@pytest.fixture
def machine(relay: SecureStack, tmp_path: Path) -> dict[str, str]:
    """The environment of a developer's machine: it says where the relay is, and holds no token."""
    home = tmp_path / "home"
    home.mkdir()
    return {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home),
        "TUNNELCTL_RELAY": f"https://localhost:{relay.https_port}",
        "TUNNELCTL_RELAY_CA": str(relay.authority.ca_file),
    }


@pytest.fixture
def shim(tmp_path: Path) -> Path:
    folder = tmp_path / "bin"
    installed = processes.run("tunnelctl", "install-shim", str(folder))
    assert installed.returncode == 0, installed.output
    return folder / "ngrok"


@pytest.mark.thorough
def test_npms_ngrok_does_all_it_can_twice_with_another_region(
    machine: Mapping[str, str], shim: Path, token: str
) -> None:
    node = require_tool("node", "nodejs")
    if not (CLIENTS / "node_modules").is_dir():
        missing("tests/clients/node_modules is missing (make setup)")
    child = Child("npm", [node, str(CLIENTS / "drive.cjs"), str(shim.parent)], env={**machine, "AUTHTOKEN": token})
    assert child.wait() == 0, child.output
    assert child.out == ROUND * 2


@pytest.fixture
def pyngrok(
    machine: Mapping[str, str], shim: Path, token: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[conf.PyngrokConfig]:
    """Its settings; what it has started is stopped afterwards."""
    for name in [name for name in os.environ if name.startswith(("TUNNELCTL_", "NGROK_"))]:
        monkeypatch.delenv(name)
    for name, value in machine.items():
        monkeypatch.setenv(name, value)
    config = conf.PyngrokConfig(ngrok_path=str(shim), config_path=str(tmp_path / "ngrok.yml"), auth_token=token)
    yield config
    ngrok.kill(config)


def test_pyngrok_opens_counts_shows_and_closes_tunnels(
    relay: SecureStack, pyngrok: conf.PyngrokConfig, app: App
) -> None:
    web = ngrok.connect(str(app.port), pyngrok_config=pyngrok)
    assert (web.proto, web.config["addr"]) == ("https", f"http://localhost:{app.port}")
    assert SECRET in visit(relay, web.public_url).body.decode()
    web.refresh_metrics()
    assert web.metrics["http"]["count"] == 1
    (request,) = agent.get_requests(web.name, pyngrok)
    assert (request.request["uri"], request.response["status_code"]) == ("/", 200)
    tcp = ngrok.connect("22", "tcp", name="ssh", pyngrok_config=pyngrok)
    assert tcp.public_url.startswith("tcp://")
    assert {one.name for one in ngrok.get_tunnels(pyngrok)} == {web.name, "ssh"}
    with pytest.raises(PyngrokNgrokHTTPError) as refused:
        ngrok.connect(str(app.port), name="ssh", pyngrok_config=pyngrok)
    assert refused.value.status_code == 400
    ngrok.disconnect(web.public_url, pyngrok)
    assert [one.name for one in ngrok.get_tunnels(pyngrok)] == ["ssh"]
    assert visit(relay, web.public_url).status == 404


def visit(relay: SecureStack, url: str) -> Response:
    """What a visitor gets at the address."""

    async def get() -> Response:
        host = url.partition("://")[2]
        trust = ssl.create_default_context(cafile=str(relay.authority.ca_file))
        async with connect(relay.https_port, tls=trust, sni=host.partition(":")[0]) as visitor:
            return await visitor.request("GET", "/", host=host)

    return asyncio.run(get())
