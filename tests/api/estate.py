"""A running relay with an owner's things of every kind, some of them live, and a stranger who would like them."""

import hashlib
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx

from tests.support.apps import App
from tests.support.waiting import PATIENCE
from tests.support.world import World, WorldTunnel, world
from tunnelrelay.config.values import PortRange
from tunnelrelay.services.actor import Actor
from tunnelrelay.store.base import SessionRow
from tunnelrelay.store.resources import ApiKeyRow, UserRow

OPERATOR = Actor(user_id="", name="operator", owner="default", is_admin=True, via="command")
SECRET = "client-secret-of-the-estate"
PASSWORD = "ann:password-of-the-estate"
ISSUER = "https://idp.acme.example"
UNKNOWN = "06hhgn2rn28t3mva7p0l7ekt"
"""Behind any prefix: the id of nothing."""


@dataclass
class Estate:
    """See the module.

    Attributes:
        people: Users by name: `admin`, `member` (of the owner `team`) and `stranger` (of the owner `other`).
        ids: Parameters of a path to values that lead to something of `team`'s, by the beginning of the path.
        made: Secrets that were shown once, when something was made.
        owners_key: The member's.
    """

    w: World
    client: httpx.AsyncClient
    people: dict[str, UserRow] = field(default_factory=dict)
    ids: dict[str, dict[str, str]] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)
    tunnels: list[WorldTunnel] = field(default_factory=list)
    owners_key: str = ""

    async def key(self, name: str, scopes: Sequence[str] = ("*",), expires_at: float | None = None) -> str:
        """A key of somebody's."""
        keys = self.w.relay.parts.services.api_keys
        row, text = await keys.create(OPERATOR, scopes=scopes, user_id=self.people[name].id)
        if expires_at is not None:
            # In the past nobody may put it who asks for it.
            stored = self.w.relay.store.api_keys
            assert await stored.replace(_expiring(row, expires_at))
        return text

    async def ask(
        self, key: str, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """One request through the relay's front door."""
        sent = {**({"Authorization": f"Bearer {key}"} if key else {}), **(headers or {})}
        return await self.client.request(method, path, json=body, headers=sent)

    def path(self, template: str, *, unknown: bool = False) -> str:
        """The path of the schema, with ids of `team`'s things in it, or of things there are none of."""
        for prefix, values in self.ids.items():
            if template.startswith(prefix):
                return template.format(
                    **{name: f"{id.partition('_')[0]}_{UNKNOWN}" if unknown else id for name, id in values.items()}
                )
        assert "{" not in template, f"nothing of this kind is there: {template}"
        return template


PORTS = (PortRange(None, 20_000, 29_999),)
"""Never listened at."""


def _expiring(row: ApiKeyRow, at: float) -> ApiKeyRow:
    return replace(row, expires_at=at, version=row.version + 1)


@asynccontextmanager
async def estate(data_dir: Path, app: App) -> AsyncIterator[Estate]:
    """A relay of strangers with all of it."""
    async with world(data_dir, multi_tenant=True, tcp_ports=PORTS) as w:
        base = f"http://127.0.0.1:{w.port}/_tunnel/api"
        async with httpx.AsyncClient(base_url=base, trust_env=False, timeout=PATIENCE) as client:
            found = Estate(w, client)
            users = w.relay.parts.services.users
            for name, owner, role in (
                ("admin", "default", "admin"),
                ("member", "team", "member"),
                ("stranger", "other", "member"),
            ):
                found.people[name] = await users.create(OPERATOR, name, owner, role)
            await _furnish(found, app)
            yield found


async def _furnish(found: Estate, app: App) -> None:
    ann, admin = await found.key("member"), await found.key("admin")
    found.owners_key = ann

    async def made(path: str, key: str = ann, **body: Any) -> dict[str, Any]:
        answer = await found.ask(key, "POST", path, body)
        assert answer.status_code == 201, answer.text
        told: dict[str, Any] = answer.json()
        if told.get("token"):
            found.made.append(told["token"])
        return told

    provider = await made(
        "/providers", admin, name="work", issuer=ISSUER, client_id="c", client_secret=SECRET, owners=["team"]
    )
    rule = await made(
        "/trust_rules", admin, issuer=ISSUER, claims={"project_id": "42"}, acl=["bind:pr-*"], owner="team"
    )
    group = await made("/backends/tunnel_group", labels={"app": "shop"})
    domain = await made("/reserved_domains", domain="kept.localhost")
    addr = await made("/reserved_addrs", addr="20001")
    credential = await made("/credentials", description="a laptop")
    key = await made("/api_keys", description="a script")
    edge = await made("/edges/https", description="the shop", hostports=[f"shop.localhost:{found.w.port}"])
    route = await made(
        f"/edges/https/{edge['id']}/routes",
        match_type="path_prefix",
        match="/",
        backend={"backend_id": group["id"]},
        oidc={"issuer": ISSUER, "client_id": "c", "client_secret": SECRET},
        ip_restriction={"deny": ["203.0.113.0/24"]},
        rate_limit={"limit": "1000/1m"},
        request_headers={"add": {"x-a": "1"}},
        response_headers={"add": {"x-b": "2"}},
        jwt={"issuers": [{"issuer": "https://ci.acme.example", "audience": "shop"}]},
    )
    private = await made("/edges/https", description="with a password")
    guarded = await made(
        f"/edges/https/{private['id']}/routes",
        match_type="path_prefix",
        match="/",
        basic_auth={"credentials": [PASSWORD]},
    )
    tunnel = await found.w.tunnel(app.port, token=credential["token"], labels=(("app", "shop"),))
    found.tunnels.append(tunnel)
    await _sign_in(found, "shop.localhost")
    live = (await found.ask(ann, "GET", "/tunnels")).json()["tunnels"][0]
    endpoint = (await found.ask(ann, "GET", "/endpoints")).json()["endpoints"][0]
    session = (await found.ask(ann, "GET", "/app/sessions")).json()["application_sessions"][0]
    found.ids = {
        "/edges/https/{edge_id}/routes/{id}/basic_auth": {"edge_id": private["id"], "id": guarded["id"]},
        "/edges/https/{edge_id}/routes/{id}": {"edge_id": edge["id"], "id": route["id"]},
        "/edges/https/{edge_id}/routes": {"edge_id": edge["id"]},
        "/edges/https/{id}": {"id": edge["id"]},
        "/backends/tunnel_group/{id}": {"id": group["id"]},
        "/reserved_domains/{id}": {"id": domain["id"]},
        "/reserved_addrs/{id}": {"id": addr["id"]},
        "/endpoints/{id}": {"id": endpoint["id"]},
        "/tunnels/{id}": {"id": live["id"]},
        "/tunnel_sessions/{id}": {"id": live["tunnel_session"]["id"]},
        "/credentials/{id}": {"id": credential["id"]},
        "/api_keys/{id}": {"id": key["id"]},
        "/trust_rules/{id}": {"id": rule["id"]},
        "/providers/{id}": {"id": provider["id"]},
        "/users/{id}": {"id": found.people["member"].id},
        "/app/sessions/{id}": {"id": session["id"]},
    }


async def _sign_in(found: Estate, host: str) -> None:
    now = time.time()
    row = SessionRow(
        key=hashlib.sha256(b"a cookie").digest(),
        host=host,
        connection_id="conn",
        epoch="e",
        issuer=ISSUER,
        subject="alice",
        email="alice@acme.example",
        created_at=now,
        last_seen=now,
        expires_at=now + 3600,
        sealed=b"sealed",
    )
    await found.w.relay.store.save_session(row)
