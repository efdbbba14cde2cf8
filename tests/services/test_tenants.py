"""Hostile tenants: whatever a member does with another owner's ids is like doing it with ids that do not exist."""

import inspect
from typing import Any

import pytest

from tests.policy.making import oidc
from tests.support.managed import ADMIN, ANN, BOB, Managed
from tests.support.tunnels import fake_tunnel
from tunnelrelay.services.edges import EdgeDraft, Edges
from tunnelrelay.services.problems import Kind, ManageError
from tunnelrelay.services.provider_settings import ProviderSettings
from tunnelrelay.services.providers import Providers
from tunnelrelay.services.trust_rules import TrustRules
from tunnelrelay.services.tunnels import Tunnels

WORK = ProviderSettings(issuer="https://acme.okta.com", client_id="0oa1")


class Theirs:
    """What belongs to bob: a thing of every kind."""

    async def set_up(self, managed: Managed) -> None:
        services = managed.services
        self.edge = (await services.edges.create(BOB, EdgeDraft(host="theirs", description="b"))).id
        self.backend = (await services.backends.create(BOB, (("a", "b"),))).id
        self.provider = (await services.providers.create(ADMIN, "theirs", WORK, "hush", owners=("bob",))).id
        self.rule = (await services.trust_rules.create(ADMIN, owner="bob", **RULE)).id
        tunnel = managed.join("bob", (("edge", self.edge),))
        self.tunnel = tunnel.id
        managed.registry.claim(fake_tunnel("bob"), "agents.tun.example", managed.policy("theirs.tun.example"))
        self.endpoint = managed.registry.find("theirs.tun.example").id
        self.session = "ts_theirs"


NOTHING = {
    "edge": "edghts_none",
    "backend": "bkdtg_none",
    "provider": "prv_none",
    "rule": "trust_none",
    "tunnel": "tn_none",
    "endpoint": "ep_none",
    "session": "ts_none",
}
"""An id of each kind that nothing has."""

BY_ID: dict[str, tuple[str, Any]] = {
    "edges.get": ("edge", lambda s, who, id: s.edges.get(who, id)),
    "edges.by_name": ("edge", lambda s, who, id: s.edges.by_name(who, id)),
    "edges.update": ("edge", lambda s, who, id: s.edges.update(who, id, description="mine", host="mine")),
    "edges.delete": ("edge", lambda s, who, id: s.edges.delete(who, id)),
    "edges.set_policy": ("edge", lambda s, who, id: s.edges.set_policy(who, id, lambda old: old)),
    "edges.set_backend": ("edge", lambda s, who, id: s.edges.set_backend(who, id, None)),
    "edges.redirect_uri": ("edge", lambda s, who, id: s.edges.redirect_uri(who, id, oidc())),
    "edges.failed_test": ("edge", lambda s, who, id: s.edges.failed_test(who, id, oidc(client_secret=""))),
    "edges.test_provider": ("edge", lambda s, who, id: s.edges.test_provider(who, oidc(client_secret=""), id)),
    "backends.get": ("backend", lambda s, who, id: s.backends.get(who, id)),
    "backends.update": ("backend", lambda s, who, id: s.backends.update(who, id, description="mine")),
    "backends.delete": ("backend", lambda s, who, id: s.backends.delete(who, id)),
    "providers.get": ("provider", lambda s, who, id: s.providers.get(who, id)),
    "trust_rules.get": ("rule", lambda s, who, id: s.trust_rules.get(who, id)),
    "tunnels.tunnel": ("tunnel", lambda s, who, id: s.tunnels.tunnel(who, id)),
    "tunnels.drain": ("tunnel", lambda s, who, id: s.tunnels.drain(who, id)),
    "tunnels.serving": ("edge", lambda s, who, id: s.tunnels.serving(who, id)),
    "tunnels.session": ("session", lambda s, who, id: s.tunnels.session(who, id)),
    "tunnels.stop_session": ("session", lambda s, who, id: s.tunnels.stop_session(who, id)),
    "tunnels.endpoint": ("endpoint", lambda s, who, id: s.tunnels.endpoint(who, id)),
}
"""Every method that takes an id, with the kind of the id."""

RULE: dict[str, Any] = {"issuer": "https://gitlab.com", "claims": {"project_id": "42"}, "acl": ["bind:pr-*"]}
LISTS = {
    "trust_rules.page",
    "edges.page",
    "backends.page",
    "providers.page",
    "tunnels.tunnels",
    "tunnels.sessions",
    "tunnels.endpoints",
}
NO_ID = {"edges.create", "backends.create"}
ADMINS = {f"providers.{name}" for name in ("create", "update", "delete", "test", "failed_test")}
ADMINS |= {f"trust_rules.{name}" for name in ("create", "update", "delete")}

