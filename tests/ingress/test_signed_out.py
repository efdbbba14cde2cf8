"""Requests without a session, through a whole relay: what is answered and kept, and that the app sees nothing."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.apps import App
from tests.support.raw_http import connect, fetch
from tests.support.world import World, WorldTunnel, world
from tunnelctl.wire.messages import OidcSpec, PolicySpec

LOGIN = OidcSpec(issuer="http://127.0.0.1:1", client_id="c", client_secret="s")
POLL = [("Sec-Fetch-Mode", "cors"), ("Sec-Fetch-Dest", "empty"), ("Sec-Fetch-Site", "same-origin"), ("Accept", "*/*")]
FORM = [("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document"), ("Sec-Fetch-Site", "same-origin")]


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path / "data") as running:
        yield running


@pytest.fixture
async def tunnel(w: World, app: App) -> WorldTunnel:
    return await w.tunnel(app.port, subdomain="demo", policy=PolicySpec(oidc=LOGIN))


async def test_a_page_that_polls_starts_no_login(w: World, tunnel: WorldTunnel, app: App) -> None:
    """Row 46."""
    async with connect(w.port) as visitor:
        for _ in range(500):
            answer = await visitor.request("GET", "/poll", host=tunnel.host, fields=POLL)
            assert (answer.status, answer.get("tunnel-error")) == (401, "login_required")
            assert answer.get_all("set-cookie") == answer.get_all("location") == []
    assert app.requests == []


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_a_form_is_neither_kept_nor_sent_on(tunnel: WorldTunnel, app: App, method: str) -> None:
    """Row 48."""
    body = b"card=canary-4711&" + b"x" * 100_000
    answer = await tunnel.fetch(method, "/upload?id=1", fields=[*FORM, ("Accept", "text/html")], body=body)
    assert answer.status == 401
    assert "canary" not in answer.text
    assert 'href="/upload?id=1"' in answer.text
    assert answer.get_all("set-cookie") == answer.get_all("location") == []
    assert app.requests == []


@pytest.mark.parametrize("connection", ["conn", "a" * 26, "%2e%2e", "x/y"])
async def test_the_callbacks_of_every_connection_are_at_the_literal_localhost_too(
    w: World, tunnel: WorldTunnel, connection: str
) -> None:
    """Row 39. Several providers take plain http for no other name."""
    answer = await fetch(w.port, "GET", f"/oauth2/callback/{connection}?code=c&state=s", host=f"localhost:{w.port}")
    known = (400, "login_state_invalid") if "/" not in connection else (404, "page_not_found")
    assert (answer.status, answer.get("tunnel-error")) == known


@pytest.mark.parametrize("is_multi_tenant", [True, False])
async def test_scripts_are_told_what_to_register(tmp_path: Path, is_multi_tenant: bool) -> None:
    async with world(tmp_path / "data", multi_tenant=is_multi_tenant) as w:
        told = json.loads((await fetch(w.port, "GET", "/_tunnel/info", host=f"localhost:{w.port}")).body)
    callback = f"http://localhost:{w.port}/oauth2/callback"
    assert told["multi_tenant"] == told["needs_token"] == is_multi_tenant
    assert told["issuer_ports"]["issuers_own"] is False  # on `localhost` every port may be called
    assert told["issuer_ports"]["ports"] is None
    assert told["redirect_uri"] == (f"{callback}/{{connection}}" if is_multi_tenant else callback)
    assert told["api_url"] == f"http://127.0.0.1:{w.port}/_tunnel/api"
    assert told["redirect_uris"] == {
        "relay": told["redirect_uri"],
        "shared": callback,
        "host": f"http://{{host}}:{w.port}/_tunnel/oidc/callback",
    }
