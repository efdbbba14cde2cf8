"""Real programs that fetch a page behind a login: each is told 401, and none is sent to the provider."""

import asyncio
from pathlib import Path

import pytest

from tests.support.apps import App
from tests.support.tools import require_tool
from tests.support.waiting import PATIENCE
from tests.support.world import WorldTunnel, world
from tunnelctl.wire.messages import OidcSpec, PolicySpec

LOGIN = OidcSpec(issuer="http://127.0.0.1:1", client_id="c", client_secret="s")
JAVA = """
import java.net.HttpURLConnection;
import java.net.URL;
public class Fetch {
    public static void main(String[] given) throws Exception {
        HttpURLConnection asked = (HttpURLConnection) new URL(given[0]).openConnection();
        System.out.println(asked.getResponseCode());
    }
}
"""
URLLIB = """
import sys, urllib.request, urllib.error
request = urllib.request.Request(sys.argv[1], headers={"Host": sys.argv[2], "Accept": "text/html"})
try:
    print(urllib.request.urlopen(request).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""


async def output_of(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(PATIENCE):
        out, _ = await process.communicate()
    return out.decode(errors="replace")


def java(place: Path, tunnel: WorldTunnel) -> list[str]:
    (place / "Fetch.java").write_text(JAVA)
    (place / "hosts").write_text(f"127.0.0.1 {tunnel.host.partition(':')[0]}\n")
    require_tool("javac", "default-jdk-headless")  # it runs a file of source
    return [require_tool("java"), f"-Djdk.net.hosts.file={place}/hosts", str(place / "Fetch.java"), tunnel.url]


def curl(_place: Path, tunnel: WorldTunnel) -> list[str]:
    head = ["-H", f"Host: {tunnel.host}", "-H", "Accept: text/html,application/xhtml+xml"]
    return [require_tool("curl"), "-sSL", "-o", "/dev/null", "-w", "%{http_code}", *head, here(tunnel)]


def wget(_place: Path, tunnel: WorldTunnel) -> list[str]:
    head = [f"--header=Host: {tunnel.host}", "--header=Accept: text/html"]
    return [require_tool("wget"), "-S", "-O", "/dev/null", "--tries=1", *head, here(tunnel)]


def python(_place: Path, tunnel: WorldTunnel) -> list[str]:
    return [require_tool("python3"), "-c", URLLIB, here(tunnel), tunnel.host]


def here(tunnel: WorldTunnel) -> str:
    """Names under `localhost` are looked up by browsers only."""
    return f"http://127.0.0.1:{tunnel.world.port}/"


@pytest.mark.parametrize("command", [java, curl, wget, python])
async def test_row46_a_program_that_asks_for_html_is_refused_and_not_sent_to_the_login(
    tmp_path: Path, app: App, command
):
    async with world(tmp_path / "data") as w:
        tunnel = await w.tunnel(app.port, subdomain="demo", policy=PolicySpec(oidc=LOGIN))
        out = await output_of(*command(tmp_path, tunnel))

    assert "401" in out
    assert "502" not in out  # what a login came to here, as the provider does not answer
    assert app.requests == []
