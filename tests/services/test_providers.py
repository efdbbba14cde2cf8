"""Named providers: registered once by an administrator, named by owners who hold no secret of them."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from tests.support.managed import ADDRESS, ADMIN, ANN, BOB, Managed, actor
from tests.support.tunnels import fake_tunnel
from tunnelctl.wire.messages import OidcSpec, PolicySpec
from tunnelrelay.policy.compile import PolicyInvalid, compile_policy
from tunnelrelay.policy.rules import CLOSED, Policy
from tunnelrelay.services.edge_settings import EdgeSecrets
from tunnelrelay.services.edges import EdgeDraft
from tunnelrelay.services.problems import Kind, ManageError
from tunnelrelay.services.provider_settings import ProviderSettings

WORK = ProviderSettings(issuer="https://acme.okta.com", client_id="0oa1", scopes=("groups",))
SECRET = "the-provider-s-hush"


def named(**changes: Any) -> OidcSpec:
    """A login that names the provider."""
    return OidcSpec(**{"issuer": "@work", "client_id": "", "client_secret": "", **changes})


def by_name(**changes: Any):
    """A change that sets such a login."""
    return lambda old: msgspec.structs.replace(old, policy=msgspec.structs.replace(old.policy, oidc=named(**changes)))


@pytest.fixture
def managed() -> Managed:
    return Managed()


async def work(managed: Managed, **more: Any):
    """The provider, registered."""
    return await managed.services.providers.create(ADMIN, "work", WORK, SECRET, **more)


async def edge(managed: Managed, who=ANN, host: str = "demo", **changes: Any):
    """An edge whose login names the provider."""
    made = await managed.services.edges.create(who, EdgeDraft(host=host))
    return await managed.services.edges.set_policy(who, made.id, by_name(**changes))


def bound(managed: Managed, owner: str = "ann", host: str = "bound.tun.example", **changes: Any) -> Policy:
    """What guards an endpoint that an agent asked for, as `agents.session` has it bound."""

    def recompile() -> Policy:
        spec, base = PolicySpec(oidc=named(**changes)), managed.base
        return compile_policy(spec, upstream="", owner=owner, key=base.policy_key, resolve=managed.directory.resolve)

    policy = recompile()
    managed.registry.claim(fake_tunnel(owner, recompile=recompile), host, policy)
    return policy


async def test_an_edge_that_names_a_provider_has_its_login(managed):
    await work(managed)

    made = await edge(managed, allow_domains=("acme.com",))

    connection = managed.policy("demo.tun.example").connection
    assert (connection.issuer, connection.client_id, connection.scopes[-1]) == (WORK.issuer, "0oa1", "groups")
    assert connection.client_secret.reveal() == SECRET
    assert connection.rules.domains == {"acme.com"}
    assert not made.stored_secrets.client_secret
    assert SECRET not in repr(made)


async def test_every_owner_that_names_it_has_the_same_redirect_uri_and_a_share_of_his_own():
    """One address to register at the provider; what is metered stays with each owner."""
    managed = Managed(address=replace(ADDRESS, is_multi_tenant=True))
    provider = await work(managed)
    edges = [await edge(managed), await edge(managed, BOB, "other")]

    ann, bob = (managed.policy(host).connection for host in ("demo.tun.example", "other.tun.example"))
    assert provider.redirect_uri == f"https://idp.tun.example/oauth2/callback/{ann.id}"
    assert {each.redirect_uri for each in edges} == {provider.redirect_uri}
    assert (ann.id, ann.owner, bob.owner) == (bob.id, "ann", "bob")


async def test_an_owner_s_own_client_never_shares_the_provider_s_id(managed):
    await work(managed)
    await edge(managed)
    own = await managed.services.edges.create(BOB, EdgeDraft(host="own"))
    spec = OidcSpec(issuer=WORK.issuer, client_id=WORK.client_id, client_secret="")
    await managed.services.edges.set_policy(
        BOB,
        own.id,
        lambda old: msgspec.structs.replace(old, policy=PolicySpec(oidc=spec)),
        EdgeSecrets(client_secret="x"),
    )

    assert managed.policy("own.tun.example").connection.id != managed.policy("demo.tun.example").connection.id


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "mine"},
        {"client_secret": "mine"},
        {"scopes": ("offline_access",)},
        {"audience": "https://mine"},
        {"groups_claim": "roles"},
        {"email_verified": "assumed"},
        {"callback": "host"},
        {"request_params": (("resource", "https://payroll"),)},
        {"request_params": (("hd", "evil.example"),)},
    ],
)
async def test_what_is_the_provider_s_is_not_the_owner_s_to_say(managed, changes):
    await work(managed)

    with pytest.raises(PolicyInvalid) as refused:
        bound(managed, **changes)

    assert "the provider's" in str(refused.value)
    assert "mine" not in str(refused.value)


async def test_an_owner_asks_for_stronger_and_shorter_logins(managed):
    await work(managed)

    policy = bound(
        managed, max_seconds=60, require_acr=("gold",), request_params=(("max_age", "60"), ("acr_values", "gold"))
    )

    assert (policy.connection.max_age, policy.connection.max_seconds) == (60, 60)
    assert policy.connection.required_acr == {"gold"}


async def test_which_paths_need_no_login_is_the_owner_s_to_say(managed):
    await work(managed)

    exemptions = bound(managed, public_paths=("/health",)).exemptions

    assert exemptions is not None
    assert exemptions.public_paths == (b"/health",)


async def test_a_parameter_the_administrator_set_is_not_overridden(managed):
    settings = msgspec.structs.replace(WORK, request_params=(("max_age", "60"),))
    await managed.services.providers.create(ADMIN, "work", settings, SECRET)

    with pytest.raises(PolicyInvalid):
        bound(managed, request_params=(("max_age", "999999"),))


async def test_only_the_owners_it_is_for_may_name_it(managed):
    await work(managed, owners=("ann",))

    bound(managed, "ann")
    with pytest.raises(PolicyInvalid) as foreign:
        bound(managed, "bob", "b.tun.example")
    with pytest.raises(PolicyInvalid) as unknown:
        bound(managed, "bob", "b.tun.example", issuer="@none")
    with pytest.raises(ManageError):
        await edge(managed, BOB, "other")

    assert str(foreign.value).replace("@work", "@none") == str(unknown.value)


async def test_a_changed_provider_acts_on_edges_and_on_agents_endpoints_at_once(managed):
    provider = await work(managed)
    await edge(managed)
    before = bound(managed)

    other = msgspec.structs.replace(WORK, client_id="0oa2")
    await managed.services.providers.update(ADMIN, provider.id, settings=other, client_secret="new-hush")

    for host in ("demo.tun.example", "bound.tun.example"):
        connection = managed.policy(host).connection
        assert (connection.client_id, connection.client_secret.reveal()) == ("0oa2", "new-hush")
        assert connection.epoch != before.connection.epoch


async def test_a_deleted_provider_closes_agents_endpoints_and_opens_none(managed):
    provider = await work(managed)
    bound(managed)

    await managed.services.providers.delete(ADMIN, provider.id)

    assert managed.policy("bound.tun.example") == CLOSED
    assert not CLOSED.is_open


async def test_a_deleted_provider_closes_endpoints_whose_agent_is_away_for_a_moment(managed):
    provider = await work(managed)
    bound(managed)
    endpoint = managed.registry.find("bound.tun.example")
    managed.registry.release("bound.tun.example", endpoint.tunnels[0].claim, on_purpose=False)

    await managed.services.providers.delete(ADMIN, provider.id)

    assert managed.policy("bound.tun.example") == CLOSED


async def test_an_owner_who_may_name_it_no_longer_is_closed_and_open_again_when_he_may(managed):
    provider = await work(managed)
    made = await edge(managed)

    await managed.services.providers.update(ADMIN, provider.id, owners=("bob",))
    assert managed.policy("demo.tun.example") == CLOSED
    assert "@work" in (await managed.services.edges.get(ANN, made.id)).problem

    await managed.services.providers.update(ADMIN, provider.id, owners=())
    assert managed.policy("demo.tun.example").connection is not None


async def test_an_edge_does_not_begin_to_name_a_provider_that_is_deleted_meanwhile(managed, monkeypatch):
    provider = await work(managed)
    made = await managed.services.edges.create(ANN, EdgeDraft(host="demo"))
    replace_edge = managed.store.edges.replace

    async def after_a_deletion(row, **more):
        """The provider goes after the service has looked at it, and before the edge is written."""
        await managed.store.providers.delete(provider.id)
        return await replace_edge(row, **more)

    monkeypatch.setattr(managed.store.edges, "replace", after_a_deletion)

    with pytest.raises(ManageError) as refused:
        await managed.services.edges.set_policy(ANN, made.id, by_name())

    assert (refused.value.kind, refused.value.code) == (Kind.CONFLICT, "changed_meanwhile")
    (kept,) = await managed.store.edges.all()
    assert "@work" not in kept.settings


async def test_a_provider_that_an_edge_begins_to_name_meanwhile_is_not_deleted(managed, monkeypatch):
    provider = await work(managed)
    made = await managed.services.edges.create(ANN, EdgeDraft(host="demo"))
    delete = managed.store.providers.delete

    async def after_an_edge(row_id, **more):
        """The edge begins to name it after the service has looked, and before the provider is deleted."""
        await managed.services.edges.set_policy(ANN, made.id, by_name())
        return await delete(row_id, **more)

    monkeypatch.setattr(managed.store.providers, "delete", after_an_edge)

    with pytest.raises(ManageError) as refused:
        await managed.services.providers.delete(ADMIN, provider.id)

    assert (refused.value.kind, refused.value.code) == (Kind.CONFLICT, "in_use")
    assert await managed.store.providers.get(provider.id) is not None


async def test_a_provider_that_an_edge_names_is_not_deleted(managed):
    provider = await work(managed)
    await edge(managed)

    with pytest.raises(ManageError) as refused:
        await managed.services.providers.delete(ADMIN, provider.id)

    assert (refused.value.kind, refused.value.code) == (Kind.CONFLICT, "in_use")
    assert managed.policy("demo.tun.example").connection is not None


async def test_a_provider_whose_secret_cannot_be_opened_closes_what_names_it(managed):
    await work(managed)
    await edge(managed)
    bound(managed)
    first = managed.ring.masters[0].kid
    managed.ring.adopt(managed.ring.with_new_key(managed.clock() + 60).without(first))

    await managed.sync.reload()

    assert managed.policy("demo.tun.example") == CLOSED
    assert managed.policy("bound.tun.example") == CLOSED
    assert not (await managed.services.providers.page(ADMIN))[0].has_secret


async def test_only_those_who_may_name_a_provider_learn_that_it_cannot_be_read(managed):
    await work(managed, owners=["ann"])
    first = managed.ring.masters[0].kid
    managed.ring.adopt(managed.ring.with_new_key(managed.clock() + 60).without(first))
    await managed.sync.reload()

    anns, bobs, unknown = (
        managed.directory.resolve(owner, named(issuer=issuer)).text
        for owner, issuer in (("ann", "@work"), ("bob", "@work"), ("bob", "@other"))
    )

    assert "its client secret cannot be read" in anns
    assert bobs == unknown.replace("@other", "@work")


@pytest.mark.parametrize("change", [{"issuer": "https://evil.example"}, {"client_id": "other"}])
async def test_a_secret_is_given_again_for_another_client(managed, change):
    """Row 141."""
    provider = await work(managed)

    with pytest.raises(ManageError) as refused:
        await managed.services.providers.update(ADMIN, provider.id, settings=msgspec.structs.replace(WORK, **change))

    assert list(refused.value.fields) == ["client_secret"]


@pytest.mark.parametrize(
    ("field", "change", "secret"),
    [
        ("issuer", {"issuer": "nonsense"}, SECRET),
        ("client_id", {"client_id": ""}, SECRET),
        ("client_secret", {}, ""),
        ("callback", {"callback": "host"}, SECRET),
        ("groups_claim", {"groups_claim": "a b"}, SECRET),
        ("request_params", {"request_params": (("nonce", "1"),)}, SECRET),
    ],
)
async def test_a_problem_names_its_field(managed, field, change, secret):
    with pytest.raises(ManageError) as refused:
        await managed.services.providers.create(ADMIN, "work", msgspec.structs.replace(WORK, **change), secret)

    assert list(refused.value.fields) == [field]


@pytest.mark.parametrize("name", ["", "Work", "a b", "-a", "x" * 64, "@@a"])
async def test_a_name_that_cannot_be_is_refused(managed, name):
    with pytest.raises(ManageError) as refused:
        await managed.services.providers.create(ADMIN, name, WORK, SECRET)

    assert list(refused.value.fields) == ["name"]


async def test_a_name_is_taken_once(managed):
    await work(managed)

    with pytest.raises(ManageError) as refused:
        await managed.services.providers.create(ADMIN, "@work", WORK, SECRET)

    assert refused.value.code == "name_taken"


async def test_members_see_what_they_may_name_and_nothing_of_other_owners(managed):
    """Rows 138, 141."""
    mine = await work(managed, owners=("ann", "bob"))
    await managed.services.providers.create(ADMIN, "theirs", WORK, SECRET, owners=("bob",))

    (seen,) = await managed.services.providers.page(ANN)

    assert (seen.id, seen.row.owners, seen.row.sealed) == (mine.id, ("ann",), b"")
    assert SECRET not in repr((seen, managed.events()))


async def test_members_write_no_providers(managed):
    provider = await work(managed)
    providers = managed.services.providers

    for attempt in (
        providers.create(ANN, "mine", WORK, SECRET),
        providers.update(ANN, provider.id, description="x"),
        providers.delete(ANN, provider.id),
        providers.test(ANN, WORK),
        providers.delete(actor("root", is_admin=True, scopes=("providers:read",)), provider.id),
    ):
        with pytest.raises(ManageError) as refused:
            await attempt
        assert refused.value.kind is Kind.FORBIDDEN


async def test_a_test_by_name_uses_the_provider_s_secret_and_tells_it_to_nobody(managed):
    await work(managed)

    found = await managed.services.edges.test_provider(ANN, named())

    assert managed.provider.asked[0]["client_secret"] == SECRET
    assert SECRET not in repr(found)
    (problem,) = await managed.services.edges.test_provider(ANN, named(issuer="@none"))
    assert (problem.level, problem.topic) == ("error", "provider")


async def test_a_registered_provider_is_tested_with_its_own_secret(managed):
    provider = await work(managed)

    await managed.services.providers.test(ADMIN, WORK, provider_id=provider.id)
    await managed.services.providers.test(
        ADMIN, msgspec.structs.replace(WORK, issuer="https://evil.example"), "typed", provider.id
    )

    assert [asked["client_secret"] for asked in managed.provider.asked] == [SECRET, "typed"]


async def test_no_message_from_an_agent_can_be_a_resolved_login(managed):
    """What makes owners share a connection's id is the relay's to say, not the wire's."""
    text = b'{"issuer":"https://a.example","client_id":"x","client_secret":"y","provider":"prv_1"}'

    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=OidcSpec)
