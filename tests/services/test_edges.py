"""Edges: what people set up is checked, kept, told, and in force before the call returns."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from tests.policy.making import oidc
from tests.support.managed import ADDRESS, ADMIN, ANN, BOB, Managed, actor
from tunnelctl.wire.messages import PolicySpec, RateLimitSpec
from tunnelrelay.oidc.providers.ssrf_guard import GuardRules
from tunnelrelay.policy.rules import CLOSED
from tunnelrelay.services.edge_settings import EdgeSecrets, EdgeSettings
from tunnelrelay.services.edges import MAX_EDGES, EdgeDraft, EdgeView
from tunnelrelay.services.problems import Kind, ManageError
from tunnelrelay.services.provider_settings import ProviderSettings

SECRET = EdgeSecrets(client_secret="hush-hush-client")


def with_policy(**modules: Any):
    """A change of modules: those given, and all others as they are."""
    return lambda old: msgspec.structs.replace(old, policy=msgspec.structs.replace(old.policy, **modules))


def login(**changes: Any):
    """A change that sets a login."""
    return with_policy(oidc=oidc(client_secret="", **changes))


async def edge(managed: Managed, host: str = "demo", who=ANN) -> EdgeView:
    """An edge of somebody's."""
    return await managed.services.edges.create(who, EdgeDraft(host=host))


async def guarded(managed: Managed, host: str = "demo", who=ANN) -> EdgeView:
    """An edge with a login."""
    made = await edge(managed, host, who)
    return await managed.services.edges.set_policy(who, made.id, login(), SECRET)


@pytest.fixture
def managed() -> Managed:
    return Managed()


async def test_a_new_edge_answers_at_its_host_at_once(managed):
    made = await edge(managed)

    endpoint = managed.registry.find("demo.tun.example")
    assert (endpoint.edge, endpoint.owner, endpoint.policy.is_open) == (made.id, "ann", True)
    assert (made.url, made.online, made.problem, made.redirect_uri) == ("https://demo.tun.example", 0, "", None)
    assert made.id.startswith("edghts_")
    assert made.settings.route.id.startswith("edghtsrt_")


async def test_an_edge_reserves_the_host_it_picks(managed):
    await edge(managed)

    (domain,) = await managed.services.domains.page(ANN)
    assert (domain.host, domain.owner) == ("demo.tun.example", "ann")


async def test_an_edge_takes_a_host_its_owner_has_reserved(managed):
    await managed.services.domains.create(ANN, "demo")

    assert (await edge(managed, "demo.tun.example")).row.host == "demo.tun.example"


async def test_a_host_of_another_owner_is_not_to_be_had(managed):
    await managed.services.domains.create(BOB, "demo")

    with pytest.raises(ManageError) as refused:
        await edge(managed)

    assert refused.value.kind is Kind.CONFLICT
    assert await managed.services.edges.page(ANN) == []


async def test_two_edges_cannot_answer_at_one_host(managed):
    await edge(managed)
    other = await managed.services.edges.create(ANN, EdgeDraft())

    with pytest.raises(ManageError) as refused:
        await edge(managed)
    with pytest.raises(ManageError) as moved:
        await managed.services.edges.update(ANN, other.id, host="demo")

    assert (refused.value.code, moved.value.code) == ("host_taken", "host_taken")


@pytest.mark.parametrize("host", ["api", "two.labels", "a_b", "demo.other.example", "-x", "xn--80ak6aa92e"])
async def test_a_host_that_cannot_be_is_refused(managed, host):
    with pytest.raises(ManageError) as refused:
        await edge(managed, host)

    assert refused.value.kind is Kind.INVALID


async def test_an_edge_that_moves_leaves_its_old_host(managed):
    made = await edge(managed)

    moved = await managed.services.edges.update(ANN, made.id, host="other")
    gone = await managed.services.edges.update(ANN, made.id, host="")

    assert moved.url == "https://other.tun.example"
    assert gone.row.host is None
    assert managed.registry.find("demo.tun.example") is None
    assert managed.registry.find("other.tun.example") is None


