"""Signing in to the dashboard of a whole relay by the operator's provider: the ingress's own login at another host."""

import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest

from tests.oidc.logout.test_logout_token import HONEST
from tests.oidc.tokens.test_id_token import sign
from tests.oidc.world import CLIENT_ID, CLIENT_SECRET, ISSUER, LyingProvider
from tests.support.apps import App
from tests.support.dashboard import DashboardClient
from tests.support.world import World, world
from tunnelctl.secret import Secret
from tunnelctl.wire.messages import OidcSpec, PolicySpec
from tunnelrelay.app.process import start_facts
from tunnelrelay.app.relay import Relay
from tunnelrelay.app.start_problems import StartError

NAVIGATION = {
    "Accept": "text/html",
    "Sec-Fetch-Site": "none",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
}


def settings(**changes: Any) -> dict[str, Any]:
    return {
        "dashboard_oidc": ISSUER,
        "dashboard_oidc_client_id": CLIENT_ID,
        "dashboard_oidc_client_secret": Secret(CLIENT_SECRET),
        "dashboard_admin": ("admins",),
        **changes,
    }


@asynccontextmanager
async def relay(
    data_dir: Path, provider: LyingProvider, **changes: Any
) -> AsyncIterator[tuple[World, DashboardClient]]:
    async with world(data_dir, provider, **settings(**changes)) as w:
        client = DashboardClient(w)
        async with client.http:
            yield w, client


async def come_back(w: World, client: DashboardClient, provider: LyingProvider) -> httpx.Response:
    """Signs in at the provider. Returns the answer of the dashboard's host."""
    begun = await client.http.get("/_tunnel/login", headers=NAVIGATION)
    assert begun.status_code == 303, begun.text
    params = urlencode(provider.authorize(begun.headers["location"]))
    host = {"Host": f"localhost:{w.port}"}
    handed = await client.http.get(f"/oauth2/callback?{params}", headers=NAVIGATION | host)
    assert handed.status_code == 303, handed.text
    target = urlsplit(handed.headers["location"])
    assert f"http://{target.netloc}" == client.origin
    return await client.http.get(f"{target.path}?{target.query}", headers=NAVIGATION)


@pytest.fixture
def provider() -> LyingProvider:
    made = LyingProvider(clock=time.time)
    made.claims = {"groups": ["admins"]}
    return made


async def test_an_administrator_signs_in_by_the_operator_s_provider_and_out_again(
    tmp_path: Path, provider: LyingProvider
) -> None:
    async with relay(tmp_path, provider) as (w, client):
        assert (await client.get("/edges")).status_code == 303

        assert (await come_back(w, client, provider)).status_code == 303
        assert (await client.get("/edges")).status_code == 200
        (user,) = await w.relay.store.users.all()
        assert (user.name, user.role, user.owner) == ("Alice Adams", "admin", "local")

        asked = await client.http.get("/_tunnel/logout", headers=NAVIGATION)
        fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', asked.text))
        left = await client.post("/_tunnel/logout", fields, token="")
        assert left.status_code in (200, 303)
        assert (await client.get("/edges")).status_code == 303


async def test_who_came_by_a_link_and_by_the_provider_is_led_out_of_both(
    tmp_path: Path, provider: LyingProvider
) -> None:
    async with relay(tmp_path, provider) as (w, client):
        handed = await come_back(w, client, provider)
        assert handed.status_code == 303, handed.text
        assert (await client.get("/edges")).status_code == 200
        (user,) = await w.relay.store.users.all()
        sign_ins = w.relay.parts.services.sign_ins
        assert (await client.sign_in(await sign_ins.invite(None, user.id))).status_code == 303

        left = await client.post("/sign-out")

        assert left.headers["location"] == "/_tunnel/logout"
        assert "tunnel-dashboard=;" in left.headers["set-cookie"]


async def test_who_has_no_value_of_the_claim_gets_the_login_s_own_refusal(
    tmp_path: Path, provider: LyingProvider
) -> None:
    provider.claims = {"groups": ["staff"]}
    async with relay(tmp_path, provider) as (w, client):
        refused = await come_back(w, client, provider)

        assert refused.status_code == 403
        assert (await client.get("/edges")).status_code == 303
        assert await w.relay.store.users.all() == []


async def test_an_administrator_by_the_provider_makes_the_first_link_worthless(
    tmp_path: Path, provider: LyingProvider
) -> None:
    """Row 143."""
    async with relay(tmp_path, provider) as (w, client):
        sign_ins = w.relay.parts.services.sign_ins
        code = await sign_ins.first_run("local")
        assert code is not None

        handed = await come_back(w, client, provider)
        assert handed.status_code == 303, handed.text
        assert (await client.get("/edges")).status_code == 200

        assert await sign_ins.first_run("local") is None
        client.http.cookies.clear()
        assert (await client.sign_in(code)).status_code == 403