HOOKS = {"edges.audit_fields", "providers.audit_fields", "trust_rules.audit_fields"}
"""Take no actor and no id."""


@pytest.fixture
def managed() -> Managed:
    return Managed()


async def refusal(call: Any) -> tuple[Kind, str, str, str]:
    """How it is refused, in everything a caller can see."""

    async def called() -> None:
        result = call()
        if inspect.isawaitable(result):
            await result

    with pytest.raises(ManageError) as refused:
        await called()
    error = refused.value
    return error.kind, error.code, error.message, error.hint


def test_the_matrix_has_every_method():
    """Row 138."""
    services = {"edges": Edges, "providers": Providers, "trust_rules": TrustRules, "tunnels": Tunnels}
    methods = {
        f"{name}.{method}"
        for name, service in services.items()
        for method, _ in inspect.getmembers(service, inspect.isfunction)
        if not method.startswith("_")
    }

    assert methods <= BY_ID.keys() | LISTS | NO_ID | ADMINS | HOOKS


@pytest.mark.parametrize("method", BY_ID)
async def test_another_owner_s_thing_is_like_none(managed, method):
    """Rows 138, 142."""
    theirs = Theirs()
    await theirs.set_up(managed)
    kind, call = BY_ID[method]
    managed.events()

    foreign = await refusal(lambda: call(managed.services, ANN, getattr(theirs, kind)))
    unknown = await refusal(lambda: call(managed.services, ANN, NOTHING[kind]))

    assert foreign == unknown
    assert foreign[0] is Kind.MISSING
    assert managed.events() == []
    assert managed.provider.asked == []
    assert not managed.registry.tunnel(theirs.tunnel).is_draining


async def test_lists_hold_only_what_is_one_s_own(managed):
    """Row 138. Also with a filter for somebody else's."""
    theirs = Theirs()
    await theirs.set_up(managed)
    services = managed.services

    assert await services.edges.page(ANN) == await services.edges.page(ANN, owner="bob") == []
    assert await services.backends.page(ANN) == await services.backends.page(ANN, owner="bob") == []
    assert await services.providers.page(ANN) == []
    assert await services.trust_rules.page(ANN) == await services.trust_rules.page(ANN, owner="bob") == []
    assert services.tunnels.tunnels(ANN) == services.tunnels.sessions(ANN) == services.tunnels.endpoints(ANN) == []
    assert [edge.id for edge in await services.edges.page(BOB)] == [theirs.edge]
    assert len(services.tunnels.endpoints(ADMIN)) == 2


async def test_reading_on_from_a_stranger_s_id_shows_nothing_of_it(managed):
    """Row 138."""
    theirs = Theirs()
    await theirs.set_up(managed)

    assert await managed.services.edges.page(ANN, before=theirs.edge) == []


async def test_a_member_sets_nothing_up_for_others(managed):
    """Row 142. The owner of a thing is not the member's to say, when it is made or later."""
    services = managed.services

    for call in (
        lambda: services.edges.create(ANN, EdgeDraft(host="demo", owner="bob")),
        lambda: services.backends.create(ANN, (("a", "b"),), owner="bob"),
        lambda: services.domains.create(ANN, "demo", owner="bob"),
    ):
        assert (await refusal(call))[0] is Kind.FORBIDDEN
    assert (await refusal(lambda: services.edges.create(ADMIN, EdgeDraft(owner="no such owner"))))[0] is Kind.INVALID
    assert "owner" not in inspect.signature(services.edges.update).parameters
    assert "owner" not in inspect.signature(services.backends.update).parameters


async def test_an_edge_named_after_a_stranger_s_host_is_not_to_be_had(managed):
    """Row 138."""
    await Theirs().set_up(managed)

    kind, *_ = await refusal(lambda: managed.services.edges.create(ANN, EdgeDraft(host="theirs")))

    assert kind is Kind.CONFLICT


async def test_views_of_tunnels_never_tell_the_agent_s_instance(managed):
    """Row 141. Whoever knows it can take its names over."""
    tunnel = managed.join("ann", (("a", "b"),), agent="c0ffee" * 5 + "00")
    tunnel.peer = "203.0.113.9:5"

    assert "c0ffee" not in repr(managed.services.tunnels.tunnels(ANN))