async def test_a_login_guards_the_next_request(managed):
    made = await guarded(managed)

    connection = managed.policy("demo.tun.example").connection
    assert connection.client_secret.reveal() == "hush-hush-client"
    assert made.redirect_uri == "https://idp.tun.example/oauth2/callback"
    assert made.stored_secrets.client_secret


async def test_a_deleted_login_opens_the_edge_and_its_secret_is_gone(managed):
    """Deleting the module is how an owner says that everybody may come."""
    made = await guarded(managed)

    opened = await managed.services.edges.set_policy(ANN, made.id, with_policy(oidc=None))

    assert managed.policy("demo.tun.example").is_open
    assert not opened.stored_secrets.client_secret
    assert (await managed.store.edges.get(made.id)).sealed == b""


async def test_a_module_that_is_off_keeps_its_settings_and_guards_nothing(managed):
    made = await guarded(managed)

    off = await managed.services.edges.set_policy(
        ANN, made.id, lambda old: msgspec.structs.replace(old, disabled=("oidc",))
    )
    assert managed.policy("demo.tun.example").is_open
    assert off.settings.policy.oidc.client_id == "0oa1"

    await managed.services.edges.set_policy(ANN, made.id, lambda old: msgspec.structs.replace(old, disabled=()))
    assert managed.policy("demo.tun.example").connection.client_secret.reveal() == "hush-hush-client"


async def test_a_change_keeps_the_secrets_it_leaves_out(managed):
    made = await guarded(managed)

    await managed.services.edges.set_policy(ANN, made.id, login(allow_domains=("acme.com",)))

    connection = managed.policy("demo.tun.example").connection
    assert connection.rules.domains == {"acme.com"}
    assert connection.client_secret.reveal() == "hush-hush-client"


@pytest.mark.parametrize("change", [{"issuer": "https://evil.example"}, {"client_id": "other"}])
async def test_a_kept_secret_is_not_sent_to_another_issuer_or_as_another_client(managed, change):
    """Row 141. Whoever may change the issuer must not thereby learn the secret: it would be sent there."""
    made = await guarded(managed)

    with pytest.raises(ManageError) as refused:
        await managed.services.edges.set_policy(ANN, made.id, login(**change))

    assert list(refused.value.fields) == ["oidc.client_secret"]
    assert managed.policy("demo.tun.example").connection.issuer == "https://acme.okta.com"


async def test_a_test_does_not_send_a_kept_secret_elsewhere(managed):
    """Row 141."""
    made = await guarded(managed)

    await managed.services.edges.test_provider(ANN, oidc(client_secret=""), made.id)
    await managed.services.edges.test_provider(ANN, oidc(client_secret="", issuer="https://evil.example"), made.id)

    assert [asked["client_secret"] for asked in managed.provider.asked] == ["hush-hush-client"]


