"""The `ngrok-api` package from PyPI, given our base URL and nothing else, sets up an endpoint and takes it down."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import ngrok
import pytest
from ngrok.datatypes import EndpointBackendMutate, EndpointOIDC, EndpointRequestHeaders, EndpointSAMLMutate

from tests.support.app_routes import SECRET
from tests.support.apps import App
from tests.support.idp import CLIENT_ID, CLIENT_SECRET, Provider
from tests.support.visitor import Visitor
from tests.support.waiting import PATIENCE
from tests.support.world import World, world
from tunnelrelay.config.values import PortRange
from tunnelrelay.services.actor import Actor

OPERATOR = Actor(user_id="", name="operator", owner="default", is_admin=True, via="command")
TCP_PORTS = PortRange(None, 20_000, 20_100)


@pytest.fixture
async def w(tmp_path) -> AsyncIterator[World]:
    """A relay whose agents show tokens."""
    async with world(tmp_path, multi_tenant=True, tcp_ports=(TCP_PORTS,)) as running:
        yield running


async def client_of(w: World, name: str, owner: str, role: str = "member", **at: str) -> ngrok.Client:
    """The package's client with a new user's key."""
    services = w.relay.parts.services
    user = await services.users.create(OPERATOR, name, owner, role)
    _row, key = await services.api_keys.create(OPERATOR, user_id=user.id)
    return ngrok.Client(key, at.get("base_url") or f"http://127.0.0.1:{w.port}/_tunnel/api")


def oidc(idp: Provider, **more: Any) -> EndpointOIDC:
    """The OpenID module as the package's users write it."""
    props = {
        "enabled": True,
        "options_passthrough": False,
        "cookie_prefix": "ngrok.",
        "inactivity_timeout": 0,
        "maximum_duration": 0,
        "issuer": idp.issuer,
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "scopes": ["openid", "email"],
    }
    return EndpointOIDC(None, {**props, **more})


async def test_the_package_from_pypi_reserves_a_tcp_port(w: World):
    api = await client_of(w, "ann", "team")

    def reserve() -> None:
        made = api.reserved_addrs.create(description="ssh")
        host, _, port = made.addr.rpartition(":")
        assert (host, int(port) in TCP_PORTS.ports) == ("localhost", True)
        assert [each.id for each in api.reserved_addrs.list()] == [made.id]
        assert api.reserved_addrs.update(made.id, description="the build machine").description == "the build machine"
        assert api.reserved_addrs.get(made.id).addr == made.addr
        api.reserved_addrs.delete(made.id)
        assert [*api.reserved_addrs.list()] == []

    await asyncio.to_thread(reserve)