async def test_a_provider_that_says_somebody_signed_out_ends_their_sign_in_here(
    tmp_path: Path, provider: LyingProvider
) -> None:
    """Row 144."""
    async with relay(tmp_path, provider) as (w, client):
        handed = await come_back(w, client, provider)
        assert handed.status_code == 303, handed.text
        assert (await client.get("/edges")).status_code == 200
        now = int(time.time())
        claims = {name: value for name, value in HONEST.items() if name != "sid"}
        token = sign({**claims, "iat": now, "exp": now + 60}, typ="logout+jwt")

        host = {"Host": f"localhost:{w.port}"}
        told = await client.http.post("/oauth2/backchannel-logout", data={"logout_token": token}, headers=host)

        assert told.status_code == 200
        assert (await client.get("/edges")).status_code == 303


async def test_row144_what_was_begun_for_the_dashboard_ends_nowhere_else(
    tmp_path: Path, provider: LyingProvider, app: App
) -> None:
    """Row 144."""
    async with relay(tmp_path, provider) as (w, client):
        spec = OidcSpec(issuer=ISSUER, client_id=CLIENT_ID, client_secret=CLIENT_SECRET)
        tunnel = await w.tunnel(app.port, subdomain="evil", policy=PolicySpec(oidc=spec))
        begun = await client.http.get("/_tunnel/login", headers=NAVIGATION)
        params = urlencode(provider.authorize(begun.headers["location"]))
        callback = {"Host": f"localhost:{w.port}"}
        handed = await client.http.get(f"/oauth2/callback?{params}", headers=NAVIGATION | callback)
        target = urlsplit(handed.headers["location"])

        stolen = await client.http.get(f"{target.path}?{target.query}", headers=NAVIGATION | {"Host": tunnel.host})

        assert stolen.status_code == 400
        assert (await client.get("/edges")).status_code == 303
        cookies = dict(client.http.cookies)
        assert "tunnel" not in cookies


async def test_row144_a_login_at_an_app_with_the_same_client_is_none_at_the_dashboard(
    tmp_path: Path, provider: LyingProvider, app: App
) -> None:
    """Row 144."""
    async with relay(tmp_path, provider) as (w, client):
        spec = OidcSpec(issuer=ISSUER, client_id=CLIENT_ID, client_secret=CLIENT_SECRET)
        tunnel = await w.tunnel(app.port, subdomain="app", policy=PolicySpec(oidc=spec))
        there = {"Host": tunnel.host}
        begun = await client.http.get("/", headers=NAVIGATION | there)
        params = urlencode(provider.authorize(begun.headers["location"]))
        callback = {"Host": f"localhost:{w.port}"}
        handed = await client.http.get(f"/oauth2/callback?{params}", headers=NAVIGATION | callback)
        target = urlsplit(handed.headers["location"])
        done = await client.http.get(f"{target.path}?{target.query}", headers=NAVIGATION | there)
        assert done.status_code == 303, done.text
        session = dict(re.findall(r"(tunnel)=([\w-]{43})", str(done.headers.get_list("set-cookie"))))
        assert session

        client.http.cookies.clear()
        answer = await client.get("/edges", Cookie=f"tunnel={session['tunnel']}")

        assert answer.status_code == 303
        assert await w.relay.store.users.all() == []


async def test_without_a_provider_the_dashboard_s_host_has_no_login(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        client = DashboardClient(w)
        async with client.http:
            for path in ("/_tunnel/login", "/_tunnel/logout", "/_tunnel/oidc/cb", "/_tunnel/oidc/callback"):
                assert (await client.http.get(path, headers=NAVIGATION)).status_code == 404


async def test_a_relay_does_not_start_with_a_provider_that_nobody_could_use(tmp_path: Path) -> None:
    """Row 159."""
    w = World(tmp_path, **settings(dashboard_admin=()))
    with pytest.raises(StartError, match="no value of the role claim lets anybody in"):
        await w.start_relay()
    assert isinstance(w.relay, Relay)


@pytest.mark.parametrize("is_multi_tenant", [False, True])
async def test_the_redirect_uri_that_is_logged_is_the_one_that_is_sent(
    tmp_path: Path, provider: LyingProvider, is_multi_tenant: bool
) -> None:
    async with relay(tmp_path, provider, multi_tenant=is_multi_tenant) as (w, client):
        told = (await start_facts(w.relay)).redirect_uri
        begun = await client.http.get("/_tunnel/login", headers=NAVIGATION)

        sent = dict(parse_qsl(urlsplit(begun.headers["location"]).query))["redirect_uri"]
        assert told == sent