async def test_a_login_without_a_client_secret_is_refused(managed):
    made = await edge(managed)

    with pytest.raises(ManageError) as refused:
        await managed.services.edges.set_policy(ANN, made.id, login())

    assert list(refused.value.fields) == ["oidc.client_secret"]
    assert managed.policy("demo.tun.example").is_open


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("oidc.issuer", login(issuer="ftp://acme")),
        ("oidc.issuer", login(issuer="https://login.microsoftonline.com/common")),
        ("oidc.issuer", login(issuer="@nobody", client_id="")),
        ("oidc.client_id", login(client_id=" ")),
        ("oidc.inactivity_timeout", login(idle_seconds=0)),
        ("oidc.maximum_duration", login(max_seconds=10**9)),
        ("oidc.auth_check_interval", login(recheck_seconds=1)),
        ("oidc.scopes", login(scopes=("two words",))),
        ("oidc.allow_emails", login(allow_emails=("a@b c",))),
        ("oidc.allow_domains", login(allow_domains=("*.acme.com",))),
        ("oidc.allow_groups", login(allow_groups=("",))),
        ("oidc.allow_claims", login(allow_claims=(("email", "a@b.c"),))),
        ("oidc.public_paths", login(public_paths=("/*",))),
        ("oidc.public_paths", login(public_paths=("/x",) * 33)),
        ("oidc.groups_claim", login(groups_claim="")),
        ("oidc.callback", login(callback="elsewhere")),
        ("oidc.require_acr", login(require_acr=("two words",))),
        ("oidc.request_params", login(request_params=(("state", "x"),))),
        ("oidc.request_params", login(request_params=(("max_age", "x"),))),
        ("oidc.audience", login(audience="a\nb")),
        ("oidc.audience", login(audience="a", request_params=(("audience", "b"),))),
        ("oidc.allow_origins", login(allow_origins=("nothing",))),
        ("ip_restriction.allow", with_policy(cidr_allow=("10.0.0.1/8",))),
        ("ip_restriction.deny", with_policy(cidr_deny=("everybody",))),
        ("rate_limit.limit", with_policy(rate_limit=RateLimitSpec(limit="0/1m"))),
        ("rate_limit.by", with_policy(rate_limit=RateLimitSpec(limit="1/m", by="cookie"))),
        ("host_header", with_policy(host_header="rewrite")),
        ("host_header", with_policy(host_header="a b")),
        ("disabled", lambda old: msgspec.structs.replace(old, disabled=("ioidc",))),
    ],
)
async def test_a_problem_names_its_field(managed, field, change):
    made = await edge(managed)

    with pytest.raises(ManageError) as refused:
        await managed.services.edges.set_policy(ANN, made.id, change, SECRET)

    assert refused.value.kind is Kind.INVALID
    assert list(refused.value.fields) == [field]


async def test_every_problem_is_told_at_once(managed):
    made = await edge(managed)

    with pytest.raises(ManageError) as refused:
        await managed.services.edges.set_policy(
            ANN, made.id, with_policy(cidr_allow=("x",), oidc=oidc(client_id="", client_secret="", scopes=("a b",)))
        )

    assert set(refused.value.fields) == {"ip_restriction.allow", "oidc.client_id", "oidc.client_secret", "oidc.scopes"}


async def test_a_password_and_a_login_cannot_guard_one_edge(managed):
    made = await guarded(managed)

    with pytest.raises(ManageError):
        await managed.services.edges.set_policy(
            ANN, made.id, lambda old: old, EdgeSecrets(basic_auth=("ann:a-long-password",))
        )


async def test_passwords_are_sealed_and_only_their_users_are_told(managed):
    made = await edge(managed)

    view = await managed.services.edges.set_policy(
        ANN, made.id, lambda old: old, EdgeSecrets(basic_auth=("visitor:open-sesame",))
    )

    assert view.stored_secrets.users == ("visitor",)
    assert len(managed.policy("demo.tun.example").basic) == 1
    assert "open-sesame" not in repr(await managed.store.edges.get(made.id))


async def test_an_edge_whose_key_is_gone_refuses_everybody_until_its_secret_is_given_again(managed, caplog):
    made = await guarded(managed)
    first = managed.ring.masters[0].kid
    managed.ring.adopt(managed.ring.with_new_key(managed.clock() + 60).without(first))

    await managed.sync.reload()
    assert managed.policy("demo.tun.example") == CLOSED
    assert "edge refuses all requests" in caplog.text
    assert "key" in (await managed.services.edges.get(ANN, made.id)).problem

    await managed.services.edges.set_policy(ANN, made.id, lambda old: old, SECRET)
    assert managed.policy("demo.tun.example").connection is not None


async def test_a_short_password_is_refused_and_one_that_an_edge_has_already_stays_good(managed):
    made = await edge(managed)
    with pytest.raises(ManageError) as refused:
        await managed.services.edges.set_policy(ANN, made.id, lambda old: old, EdgeSecrets(basic_auth=("v:1234567",)))
    assert "7 characters, it takes at least 8" in refused.value.fields["basic_auth"]
    assert "1234567" not in str(refused.value.fields)

    policies = managed.services.edges.views.policies
    kept = policies.compile(EdgeSettings(users=("v",)), EdgeSecrets(basic_auth=("v:1234567",)), owner="ann")
    assert len(kept.basic) == 1


