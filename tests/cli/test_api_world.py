"""`tunnel api` and tunnels that join edges, against a whole relay with its API."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.world import World, world
from tunnelctl.agent.outcome import Invalid, NotAllowed
from tunnelctl.cli.main import run
from tunnelctl.wire.messages import OidcSpec, PolicySpec
from tunnelrelay.services.actor import Actor

OPERATOR = Actor(user_id="", name="operator", owner="local", is_admin=True, via="command")


@dataclass
class Desk:
    """Somebody with an administrator's key, at a relay that asks agents for no token unless a test says otherwise."""

    world: World
    capsys: pytest.CaptureFixture[str]

    async def api(self, *arguments: str, code: int = 0) -> Any:
        """What a command prints."""
        self.capsys.readouterr()
        got = await asyncio.to_thread(run, ["api", *arguments])
        out, err = self.capsys.readouterr()
        assert got == code, err
        return json.loads(out) if out else err

    async def edge(self, label: str) -> tuple[str, str]:
        """The ids of a new edge with this name and of its route."""
        await self.api("reserved-domains", "create", "--domain", label)
        edge = await self.api("edges", "https", "create", f"--hostports={label}.localhost:{self.world.port}")
        route = await self.api("edges", "https-routes", "create", edge["id"], "--match=/", "--match-type=path_prefix")
        return edge["id"], route["id"]


