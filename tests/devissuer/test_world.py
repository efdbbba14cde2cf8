"""A person and a program at an endpoint whose login is the test issuer: a whole relay, on loopback."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.apps import App
from tests.support.raw_http import fetch
from tests.support.visitor import Visitor
from tests.support.world import world
from tunnelctl.agent.preflight import Client, check_provider
from tunnelctl.devissuer.issuer import CLIENT_SECRET, DevIssuer
from tunnelctl.devissuer.users import parse_user
from tunnelctl.localapi.server import ApiWatcher, LocalServer
from tunnelctl.wire.messages import OidcSpec, PolicySpec


@asynccontextmanager
async def running(*users: str) -> AsyncIterator[DevIssuer]:
    listener = socket.create_server(("127.0.0.1", 0))
    issuer = DevIssuer(f"http://localhost:{listener.getsockname()[1]}", [parse_user(text) for text in users])
    async with LocalServer(listener, issuer.answer, ApiWatcher()):
        yield issuer


def policy(issuer: DevIssuer) -> PolicySpec:
    oidc = OidcSpec(
        issuer=issuer.issuer, client_id="dev", client_secret=CLIENT_SECRET, allow_groups=("qa",), bearer=("",)
    )
    return PolicySpec(oidc=oidc)


async def test_who_the_rules_name_gets_to_the_app_and_others_do_not(tmp_path: Path, app: App):
    users = ("alice@example.com;groups=qa", "bob@example.com;groups=guests")
    async with running(*users) as issuer, world(tmp_path / "data") as w:
        tunnel = await w.tunnel(app.port, subdomain="demo", policy=policy(issuer))
        with Visitor() as alice, Visitor() as bob:
            asked = await asyncio.to_thread(alice.navigate, f"{tunnel.url}/echo?a=b")
            let_in = await asyncio.to_thread(alice.submit, asked, user="alice@example.com")
            asked = await asyncio.to_thread(bob.navigate, tunnel.url)
            kept_out = await asyncio.to_thread(bob.submit, asked, user="bob@example.com")

    assert "UNSAFE" in asked.text
    assert let_in.status_code == 200
    seen = dict(let_in.json()["fields"])
    assert (seen["x-tunnel-user"], seen["x-tunnel-email"]) == ("alice@example.com", "alice@example.com")
    assert seen["x-tunnel-issuer"] == issuer.issuer
    assert kept_out.status_code == 403


async def test_a_program_gets_in_with_its_token(tmp_path: Path, app: App):
    async with running("alice@example.com;groups=qa") as issuer, world(tmp_path / "data") as w:
        tunnel = await w.tunnel(app.port, subdomain="demo", policy=policy(issuer))
        form = f"grant_type=client_credentials&client_id=dev&client_secret={CLIENT_SECRET}"
        port = int(issuer.issuer.split(":")[2].split("/")[0])
        statuses = []
        for whose in ("", "&user=alice%40example.com"):
            answer = await fetch(
                port,
                "POST",
                "/unsafe-dev-issuer/token",
                host=f"localhost:{port}",
                fields=[("Content-Type", "application/x-www-form-urlencoded")],
                body=(form + whose).encode(),
            )
            token = answer.body.decode().partition('"access_token":"')[2].partition('"')[0]
            got = await tunnel.fetch("GET", "/", fields=[("Authorization", f"Bearer {token}")])
            statuses.append(got.status)

    assert statuses == [403, 200]  # the client itself is in no group


async def test_tunnel_oidc_check_finds_nothing_wrong_with_it():
    async with running("alice") as issuer:
        client = Client(id="dev", secret=CLIENT_SECRET, redirect_uri="http://localhost:8080/oauth2/callback")
        findings = await check_provider(issuer.issuer, client)

    assert [one for one in findings if one.level != "ok"] == []
