"""The inspector's pages as a client gets them: what they may load, who may have them, and what they are told."""

import contextlib
import re
from collections.abc import AsyncIterator

import pytest

from tests.agent.fakes import Diary, FakeRelay, FakeUpstream, make_agent
from tests.localapi.fakes import Api
from tests.support.every import every
from tests.support.waiting import turns
from tunnelctl.agent.address import UpstreamAddress
from tunnelctl.agent.config import TunnelConfig
from tunnelctl.inspector.pages import page_routes
from tunnelctl.localapi.api import LocalApi
from tunnelctl.series import OTHER, Series
from tunnelctl.wire.messages import PolicySpec

PAGES = ("/inspect/http", "/status")
WEB = TunnelConfig(
    name="web",
    upstream=UpstreamAddress("http", "localhost", 3000),
    subdomain="web",
    policy=PolicySpec(basic_auth=("ann:long-enough-password",)),
    description="the shop",
    metadata="<b>mine</b>",
)


@contextlib.asynccontextmanager
async def pages(series: Series | None = None, *, token: str = "") -> AsyncIterator[Api]:
    """The local API with the pages, of an agent with the tunnel `web`."""
    relay = FakeRelay()
    async with make_agent(relay, Diary(), tunnels=(WEB,), upstream=FakeUpstream(), token=token) as agent:
        await turns(lambda: agent.tunnels["web"].is_bound)
        routes = page_routes(agent, series or Series(), "9.9.9")
        yield Api(LocalApi(agent, pytest.fail, version="9.9.9", routes=routes), agent, relay)


@every("path", [*PAGES, "/static/requests.js", "/static/look.css", "/static/icon.svg", "/static/icons.svg"])
async def test_nothing_but_the_pages_own_files_may_run_or_load(path):
    async with pages() as here:
        answer = await here.ask("GET", path)
        assert answer.status == 200
        assert dict(answer.fields) == {
            "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
            "img-src 'self'; font-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
            "X-Frame-Options": "DENY",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Opener-Policy": "same-origin",
        }


@every("path", PAGES)
async def test_a_page_has_nothing_inline_and_every_file_that_it_names(path):
    async with pages() as here:
        html = (await here.ask("GET", path)).body.decode()
        assert not re.search(r"<style|\sstyle=|<script(?![^>]*\ssrc=)|\son\w+=|javascript:|https?://", html)
        named = re.findall(r'(?:src|href)="(/static/[^"#]+)', html)
        assert len(set(named)) >= 9
        for name in named:
            assert (await here.ask("GET", name)).status == 200, name


async def test_scripts_import_only_files_that_are_there():
    async with pages() as here:
        seen, found = set(), ["requests.js", "status.js"]
        while found:
            name = found.pop()
            seen.add(name)
            answer = await here.ask("GET", f"/static/{name}")
            assert (answer.status, answer.content_type) == (200, "text/javascript; charset=utf-8"), name
            found += set(re.findall(r'from "\./([\w.]+)"', answer.body.decode())) - seen
        assert len(seen) > 10


@every("name", ["frame.html", "..%2Fpages.py", "%2e%2e", "nothing.js", "icons.txt"])
async def test_no_other_file_is_served(name):
    async with pages() as here:
        assert (await here.ask("GET", f"/static/{name}")).status == 404


async def test_visitors_of_a_tunnel_get_no_page_and_no_figures():
    async with pages() as here:
        for host in ({"host": "web.tun.example"}, {"x_forwarded_for": "203.0.113.9"}):
            for path in ("/inspect/http", "/inspect/now", "/static/look.css"):
                assert (await here.ask("GET", path, **host)).status in (401, 403)
            assert (await here.ask("GET", "/status", **host)).body == b"online\n"


async def test_other_pages_of_the_web_get_no_figures():
    async with pages() as here:
        assert (await here.ask("GET", "/inspect/now", host="evil.example:4040")).status == 401
        assert (await here.ask("GET", "/inspect/now", origin="https://evil.example")).status == 403


async def test_the_figures_tell_of_the_session_and_its_tunnels():
    series = Series()
    async with pages(series, token="tt_secret-authtoken") as here:
        series.add(1, OTHER, 3)
        status, now = await here.json("GET", "/inspect/now")
        assert status == 200
        assert (now["state"], now["owner"], now["version"]) == ("online", "ann", "9.9.9")
        (web,) = now["tunnels"]
        assert (web["name"], web["state"], web["urls"]) == ("web", "online", ["https://web.tun.example"])
        assert (web["upstream"], web["description"], web["metadata"]) == (
            "http://localhost:3000",
            "the shop",
            "<b>mine</b>",
        )
        assert web["let_in"] == "everyone who knows the password of ann"
        assert (web["requests"]["count"], web["is_inspected"]) == (0, False)
        assert [chart["title"] for chart in now["charts"]] == ["Requests", "Response time"]
        assert "secret" not in str(now)
        assert "long-enough" not in str(now)
        assert dict(now["options"])["Authtoken"] == "given"