async def test_the_package_from_pypi_sets_up_an_edge_that_asks_for_a_login(w: World, app: App, mock_idp: Provider):
    api = await client_of(w, "ann", "team")

    def set_up() -> tuple[Any, Any, Any, Any]:
        credential = api.credentials.create(description="ann's laptop", metadata='{"site": 1}')
        domain = api.reserved_domains.create(domain="shop.localhost", description="the shop")
        group = api.backends.tunnel_group.create(labels={"app": "shop"}, description="shops")
        edge = api.edges.https.create(description="no description", hostports=[f"{domain.domain}:{w.port}"])
        route = api.edges.https_routes.create(edge.id, match_type="path_prefix", match="/")
        return credential, group, edge, route

    credential, group, edge, route = await asyncio.to_thread(set_up)
    assert credential.token.startswith("tt_")
    assert edge.hostports == [f"shop.localhost:{w.port}"]
    assert edge.routes == []

    def guard() -> None:
        modules = api.edge_modules
        set_module = modules.https_edge_route_oidc.replace(edge.id, route.id, module=oidc(mock_idp))
        assert (set_module.issuer, set_module.client_secret) == (mock_idp.issuer, None)
        modules.https_edge_route_backend.replace(
            edge.id, route.id, module=EndpointBackendMutate(None, {"enabled": True, "backend_id": group.id})
        )
        modules.https_edge_route_request_headers.replace(
            edge.id, route.id, module=EndpointRequestHeaders(None, {"add": {"x-from": "edge"}, "remove": []})
        )

    await asyncio.to_thread(guard)
    tunnel = w.agent(app.port, token=credential.token, labels=(("app", "shop"), ("dc", "fra")))
    await tunnel.until_started()

    def look() -> None:
        live = list(api.tunnels.list())
        assert [one.labels for one in live] == [{"app": "shop", "dc": "fra"}]
        assert [ref.id for ref in live[0].backends] == [group.id]
        assert [one.credential.id for one in api.tunnel_sessions.list()] == [credential.id]
        assert api.tunnel_sessions.get(live[0].tunnel_session.id).agent_version
        endpoints = list(api.endpoints.list())
        assert [(one.type, one.edge.id, one.public_url) for one in endpoints] == [
            ("edge", edge.id, f"http://shop.localhost:{w.port}")
        ]
        assert [ref.id for ref in api.backends.tunnel_group.get(group.id).tunnels] == [live[0].id]

    await asyncio.to_thread(look)
    url = f"http://shop.localhost:{w.port}/"

    def visit() -> None:
        with Visitor() as visitor:
            page = visitor.navigate(url)
            assert str(page.request.url).startswith(mock_idp.issuer)
            assert app.seen("/") == []
            assert SECRET in visitor.sign_in(page, "alice").text
            sessions = list(api.application_sessions.list())
            emails = [one._props["email"] for one in sessions]  # noqa: SLF001  # a field that ngrok's client has not
            assert [one.public_url for one in sessions] == [url.rstrip("/")]
            assert emails == ["alice@example.com"]
            api.application_sessions.delete(sessions[0].id)
            assert str(visitor.navigate(url).request.url).startswith(mock_idp.issuer)

    await asyncio.to_thread(visit)
    assert [request.get("x-from") for request in app.seen("/")] == ["edge"]

    def change() -> None:
        changed = api.edges.https.update(edge.id, description="the shop's door")
        assert (changed.description, changed.hostports) == ("the shop's door", edge.hostports)
        assert api.edges.https.get(edge.id).routes[0].oidc.issuer == mock_idp.issuer
        api.edge_modules.https_edge_route_oidc.delete(edge.id, route.id)
        with Visitor() as visitor:
            assert SECRET in visitor.navigate(url).text

    await asyncio.to_thread(change)

    def take_down() -> None:
        with pytest.raises(ngrok.Error) as refused:
            api.backends.tunnel_group.delete(group.id)
        assert refused.value.http_status_code == 409
        api.edges.https.delete(edge.id)
        with Visitor() as visitor:
            assert visitor.get(url).status_code == 404
        api.backends.tunnel_group.delete(group.id)
        for domain in api.reserved_domains.list():
            api.reserved_domains.delete(domain.id)
        api.credentials.delete(credential.id)
        assert [*api.edges.https.list(), *api.reserved_domains.list(), *api.credentials.list()] == []

    await asyncio.to_thread(take_down)
    assert await asyncio.wait_for(tunnel.running, PATIENCE) is not None


async def test_everything_the_package_lists_it_can_get_and_agents_can_be_stopped(w: World, app: App):
    api = await client_of(w, "ann", "team")
    credential = await asyncio.to_thread(api.credentials.create)
    tunnel = await w.tunnel(app.port, token=credential.token, subdomain="demo")

    def tried() -> None:
        for resource in (api.tunnels, api.tunnel_sessions, api.endpoints, api.credentials, api.api_keys):
            listed = list(resource.list())
            assert [resource.get(one.id) for one in listed] == listed != []
        endpoint = next(iter(api.endpoints.list()))
        assert (endpoint.type, endpoint.tunnel.id) == ("ephemeral", next(iter(api.tunnels.list())).id)
        changed = api.credentials.update(credential.id, description="a laptop", acl=["bind:demo.localhost"])
        assert (changed.description, changed.acl, changed.token) == ("a laptop", ["bind:demo.localhost"], None)
        key = api.api_keys.create(description="a script")
        assert api.api_keys.update(key.id, metadata="m").description == "a script"
        script = ngrok.Client(key.token, api.http_client.base_url)
        assert list(script.edges.https.list()) == []
        api.api_keys.delete(key.id)
        with pytest.raises(ngrok.Error) as refused:
            script.edges.https.list()
        assert refused.value.http_status_code == 401

    await asyncio.to_thread(tried)
    await tunnel.until_started()  # with the new ACL its link was opened anew
    sessions = await asyncio.to_thread(lambda: list(api.tunnel_sessions.list()))
    with pytest.raises(ngrok.Error, match="does not update agents"):
        await asyncio.to_thread(api.tunnel_sessions.update, sessions[0].id)
    await asyncio.to_thread(api.tunnel_sessions.stop, sessions[0].id)

    assert await asyncio.wait_for(tunnel.running, PATIENCE) is not None