async def test_an_edge_whose_passwords_are_lost_is_not_opened_by_another_change(managed):
    made = await edge(managed)
    await managed.services.edges.set_policy(ANN, made.id, lambda old: old, EdgeSecrets(basic_auth=("v:sesame-open",)))
    first = managed.ring.masters[0].kid
    managed.ring.adopt(managed.ring.with_new_key(managed.clock() + 60).without(first))

    with pytest.raises(ManageError) as refused:
        await managed.services.edges.set_policy(ANN, made.id, lambda old: msgspec.structs.replace(old, sticky=True))

    assert list(refused.value.fields) == ["basic_auth"]
    await managed.sync.reload()
    assert managed.policy("demo.tun.example") == CLOSED


async def test_an_edge_whose_settings_are_damaged_refuses_everybody_and_cannot_be_changed(managed):
    made = await guarded(managed)
    row = await managed.store.edges.get(made.id)
    text = row.settings.replace('"oidc":{', '"oidc":{"alow_emails":["ann@acme.com"],')
    assert text != row.settings
    await managed.store.edges.replace(replace(row, settings=text, version=row.version + 1))
    await managed.sync.reload()

    assert managed.policy("demo.tun.example") == CLOSED
    with pytest.raises(ManageError) as refused:
        await managed.services.edges.set_policy(ANN, made.id, lambda old: old)
    assert refused.value.code == "damaged"


async def test_sealed_secrets_of_one_edge_do_not_open_in_another(managed):
    """Row 141. Whoever could write rows must not have one edge's secret used by an edge of his own."""
    mine, theirs = await guarded(managed, "mine"), await guarded(managed, "theirs", BOB)
    stolen = (await managed.store.edges.get(theirs.id)).sealed
    row = await managed.store.edges.get(mine.id)
    await managed.store.edges.replace(replace(row, sealed=stolen, version=row.version + 1))
    await managed.sync.reload()

    assert managed.policy("mine.tun.example") == CLOSED


async def test_no_secret_is_in_any_view_event_or_log(managed, caplog):
    """Rows 141, 158."""
    caplog.set_level(0)
    made = await guarded(managed)
    await managed.services.edges.set_policy(
        ANN, made.id, login(allow_groups=("a",)), EdgeSecrets(client_secret="second-hush")
    )
    views = [await managed.services.edges.get(ANN, made.id), *await managed.services.edges.page(ANN)]
    await managed.services.edges.delete(ANN, made.id)

    said = "".join(map(repr, (views, managed.events(), SECRET))) + caplog.text
    assert "hush" not in said
    assert all(view.row.sealed == b"" for view in views)


async def test_a_change_that_means_an_older_version_is_refused(managed):
    made = await edge(managed)
    await managed.services.edges.update(ANN, made.id, description="new", version=1)

    with pytest.raises(ManageError) as refused:
        await managed.services.edges.set_policy(ANN, made.id, login(), SECRET, version=1)

    assert refused.value.code == "changed_meanwhile"
    assert managed.policy("demo.tun.example").is_open


async def test_a_change_without_a_version_is_made_of_what_is_there(managed):
    """Somebody was faster: the change is made again of what they left, and theirs is not lost."""
    made = await edge(managed)
    calls = []

    def change(old: EdgeSettings) -> EdgeSettings:
        calls.append(old.sticky)
        if len(calls) == 1:
            managed.store.edges.put(_sticky(*managed.store.edges.rows()))
        return with_policy(cidr_allow=("10.0.0.0/8",))(old)

    view = await managed.services.edges.set_policy(ANN, made.id, change)

    assert calls == [False, True]
    assert view.settings.sticky
    assert view.settings.policy.cidr_allow == ("10.0.0.0/8",)


def _sticky(row):
    settings = msgspec.structs.replace(EdgeSettings.parse(row.settings), sticky=True)
    return replace(row, settings=settings.encode(), version=row.version + 1)


