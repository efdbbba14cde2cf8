"""Edges in the dashboard: made, described, given rules, taken away; by their owner, and with nothing lost or leaked."""

import html
import re
from html.parser import HTMLParser

import pytest

from tests.support.dashboard import InMemory
from tests.support.managed import ADMIN
from tests.support.tunnels import fake_tunnel
from tunnelctl.oidc.findings import Finding, error, ok
from tunnelctl.policy import modules
from tunnelrelay.services.edges import EdgeDraft
from tunnelrelay.services.provider_settings import ProviderSettings
from tunnelrelay.services.provider_tests import FAILED_SECONDS

SECRET = "s3cret-that-nobody-sees-again"
HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(1)>'{{7*7}}"
OIDC = {
    "provider": "",
    "issuer": "https://login.acme.example",
    "client_id": "shop",
    "client_secret": SECRET,
    "scopes": "",
    "allow_emails": "ann@acme.example\nbob@acme.example",
    "allow_domains": "",
    "allow_groups": "",
    "allow_claims": "",
    "require_acr": "",
    "groups_claim": "groups",
    "email_verified": "claim",
    "on_recheck_error": "keep",
    "inactivity_timeout": "30m",
    "maximum_duration": "8h",
    "auth_check_interval": "0s",
}


async def made(house: InMemory, name: str = "shop", owner: str = "default", description: str = "") -> str:
    """An edge's id."""
    new = EdgeDraft(host=name, owner=owner, description=description)
    return (await house.managed.services.edges.create(ADMIN, new)).id