async def test_lists_go_on_over_pages_until_their_end(w: World):
    api = await client_of(w, "ann", "team")

    def listed() -> tuple[list[str], list[str]]:
        made = [api.credentials.create(description=str(number)).id for number in range(7)]
        return made, [one.id for one in api.credentials.list(limit="3")]

    made, found = await asyncio.to_thread(listed)

    assert found == made[::-1]


async def test_what_is_anothers_is_not_found(w: World):
    """Row 138."""
    ann, bob = await client_of(w, "ann", "team"), await client_of(w, "bob", "other")

    def tried() -> None:
        edge = ann.edges.https.create()
        group = ann.backends.tunnel_group.create(labels={"a": "b"})
        credential = ann.credentials.create()
        domain = ann.reserved_domains.create(domain="mine")
        route = ann.edges.https_routes.create(edge.id, "path_prefix", "/")
        for attempt in (
            lambda: bob.edges.https.get(edge.id),
            lambda: bob.edges.https.update(edge.id, description="mine"),
            lambda: bob.edges.https.delete(edge.id),
            lambda: bob.edges.https_routes.get(edge.id, route.id),
            lambda: bob.edge_modules.https_edge_route_oidc.delete(edge.id, route.id),
            lambda: bob.backends.tunnel_group.get(group.id),
            lambda: bob.credentials.delete(credential.id),
            lambda: bob.reserved_domains.update(domain.id, description="mine"),
        ):
            with pytest.raises(ngrok.NotFoundError) as refused:
                attempt()
            assert refused.value.operation_id
        assert [*bob.edges.https.list(), *bob.credentials.list(), *bob.reserved_domains.list()] == []
        assert len(list(ann.edges.https.list())) == 1

    await asyncio.to_thread(tried)


async def test_a_restriction_this_relay_does_not_have_is_refused_never_dropped(w: World):
    api = await client_of(w, "ann", "team")

    def tried() -> ngrok.Error:
        edge = api.edges.https.create()
        saml = EndpointSAMLMutate(None, {"enabled": True, "idp_metadata": "<xml/>"})
        with pytest.raises(ngrok.Error) as refused:
            api.edges.https_routes.create(edge.id, "path_prefix", "/", saml=saml)
        assert api.edges.https.get(edge.id).routes == []
        route = api.edges.https_routes.create(edge.id, "path_prefix", "/")
        with pytest.raises(ngrok.Error) as refused_later:
            api.edge_modules.https_edge_route_saml.replace(edge.id, route.id, module=saml)
        assert refused_later.value.error_code == refused.value.error_code
        return refused.value

    refused = await asyncio.to_thread(tried)

    assert (refused.http_status_code, refused.error_code) == (400, "ERR_TUNNEL_NOT_SUPPORTED")
    assert "SAML" in str(refused)


async def test_an_agents_token_is_no_api_key(w: World):
    _token, text = await w.relay.parts.services.credentials.create(OPERATOR)

    with pytest.raises(ngrok.Error) as refused:
        await asyncio.to_thread(ngrok.Client(text, f"http://127.0.0.1:{w.port}/_tunnel/api").edges.https.list)

    assert (refused.value.http_status_code, refused.value.error_code) == (401, "ERR_NGROK_206")