async def test_a_deleted_edge_is_unknown_and_its_host_stays_its_owner_s(managed):
    made = await edge(managed)

    await managed.services.edges.delete(ANN, made.id)

    assert managed.registry.find("demo.tun.example") is None
    assert (await managed.services.domains.page(ANN))[0].host == "demo.tun.example"
    with pytest.raises(ManageError) as refused:
        await managed.services.edges.get(ANN, made.id)
    assert refused.value.kind is Kind.MISSING


async def test_an_edge_is_served_by_its_own_label_or_by_its_group(managed):
    made = await edge(managed)
    own, grouped = managed.join("ann", (("edge", made.id),)), managed.join("ann", (("team", "red"),), "a2")
    endpoint = managed.registry.find("demo.tun.example")
    assert endpoint.tunnels == (own,)
    assert (await managed.services.edges.get(ANN, made.id)).online == 1

    group = await managed.services.backends.create(ANN, (("team", "red"),))
    await managed.services.edges.set_backend(ANN, made.id, group.id)
    assert endpoint.tunnels == (grouped,)

    await managed.services.edges.set_backend(ANN, made.id, None)
    assert endpoint.tunnels == (own,)


async def test_nobody_serves_an_edge_without_a_route_or_with_its_backend_off(managed):
    made = await managed.services.edges.create(ANN, EdgeDraft(host="demo", with_route=False))
    managed.join("ann", (("edge", made.id),))
    endpoint = managed.registry.find("demo.tun.example")
    assert endpoint.tunnels == ()

    route = (await edge(managed, "other")).settings.route
    await managed.services.edges.set_policy(ANN, made.id, lambda old: msgspec.structs.replace(old, route=route))
    assert len(endpoint.tunnels) == 1

    await managed.services.edges.set_policy(
        ANN, made.id, lambda old: msgspec.structs.replace(old, backend_enabled=False)
    )
    assert endpoint.tunnels == ()


async def test_modules_hang_on_the_route(managed):
    made = await managed.services.edges.create(ANN, EdgeDraft(host="demo", with_route=False))

    with pytest.raises(ManageError) as refused:
        await managed.services.edges.set_policy(ANN, made.id, login(), SECRET)

    assert "route" in refused.value.fields


async def test_a_deleted_route_takes_modules_and_secrets_along(managed):
    made = await guarded(managed)

    view = await managed.services.edges.set_policy(
        ANN, made.id, lambda old: msgspec.structs.replace(old, route=None, policy=PolicySpec())
    )

    assert not view.stored_secrets.client_secret
    assert managed.registry.find("demo.tun.example").tunnels == ()


async def test_what_changed_is_told_with_who_before_and_after(managed):
    made = await edge(managed)
    await managed.services.edges.set_policy(ANN, made.id, login(allow_domains=("acme.com",)), SECRET)
    managed.events()

    await managed.services.edges.set_policy(ANN, made.id, login(allow_domains=("acme.com", "beta.com")))

    (event,) = managed.events("edge.")
    assert (event.kind, event.actor, event.owner, event.host) == (
        "edge.updated", "usr_ann", "ann", "demo.tun.example",
    )  # fmt: skip
    assert json.loads(event.details["before"]) == {"oidc.allow_domains": ["acme.com"]}
    assert json.loads(event.details["after"]) == {"oidc.allow_domains": ["acme.com", "beta.com"]}
    assert event.details["id"] == made.id


async def test_a_change_from_a_default_to_never_is_told_with_both(managed):
    made = await edge(managed)
    await managed.services.edges.set_policy(ANN, made.id, login(), SECRET)
    managed.events()

    await managed.services.edges.set_policy(ANN, made.id, login(recheck_seconds=0))

    (event,) = managed.events("edge.")
    assert json.loads(event.details["before"]) == {"oidc.recheck_seconds": 900}
    assert json.loads(event.details["after"]) == {"oidc.recheck_seconds": 0}