@pytest.fixture
async def desk(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> AsyncIterator[Desk]:
    monkeypatch.setattr("platformdirs.user_config_path", lambda name: tmp_path)
    for name in ("CONFIG", "RELAY_CA", "API_URL"):
        monkeypatch.delenv(f"TUNNELCTL_{name}", raising=False)
    async with world(tmp_path / "data", **getattr(request, "param", {})) as w:
        services = w.relay.parts.services
        user = await services.users.create(OPERATOR, "ann", "local", "admin")
        _, key = await services.api_keys.create(OPERATOR, user_id=user.id)
        monkeypatch.setenv("TUNNELCTL_API_KEY", key)
        monkeypatch.setenv("TUNNELCTL_RELAY", f"http://127.0.0.1:{w.port}")
        yield Desk(w, capsys)


async def test_an_edge_is_made_joined_guarded_and_opened_without_a_restart(desk, app, monkeypatch):
    monkeypatch.setenv("PAIR", "ann:long-enough")
    edge, route = await desk.edge("shop")
    tunnel = await desk.world.tunnel(app.port, labels=(("edge", edge),))
    assert tunnel.host == f"shop.localhost:{desk.world.port}"
    assert (await tunnel.fetch("GET", "/status/200")).status == 200

    module = ("edge-modules", "https-edge-route-basic-auth")
    await desk.api(*module, "replace", edge, route, "--credentials=env:PAIR")
    assert (await tunnel.fetch("GET", "/status/200")).status == 401
    assert await desk.api(*module, "delete", edge, route) == ""
    assert (await tunnel.fetch("GET", "/status/200")).status == 200


async def test_a_tunnel_waits_for_an_edge_that_looks_for_its_labels(desk, app):
    tunnel = desk.world.agent(app.port, labels=(("app", "shop"), ("stage", "live")))
    waiting = await tunnel.diary.waits.get()
    assert waiting.reason.startswith(f"no edge of owner {waiting.owner} asks for the labels app=shop, stage=live yet")

    group = await desk.api("backends", "tunnel-group", "create", "--labels=app=shop")
    edge, route = await desk.edge("shop")
    await desk.api("edge-modules", "https-edge-route-backend", "replace", edge, route, "--backend-id", group["id"])
    await tunnel.until_started()
    assert (await tunnel.fetch("GET", "/status/200")).status == 200

    await desk.api("edges", "https", "delete", edge)
    await tunnel.diary.waits.get()
    assert f"left: {tunnel.url}" in tunnel.diary.events


async def test_an_edge_is_joined_by_its_name(desk, app):
    await desk.edge("shop")
    tunnel = await desk.world.tunnel(app.port, edge="shop", metadata="blue", weight=3)
    assert (await tunnel.fetch("GET", "/status/200")).status == 200
    (shown,) = (await desk.api("tunnels", "list"))["tunnels"]
    assert shown["metadata"] == "blue"


async def test_an_edge_that_is_not_there_ends_the_agent(desk, app):
    outcome = await desk.world.agent(app.port, edge="nowhere").running
    assert isinstance(outcome, Invalid)
    assert outcome.hint


async def test_a_provider_that_the_relay_does_not_know_ends_the_agent(desk, app):
    login = PolicySpec(oidc=OidcSpec(issuer="@nowhere", client_id="", client_secret=""))
    outcome = await desk.world.agent(app.port, policy=login).running
    assert isinstance(outcome, Invalid)
    assert "--oidc" in outcome.message


async def test_a_stopped_agent_does_not_come_back(desk, app):
    tunnel = await desk.world.tunnel(app.port, subdomain="demo")
    (session,) = (await desk.api("tunnel-sessions", "list"))["tunnel_sessions"]
    await desk.api("tunnel-sessions", "stop", session["id"])
    assert isinstance(await tunnel.running, NotAllowed)


async def test_two_tunnels_share_an_address_that_both_pool(desk, app):
    first = await desk.world.tunnel(app.port, subdomain="demo", pooling=True)
    second = await desk.world.tunnel(app.port, subdomain="demo", pooling=True, name="second")
    assert second.url == first.url
    assert (first.outcome, second.outcome) == (None, None)
    assert len((await desk.api("tunnels", "list"))["tunnels"]) == 2


async def test_a_key_that_was_deleted_opens_nothing(desk):
    (key,) = (await desk.api("api-keys", "list"))["keys"]
    await desk.api("api-keys", "delete", key["id"])
    said = await desk.api("tunnels", "list", code=3)
    assert said.startswith("error: the API refused: This API key is unknown")


async def test_what_is_not_there_is_exit_code_1(desk):
    said = await desk.api("edges", "https", "get", "edghts_nowhere", code=1)
    assert "(not_found, HTTP 404)" in said


async def test_every_list_answers(desk):
    from tunnelctl.cli.api_schema import groups

    listed = [group.name for group in groups() for one in group.operations if one.verb == "list"]
    for name in listed:
        assert "next_page_uri" in await desk.api(*name.split(), "list")
    assert (await desk.api("users", "me"))["user"]["name"] == "ann"


async def test_all_pages_of_a_list_are_one(desk):
    for name in ("bob", "eve"):
        await desk.api("users", "create", f"--name={name}", "--owner=team")
    listed = await desk.api("users", "list", "--all", "--limit=1")
    assert [user["name"] for user in listed["users"]] == ["eve", "bob", "ann"]
    assert listed["next_page_uri"] is None


async def test_a_joined_tunnel_is_back_after_the_relay_was_started_again(desk, app):
    edge, _ = await desk.edge("shop")
    tunnel = await desk.world.tunnel(app.port, labels=(("edge", edge),))
    await desk.world.relay.stop()
    await desk.world.start_relay()
    await tunnel.until_started()
    assert tunnel.host == f"shop.localhost:{desk.world.port}"
    assert (await tunnel.fetch("GET", "/status/200")).status == 200


async def test_a_tunnel_waits_while_its_edge_has_no_route_and_ends_when_a_new_link_finds_no_edge(desk, app):
    edge, route = await desk.edge("shop")
    tunnel = await desk.world.tunnel(app.port, edge="shop")
    await desk.api("edges", "https-routes", "delete", edge, route)
    assert (await tunnel.diary.waits.get()).edge == "shop"
    await desk.api("edges", "https", "delete", edge)
    (session,) = (await desk.api("tunnel-sessions", "list"))["tunnel_sessions"]
    await desk.api("tunnel-sessions", "restart", session["id"])
    assert isinstance(await tunnel.running, Invalid)


@pytest.mark.parametrize("desk", [{"multi_tenant": True}], indirect=True)
async def test_a_credential_that_may_not_join_is_told_so(desk, app):
    await desk.edge("shop")
    made = await desk.api("credentials", "create", "--acl=bind:pr-*")
    outcome = await desk.world.agent(app.port, edge="shop", token=made["token"]).running
    assert isinstance(outcome, NotAllowed)
    assert outcome.hint


async def test_an_edge_with_its_login_is_made_by_one_command_and_shown_as_a_table(desk, capsys):
    made = await desk.api(
        "edges", "https", "create", f"--hostports=one-call.localhost:{desk.world.port}",
        "--oidc.issuer=https://acme.okta.com", "--oidc.client-id=0oa1", "--oidc.client-secret=s3cret-of-the-test",
        "--oidc.allow-domains=acme.com",
    )  # fmt: skip
    capsys.readouterr()
    await asyncio.to_thread(run, ["api", "edges", "https", "list", "--output", "table"])
    table, _ = capsys.readouterr()
    await desk.api(
        "edges", "https", "create", "--hostports=refused.localhost", "--oidc.issuer=ftp://acme.okta.com", code=1
    )

    head, row = table.splitlines()
    assert head.split()[0] == "ID"
    assert made["id"] in row
    assert made["routes"][0]["oidc"]["allow_domains"] == ["acme.com"]
    assert "s3cret-of-the-test" not in table
    hosts = [domain["domain"] for domain in (await desk.api("reserved-domains", "list"))["reserved_domains"]]
    assert [host for host in hosts if host.startswith("refused")] == []