class Elements(HTMLParser):
    """What a page is made of, as a browser reads it.

    Attributes:
        scripts: What stands inside script elements.
    """

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()
        self.scripts = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes.update(name for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        self.scripts += data if self.cdata_elem == "script" else ""


def text_of(page: str) -> str:
    """What is read, without tags."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


async def test_a_new_edge_has_a_name_that_is_reserved_and_a_page(house, admin):
    answer = await admin.post("/edges/new", {"host": "new", "name": "Shop", "description": "Storefront"})

    page = await admin.get(answer.headers["location"])
    text = text_of(page.text)
    (edge,) = await house.managed.store.edges.all()
    assert "shop.tun.example" in text
    assert "Storefront" in text
    assert "No tunnel is online" in text
    assert f"tunnel tunnel --label edge={edge.id} http://localhost:80" in text
    assert "tunnel http 80 --edge shop" in text
    assert await house.managed.store.domains.find(host="shop.tun.example") is not None


async def test_a_reserved_name_that_is_free_can_be_chosen(house, admin):
    await house.managed.services.domains.create(ADMIN, "kept", owner="default")

    assert 'value="kept.tun.example"' in (await admin.get("/edges/new")).text
    await admin.post("/edges/new", {"host": "kept.tun.example"})
    assert 'value="kept.tun.example"' not in (await admin.get("/edges/new")).text


@pytest.mark.parametrize("name", ["", "api", "not a name", "xn--y", "-x", HOSTILE, "a.b"])
async def test_a_bad_name_is_told_at_its_field_and_the_rest_stays_typed(house, admin, name):
    answer = await admin.post("/edges/new", {"host": "new", "name": name, "description": "Storefront"})

    assert answer.status_code == 400
    assert 'aria-invalid="true"' in answer.text
    assert 'value="Storefront"' in answer.text
    assert "<script>alert" not in answer.text
    assert await house.managed.store.edges.all() == []


async def test_a_name_that_is_taken_is_told(house, admin):
    await house.managed.services.domains.create(ADMIN, "shop", owner="bob")

    answer = await admin.post("/edges/new", {"host": "new", "name": "shop"})

    assert answer.status_code == 409
    assert "bob" not in answer.text


async def test_the_description_is_edited_in_its_place_and_without_a_script_too(house, admin):
    edge = await made(house)
    headers = {"HX-Request": "true", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}

    assert "no description" in (await admin.get(f"/edges/{edge}")).text
    field = await admin.get(f"/edges/{edge}/description", **headers)
    assert "<html" not in field.text
    assert 'name="description"' in field.text
    assert "<html" in (await admin.get(f"/edges/{edge}/description")).text
    answer = await admin.post(f"/edges/{edge}/description", {"description": "Preview"})

    assert answer.status_code == 303
    assert "Preview" in (await admin.get(f"/edges/{edge}")).text


async def test_a_description_that_is_too_long_comes_back_with_what_is_wrong(house, admin):
    edge = await made(house)

    answer = await admin.post(f"/edges/{edge}/description", {"description": "x" * 300})

    assert answer.status_code == 400
    assert "x" * 300 in answer.text
    assert "at most" in answer.text


async def test_a_login_is_set_up_and_its_secret_never_comes_back(house, admin):
    """Row 141."""
    edge = await made(house)

    answer = await admin.post(f"/edges/{edge}/oidc", OIDC)
    assert answer.status_code == 303, text_of(answer.text)
    form = await admin.get(f"/edges/{edge}/oidc")

    assert SECRET not in form.text
    assert "Leave empty to keep it" in form.text
    assert "ann@acme.example\nbob@acme.example" in form.text
    assert 'value="30m"' in form.text
    policy = house.managed.policy("shop.tun.example")
    assert policy is not None
    assert policy.connection is not None
    assert policy.connection.client_secret.reveal() == SECRET


@pytest.mark.parametrize("module", [module for module in modules.MODULES.values() if module.has_form])
async def test_every_setting_with_a_label_has_its_field(house, admin, module):
    page = (await admin.get(f"/edges/{await made(house)}/{module.key}")).text
    names = {"user", "password"} if module.name == "basic_auth" else {row.api_name for row in module.rows if row.label}

    assert names <= set(re.findall(r'<(?:input|textarea|select) [^>]*name="([a-z_]+)"', page))


async def test_the_audience_of_a_login_is_saved_shown_and_sent(house, admin):
    edge = await made(house)

    answer = await admin.post(f"/edges/{edge}/oidc", {**OIDC, "audience": "https://api.acme.example"})
    form = await admin.get(f"/edges/{edge}/oidc")
    wrong = await admin.post(f"/edges/{edge}/oidc", {**OIDC, "audience": "x" * 513})

    assert answer.status_code == 303, text_of(answer.text)
    assert 'value="https://api.acme.example"' in form.text
    policy = house.managed.policy("shop.tun.example")
    assert policy is not None
    assert policy.connection is not None
    assert policy.connection.request_params == (("audience", "https://api.acme.example"),)
    assert wrong.status_code == 400
    assert 'id="f-audience-note"' in wrong.text


async def test_public_paths_are_saved_shown_and_counted_and_a_wrong_one_is_marked(house, admin):
    edge = await made(house)

    answer = await admin.post(f"/edges/{edge}/oidc", {**OIDC, "public_paths": "/health\n/webhooks/*"})
    form = await admin.get(f"/edges/{edge}/oidc")
    page = await admin.get(f"/edges/{edge}")
    wrong = await admin.post(f"/edges/{edge}/oidc", {**OIDC, "public_paths": "/*"})

    assert answer.status_code == 303, text_of(answer.text)
    assert "\n/health\n/webhooks/*</textarea>" in form.text
    assert "2 rules let visitors in · 2 public paths" in text_of(page.text)
    policy = house.managed.policy("shop.tun.example")
    assert policy is not None
    assert policy.exemptions is not None
    assert policy.exemptions.public_paths == (b"/health", b"/webhooks/*")
    assert wrong.status_code == 400
    assert 'id="f-public_paths-note"' in wrong.text
    assert "would take the login off every path" in text_of(wrong.text)


async def test_a_secret_that_is_left_empty_is_kept_and_for_another_client_asked_again(house, admin):
    """Row 141."""
    edge = await made(house)
    await admin.post(f"/edges/{edge}/oidc", OIDC)

    kept = await admin.post(f"/edges/{edge}/oidc", {**OIDC, "client_secret": "", "allow_emails": "ann@acme.example"})
    other = await admin.post(f"/edges/{edge}/oidc", {**OIDC, "client_secret": "", "issuer": "https://evil.example"})

    policy = house.managed.policy("shop.tun.example")
    assert policy is not None
    assert policy.connection is not None
    assert (kept.status_code, other.status_code) == (303, 400)
    assert policy.connection.client_secret.reveal() == SECRET
    assert policy.connection.issuer == "https://login.acme.example"


async def test_mistakes_are_told_at_their_fields_all_at_once_and_nothing_typed_is_lost_but_the_secret(house, admin):
    """Row 141."""
    edge = await made(house)
    wrong = {
        "issuer": "ftp://login",
        "allow_emails": "not-an-address",
        "maximum_duration": "8h",
        "scopes": 'a"b',
        "allow_groups": "staff",
    }

    answer = await admin.post(f"/edges/{edge}/oidc", {**OIDC, **wrong})

    assert answer.status_code == 400
    assert answer.text.count('class="field-error"') == 3
    for typed in ("ftp://login", "not-an-address", "staff"):
        assert typed in answer.text
    assert SECRET not in answer.text
    assert house.managed.policy("shop.tun.example").connection is None


@pytest.mark.parametrize(("field", "value"), [("inactivity_timeout", "soon"), ("allow_claims", "no-equals-sign")])
async def test_what_cannot_be_read_is_told_at_its_field(house, admin, field, value):
    edge = await made(house)

    answer = await admin.post(f"/edges/{edge}/oidc", {**OIDC, field: value})

    assert answer.status_code == 400
    assert f'id="f-{field}-note"' in answer.text
    assert value in answer.text


async def test_a_connection_is_tried_out_without_saving_it(house, admin):
    edge = await made(house)
    headers = {"HX-Request": "true", "Origin": admin.origin, "Sec-Fetch-Site": "same-origin"}
    headers["X-CSRF-Token"] = await admin.token()

    answer = await admin.http.post(f"/edges/{edge}/oidc/test", data=OIDC, headers=headers)

    assert "<html" not in answer.text
    assert "its discovery document came in 5 ms" in answer.text
    assert house.managed.provider.asked[0]["client_secret"] == SECRET
    assert SECRET not in answer.text
    assert house.managed.policy("shop.tun.example").connection is None


async def test_without_a_script_the_whole_form_comes_back_with_what_was_found(house, admin):
    """Row 141."""
    edge = await made(house)

    answer = await admin.post(f"/edges/{edge}/oidc/test", OIDC)

    assert "its discovery document came in 5 ms" in answer.text
    assert 'value="https://login.acme.example"' in answer.text
    assert SECRET not in answer.text


async def test_the_secret_of_an_edge_is_tried_at_its_own_issuer_only(house, admin):
    """Row 141."""
    edge = await made(house)
    await admin.post(f"/edges/{edge}/oidc", OIDC)

    await admin.post(f"/edges/{edge}/oidc/test", {**OIDC, "client_secret": "", "issuer": "https://evil.example"})
    await admin.post(f"/edges/{edge}/oidc/test", {**OIDC, "client_secret": ""})

    assert [asked["client_secret"] for asked in house.managed.provider.asked] == [SECRET]


async def test_a_form_that_is_older_than_the_edge_overwrites_nothing(house, admin):
    edge = await made(house)
    await admin.post(f"/edges/{edge}/oidc", OIDC)

    answer = await admin.post(f"/edges/{edge}/oidc", {**OIDC, "allow_emails": "eve@acme.example", "version": "1"})

    assert answer.status_code == 409
    assert "This edge was changed by another user meanwhile" in answer.text
    assert "eve@acme.example" in answer.text


async def test_a_login_that_is_removed_holds_from_the_next_request_on(house, admin):
    edge = await made(house)
    await admin.post(f"/edges/{edge}/oidc", OIDC)

    await admin.post(f"/edges/{edge}/oidc/remove")

    assert house.managed.policy("shop.tun.example").connection is None


@pytest.mark.parametrize(
    ("module", "typed", "shown"),
    [
        ("ip-restriction", {"allow": "203.0.113.0/24\n198.51.100.7"}, "2 networks allowed"),
        ("rate-limit", {"limit": "100/1m:20", "by": "address"}, "Limit: 100/1m:20, Counted by: address"),
        ("request-headers", {"add": "X-Env: staging\nX-B: a:b", "remove": "X-Old"}, "2 fields added, 1 field removed"),
        ("response-headers", {"remove": "X-Powered-By"}, "1 field removed"),
        ("basic-auth", {"user": "ann", "password": SECRET}, "1 user"),
        ("stickiness", {"sticky": "1"}, "By a cookie"),
    ],
)
async def test_each_module_is_set_up_shown_and_taken_away(house, admin, module, typed, shown):
    edge = await made(house)

    answer = await admin.post(f"/edges/{edge}/{module}", typed)
    assert answer.status_code == 303, text_of(answer.text)
    assert shown in text_of((await admin.get(f"/edges/{edge}")).text)
    assert SECRET not in (await admin.get(f"/edges/{edge}/{module}")).text
    await admin.post(f"/edges/{edge}/{module}/remove")

    assert shown not in text_of((await admin.get(f"/edges/{edge}")).text)


@pytest.mark.parametrize(
    ("module", "typed"),
    [
        ("ip-restriction", {"allow": "not-a-network"}),
        ("rate-limit", {"limit": "", "by": "visitor"}),
        ("rate-limit", {"limit": "10/0s", "by": "visitor"}),
        ("rate-limit", {"limit": "10/s", "by": "cookie"}),
        ("request-headers", {"add": "no colon"}),
        ("request-headers", {"add": "Host: evil.example"}),
        ("response-headers", {"remove": "Content-Length"}),
        ("basic-auth", {"user": "a:b", "password": SECRET}),
        ("basic-auth", {"user": "", "password": ""}),
    ],
)
async def test_a_modules_mistakes_are_told_and_nothing_changes(house, admin, module, typed):
    edge = await made(house)
    before = house.managed.policy("shop.tun.example")

    answer = await admin.post(f"/edges/{edge}/{module}", typed)

    assert answer.status_code == 400
    assert "field-error" in answer.text or "notice bad" in answer.text
    assert SECRET not in answer.text
    assert house.managed.policy("shop.tun.example") == before


async def test_an_edge_is_deleted_only_by_whoever_types_its_name(house, admin):
    edge = await made(house)

    wrong = await admin.post(f"/edges/{edge}/delete", {"typed": "shop"})
    assert wrong.status_code == 400
    assert "That is not shop.tun.example" in wrong.text
    right = await admin.post(f"/edges/{edge}/delete", {"typed": "shop.tun.example"})

    assert right.headers["location"] == "/edges?flash=deleted"
    assert await house.managed.store.edges.all() == []


async def test_who_serves_an_edge_is_shown_and_can_be_drained(house, admin):
    edge = await made(house)
    tunnel = house.managed.join("default", (("edge", edge),))

    page = text_of((await admin.get(f"/edges/{edge}")).text)
    assert "You have 1 tunnel online" in page
    assert "Start additional tunnels to begin load balancing" in page
    await admin.post(f"/edges/{edge}/tunnels/{tunnel.id}/drain")

    assert tunnel.is_draining
    assert "Draining" in text_of((await admin.get(f"/edges/{edge}")).text)


async def test_labels_are_quoted_for_the_shell(house, admin):
    edge = await made(house)
    group = await house.managed.services.backends.create(ADMIN, [("team", "a b; rm -rf ~")], owner="default")
    await house.managed.services.edges.set_backend(ADMIN, edge, group.id)

    page = text_of((await admin.get(f"/edges/{edge}")).text)

    assert "tunnel tunnel --label 'team=a b; rm -rf ~' http://localhost:80" in page


MODULES = ("/oidc", "/ip-restriction", "/request-headers", "/basic-auth", "/stickiness")
PATHS = ("", "/events", "/description", "/domain", "/tunnel-group", *MODULES)
CHANGES = ("/description", "/domain", "/tunnel-group", "/delete", "/oidc/test", "/oidc/remove", *MODULES)


@pytest.mark.parametrize("path", PATHS)
async def test_another_owners_edge_does_not_exist_for_a_member(house, admin, path):
    """Row 138."""
    edge = await made(house)
    async with house.signed_in(await house.user("ann", "ann")) as ann:
        theirs, none = await ann.get(f"/edges/{edge}{path}"), await ann.get(f"/edges/edghts_none{path}")

    assert (theirs.status_code, none.status_code) == (404, 404)
    assert theirs.text.replace(edge, "") == none.text.replace("edghts_none", "")


@pytest.mark.parametrize("path", CHANGES)
async def test_a_member_changes_nothing_of_another_owner(house, admin, path):
    """Row 138."""
    edge = await made(house)
    before = await house.managed.store.edges.all()
    async with house.signed_in(await house.user("ann", "ann")) as ann:
        answer = await ann.post(f"/edges/{edge}{path}", {**OIDC, "typed": "shop.tun.example", "description": "mine"})

    assert answer.status_code == 404
    assert await house.managed.store.edges.all() == before


async def test_a_member_drains_no_tunnel_of_another_owner_through_an_edge_of_his_own(house, admin):
    """Row 138."""
    mine = await made(house, "mine", owner="ann")
    theirs = house.managed.join("default", (("edge", await made(house)),))
    async with house.signed_in(await house.user("ann", "ann")) as ann:
        answer = await ann.post(f"/edges/{mine}/tunnels/{theirs.id}/drain")

    assert answer.status_code == 404
    assert not theirs.is_draining


async def test_a_member_makes_edges_for_nobody_else(house, admin):
    """Row 142."""
    async with house.signed_in(await house.user("ann", "ann")) as ann:
        answer = await ann.post("/edges/new", {"host": "new", "name": "shop", "owner": "default"})

    assert answer.status_code == 403
    assert await house.managed.store.edges.all() == []


async def test_whatever_others_say_is_text(house, admin):
    """Row 139. A description, labels, an agent's name, its upstream and where it claims to be."""
    edge = await made(house, description=HOSTILE)
    labels = (("edge", edge), ("x", HOSTILE))
    group = await house.managed.services.backends.create(ADMIN, [("edge", edge), ("x", HOSTILE)], owner="default")
    await house.managed.services.edges.set_backend(ADMIN, edge, group.id)
    tunnel = fake_tunnel("default", "a1", labels=labels)
    tunnel.name = tunnel.upstream = tunnel.peer = HOSTILE
    house.managed.table.join(tunnel)

    texts = [
        (await admin.get("/edges")).text,
        (await admin.get(f"/edges/{edge}")).text,
        (await admin.get(f"/edges/{edge}/description")).text,
        (await admin.post(f"/edges/{edge}/oidc/test", {**OIDC, "issuer": HOSTILE, "allow_groups": HOSTILE})).text,
        (await admin.post(f"/edges/{edge}/request-headers", {"add": HOSTILE})).text,
    ]

    for text in texts:
        read = Elements(text)
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
        assert "alert(1)" not in read.scripts
        assert not read.names & {"img", "iframe", "object", "style", "base"}
        assert not [name for name in read.attributes if name.startswith("on") or name == "style"]


async def test_an_edge_is_moved_to_another_name_and_the_former_one_stays_reserved(house, admin):
    edge = await made(house)
    assert "shop.tun.example" in (await admin.get(f"/edges/{edge}/domain")).text

    taken = await admin.post(f"/edges/{edge}/domain", {"host": "new", "name": "api"})
    assert taken.status_code == 400
    await admin.post(f"/edges/{edge}/domain", {"host": "new", "name": "store"})

    assert [row.host for row in await house.managed.store.edges.all()] == ["store.tun.example"]
    assert house.managed.policy("shop.tun.example") is None
    assert 'value="shop.tun.example"' in (await admin.get(f"/edges/{edge}/domain")).text


async def test_a_tunnel_group_is_chosen_by_its_labels_and_never_changed_under_another_edge(house, admin):
    first, second = await made(house), await made(house, "docs")
    typed = {"labels": "team=web\nzone=eu"}

    await admin.post(f"/edges/{first}/tunnel-group", typed)
    await admin.post(f"/edges/{second}/tunnel-group", typed)
    assert len(await house.managed.store.backends.all()) == 1
    await admin.post(f"/edges/{second}/tunnel-group", {"labels": "team=docs"})

    assert "--label team=web --label zone=eu" in text_of((await admin.get(f"/edges/{first}")).text)
    assert "team=docs" in (await admin.get(f"/edges/{second}/tunnel-group")).text
    await admin.post(f"/edges/{first}/tunnel-group", {"labels": ""})
    assert f"edge={first}" in (await admin.get(f"/edges/{first}")).text


async def test_a_group_whose_label_ends_in_a_comma_is_the_same_after_its_form_was_sent_as_it_came(house, admin):
    edge = await made(house)
    await admin.post(f"/edges/{edge}/tunnel-group", {"labels": 'team="web,"'})
    (before,) = await house.managed.store.backends.all()

    shown = html.unescape((await admin.get(f"/edges/{edge}/tunnel-group")).text)
    await admin.post(f"/edges/{edge}/tunnel-group", {"labels": 'team="web,"'})

    assert before.labels == (("team", "web,"),)
    assert 'team="web,"</textarea>' in shown
    assert await house.managed.store.backends.all() == [before]


@pytest.mark.parametrize("labels", ["team", "=web", "team=", "a=1\na=2", "<script>alert(1)"])
async def test_labels_that_are_none_are_told(house, admin, labels):
    edge = await made(house)

    answer = await admin.post(f"/edges/{edge}/tunnel-group", {"labels": labels})

    assert answer.status_code == 400
    assert "field-error" in answer.text
    assert "<script>alert" not in answer.text


async def test_a_named_provider_is_chosen_without_a_secret(house, admin):
    """Row 141."""
    edge = await made(house)
    settings = ProviderSettings(issuer="https://login.acme.example", client_id="relay")
    await house.managed.services.providers.create(ADMIN, "work", settings, SECRET)

    form = await admin.get(f"/edges/{edge}/oidc")
    assert 'value="@work"' in form.text
    answer = await admin.post(f"/edges/{edge}/oidc", {**OIDC, "provider": "@work"})

    assert answer.status_code == 303, text_of(answer.text)
    page = await admin.get(f"/edges/{edge}")
    assert "@work · 2 rules let visitors in" in text_of(page.text)
    assert SECRET not in page.text + form.text


async def test_a_login_that_was_just_seen_to_fail_is_saved_only_when_it_is_saved_once_more(house, admin, monkeypatch):
    edge = await made(house)
    await admin.post(f"/edges/{edge}/oidc", OIDC)
    seen = error("discovery", "no discovery document is at this address")

    async def fails(_provider: object, *_args: object, **_kwargs: object) -> list[Finding]:
        return [seen]

    monkeypatch.setattr(type(house.managed.provider), "__call__", fails)
    wanted = {**OIDC, "issuer": "https://wrong.acme.example"}
    await admin.post(f"/edges/{edge}/oidc/test", wanted)

    warned = await admin.post(f"/edges/{edge}/oidc", wanted)
    kept = (await house.managed.services.edges.get(ADMIN, edge)).settings.policy.oidc
    (confirmed,) = re.findall(r'name="confirmed" value="([a-z2-7]+)"', warned.text)
    other = await admin.post(f"/edges/{edge}/oidc", {**wanted, "confirmed": "another"})
    saved = await admin.post(f"/edges/{edge}/oidc", {**wanted, "confirmed": confirmed})
    now = (await house.managed.services.edges.get(ADMIN, edge)).settings.policy.oidc

    assert (warned.status_code, other.status_code, saved.status_code) == (409, 409, 303)
    assert seen.found in html.unescape(warned.text)
    assert "Nothing was saved" in warned.text
    assert (kept.issuer, now.issuer) == (OIDC["issuer"], wanted["issuer"])
    assert SECRET not in warned.text


async def test_a_login_whose_test_passed_or_is_long_ago_is_saved_at_once(house, admin, monkeypatch):
    edge = await made(house)
    findings = [error("discovery", "it does not answer")]

    async def tells(_provider: object, *_args: object, **_kwargs: object) -> list[Finding]:
        return findings

    monkeypatch.setattr(type(house.managed.provider), "__call__", tells)
    await admin.post(f"/edges/{edge}/oidc/test", OIDC)
    findings = [ok("discovery", "it answers")]
    await admin.post(f"/edges/{edge}/oidc/test", OIDC)
    passed = await admin.post(f"/edges/{edge}/oidc", OIDC)

    findings = [error("discovery", "it does not answer")]
    await admin.post(f"/edges/{edge}/oidc/test", {**OIDC, "client_id": "other"})
    house.managed.clock.now += FAILED_SECONDS
    later = await admin.post(f"/edges/{edge}/oidc", {**OIDC, "client_id": "other"})

    assert (passed.status_code, later.status_code) == (303, 303)


@pytest.mark.parametrize("field", ["allow", "deny"])
async def test_the_list_with_a_wrong_network_is_marked(house, admin, field):
    edge = await made(house)

    answer = await admin.post(f"/edges/{edge}/ip-restriction", {"allow": "", "deny": "", field: "10.0.0.1/8"})

    assert answer.status_code == 400
    assert re.search(rf'id="f-{field}"[^>]*aria-invalid="true"|aria-invalid="true"[^>]*id="f-{field}"', answer.text)