async def test_the_audience_of_an_edge_s_login_is_sent_and_told(managed):
    made = await edge(managed)
    await managed.services.edges.set_policy(ANN, made.id, login(), SECRET)
    assert "audience" not in (await managed.store.edges.get(made.id)).settings
    managed.events()

    await managed.services.edges.set_policy(ANN, made.id, login(audience="https://api.acme.com"))

    assert managed.policy("demo.tun.example").connection.request_params == (("audience", "https://api.acme.com"),)
    (event,) = managed.events("edge.")
    assert json.loads(event.details["after"]) == {"oidc.audience": "https://api.acme.com"}


async def test_the_public_paths_of_an_edge_s_login_are_served_and_told(managed):
    made = await edge(managed)
    await managed.services.edges.set_policy(ANN, made.id, login(), SECRET)
    assert managed.policy("demo.tun.example").exemptions is None
    managed.events()

    await managed.services.edges.set_policy(ANN, made.id, login(public_paths=("/health", "/webhooks/*")))

    assert managed.policy("demo.tun.example").exemptions.public_paths == (b"/health", b"/webhooks/*")
    (event,) = managed.events("edge.")
    assert json.loads(event.details["after"]) == {"oidc.public_paths": ["/health", "/webhooks/*"]}


async def test_a_change_too_long_for_the_log_is_still_whole_json(managed):
    made = await edge(managed)
    managed.events()

    many = tuple(f"person-{number}@acme.com" for number in range(500))
    await managed.services.edges.set_policy(ANN, made.id, login(allow_emails=many, allow_groups=many), SECRET)

    (event,) = managed.events("edge.")
    assert set(json.loads(event.details["after"])) >= {"oidc.allow_emails", "oidc.allow_groups"}
    assert len(event.details["after"]) <= 2000


async def test_a_change_that_changes_nothing_is_neither_written_nor_told(managed):
    made = await guarded(managed)
    managed.events()

    same = await managed.services.edges.set_policy(ANN, made.id, lambda old: old)

    assert same.row.version == made.row.version
    assert managed.events("edge.") == []


async def test_an_edge_is_found_by_id_host_and_first_label(managed):
    made = await edge(managed)

    for name in (made.id, "demo", "demo.tun.example", "DEMO"):
        assert (await managed.services.edges.by_name(ANN, name)).id == made.id


async def test_a_redirect_uri_is_told_before_anything_is_saved(managed):
    made = await edge(managed)

    assert await managed.services.edges.redirect_uri(ANN, made.id, oidc(callback="host")) == (
        "https://demo.tun.example/_tunnel/oidc/callback"
    )


async def test_an_owner_has_only_so_many_edges(managed, monkeypatch):
    monkeypatch.setattr("tunnelrelay.services.edges.MAX_EDGES", 2)
    await edge(managed, "one")
    await edge(managed, "two")

    with pytest.raises(ManageError) as refused:
        await edge(managed, "three")
    await edge(managed, "three", BOB)

    assert refused.value.code == "too_many"
    assert MAX_EDGES >= 100


async def test_all_edges_of_an_owner_together_are_only_so_large(managed, monkeypatch):
    """Each relay keeps all of them compiled: a thousand of the largest would be gigabytes."""
    monkeypatch.setattr("tunnelrelay.services.edges.MAX_OWNERS_BYTES", 4000)
    edges = managed.services.edges
    first, second = await edge(managed, "one"), await edge(managed, "two")
    bobs = await edge(managed, "bobs", BOB)
    large = with_policy(cidr_allow=tuple(f"10.0.{number}.0/24" for number in range(200)))

    await edges.set_policy(ANN, first.id, large)
    with pytest.raises(ManageError) as refused:
        await edges.set_policy(ANN, second.id, large)
    await edges.set_policy(BOB, bobs.id, large)
    monkeypatch.setattr("tunnelrelay.services.edges.MAX_OWNERS_BYTES", 100)
    smaller = await edges.set_policy(ANN, first.id, with_policy(cidr_allow=("10.0.0.0/8",)))

    assert refused.value.fields.keys() == {"policy"}
    assert smaller.settings.policy.cidr_allow == ("10.0.0.0/8",)


async def test_tests_of_providers_are_limited_for_each_user(managed):
    for _ in range(10):
        await managed.services.edges.test_provider(ANN, oidc())
    with pytest.raises(ManageError) as refused:
        await managed.services.edges.test_provider(ANN, oidc())
    found = await managed.services.edges.test_provider(BOB, oidc())

    assert refused.value.kind is Kind.BUSY
    assert found[0].topic == "discovery"


async def test_a_login_that_cannot_be_asked_for_is_told_without_a_call(managed):
    found = await managed.services.edges.test_provider(ANN, oidc(issuer="gopher://x"))

    assert [(each.level, each.topic) for each in found] == [("error", "settings")]
    assert managed.provider.asked == []


async def test_a_provider_that_the_relay_does_not_call_is_told_where_it_is_set():
    """By an edge, by a test of its login, and by a named provider, in the same words."""
    rules = GuardRules.of_relay(replace(ADDRESS, is_multi_tenant=True), ())
    managed = Managed(refuses_issuer=rules.issuer_fault)
    services, issuer = managed.services, "https://idp.acme.example:9443"
    made = await edge(managed)
    with pytest.raises(ManageError) as by_edge:
        await services.edges.set_policy(ANN, made.id, login(issuer=issuer), SECRET)
    with pytest.raises(ManageError) as by_provider:
        await services.providers.create(ADMIN, "work", ProviderSettings(issuer=issuer, client_id="c"), "hush")
    (by_test,) = await services.edges.test_provider(ANN, oidc(issuer=issuer))

    told = [by_edge.value.fields["oidc.issuer"], by_provider.value.fields["issuer"], by_test.found]
    assert all("port 9443" in text for text in told)
    assert all("--issuer-port 9443" in text for text in told)
    assert managed.provider.asked == []


async def test_a_key_needs_the_scope(managed):
    made = await edge(managed)
    reader = actor("ann", scopes=("edges:read",))

    assert (await managed.services.edges.get(reader, made.id)).id == made.id
    with pytest.raises(ManageError) as refused:
        await managed.services.edges.delete(reader, made.id)
    with pytest.raises(ManageError):
        await managed.services.edges.page(actor("ann", scopes=("traffic:write",)))

    assert (refused.value.kind, refused.value.code) == (Kind.FORBIDDEN, "scope_missing")


async def test_an_administrator_sets_edges_up_for_others(managed):
    made = await managed.services.edges.create(ADMIN, EdgeDraft(host="demo", owner="ann"))

    assert (await managed.services.edges.get(ANN, made.id)).row.owner == "ann"
    assert (await managed.services.domains.page(ANN))[0].owner == "ann"


async def test_no_change_can_make_passwords_forgotten(managed):
    """What says that an edge has passwords is not the change's to say: without it, lost secrets would open the edge."""
    made = await edge(managed)
    secrets = EdgeSecrets(basic_auth=("visitor:open-sesame",))
    await managed.services.edges.set_policy(ANN, made.id, lambda old: old, secrets)

    kept = await managed.services.edges.set_policy(ANN, made.id, lambda old: EdgeSettings(route=old.route))

    assert kept.stored_secrets.users == ("visitor",)
    assert len(managed.policy("demo.tun.example").basic) == 1


async def test_a_user_has_two_tests_under_way_at_most_and_others_have_theirs(managed):
    managed.provider.gate = asyncio.Event()
    mine = [asyncio.create_task(managed.services.edges.test_provider(ANN, oidc())) for _ in range(2)]
    while len(managed.provider.asked) < 2:  # noqa: ASYNC110 (two turns of the loop)
        await asyncio.sleep(0)

    with pytest.raises(ManageError) as refused:
        await managed.services.edges.test_provider(ANN, oidc())
    theirs = asyncio.create_task(managed.services.edges.test_provider(BOB, oidc()))
    managed.provider.gate.set()
    await asyncio.gather(*mine, theirs)

    assert refused.value.kind is Kind.BUSY
    assert await managed.services.edges.test_provider(ANN, oidc())
