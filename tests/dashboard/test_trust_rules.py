"""The pages of trust rules: making, changing and deleting one, and what members see."""

from typing import Any

from tests.dashboard.test_edges import text_of
from tests.support.dashboard import DashboardClient, InMemory
from tests.support.managed import ADMIN
from tunnelrelay.policy.trust import TrustRule
from tunnelrelay.store.resources import TrustRuleRow

GITHUB = "https://token.actions.githubusercontent.com"
NEW = {
    "description": "Previews",
    "issuer": GITHUB,
    "claims": "repository_id=42\r\n\r\n ref = refs/heads/main \r\n",
    "acl": "bind:pr-*\r\nbind:demo",
    "owner": "acme",
}


async def made(house: InMemory, **changes: Any) -> TrustRuleRow:
    what: dict[str, Any] = {"issuer": GITHUB, "claims": {"repository_id": "42"}, "acl": ["bind:pr-*"], **changes}
    return await house.managed.services.trust_rules.create(ADMIN, **what)


async def test_a_rule_is_made_from_the_form_and_shown(house: InMemory, admin: DashboardClient):
    empty = text_of((await admin.get("/trust-rules")).text)
    answer = await admin.post("/trust-rules/new", NEW)
    (row,) = await house.managed.services.trust_rules.page(ADMIN)
    page = text_of((await admin.get(f"/trust-rules/{row.id}")).text)

    assert "No trust rules yet" in empty
    assert answer.headers["location"] == f"/trust-rules/{row.id}?flash=created"
    assert (row.owner, row.audience, row.acl) == ("acme", "https://tun.example", ("bind:pr-*", "bind:demo"))
    assert row.claims == (("ref", "refs/heads/main"), ("repository_id", "42"))
    assert "tunnel http 3000 --authtoken=oidc --relay https://tun.example" in page
    assert "Previews" in (await admin.get("/trust-rules")).text


async def test_what_is_wrong_is_told_at_its_field_and_nothing_is_lost(house: InMemory, admin: DashboardClient):
    for field, wrong, told in (
        ("claims", "ref=main", "whose jobs you mean"),
        ("claims", "repository_id", "NAME=VALUE"),
        ("claims", "repository_id=1\nrepository_id=2", "NAME=VALUE"),
        ("acl", "", "say what its jobs may serve"),
        ("issuer", "github", "issuer"),
    ):
        answer = await admin.post("/trust-rules/new", NEW | {field: wrong})

        assert answer.status_code == 400, field
        assert told in text_of(answer.text)
        assert "Previews" in answer.text
    assert await house.managed.services.trust_rules.page(ADMIN) == []


async def test_a_rule_is_changed_and_deleted(house: InMemory, admin: DashboardClient):
    row = await made(house)
    where = f"/trust-rules/{row.id}"

    changed = await admin.post(where, {"issuer": GITHUB, "claims": "repository_id=43", "acl": "*", "audience": ""})
    (after,) = await house.managed.services.trust_rules.page(ADMIN)
    deleted = await admin.post(f"{where}/delete")

    assert changed.status_code == 303
    assert (after.claims, after.acl) == ((("repository_id", "43"),), ("*",))
    assert deleted.headers["location"] == "/trust-rules?flash=deleted"
    assert await house.managed.services.trust_rules.page(ADMIN) == []


async def test_members_see_their_owners_rules_and_no_forms(house: InMemory):
    mine, theirs = await made(house, owner="ann"), await made(house, owner="bob")
    async with house.signed_in(await house.user("ann", "ann")) as ann:
        page = await ann.get("/trust-rules")
        own = await ann.get(f"/trust-rules/{mine.id}")

        assert mine.id in page.text
        assert theirs.id not in page.text
        assert "New trust rule" not in page.text
        assert '<form method="post" action="/trust-rules' not in own.text
        assert (await ann.get(f"/trust-rules/{theirs.id}")).status_code == 404
        assert (await ann.get("/trust-rules/new")).status_code == 403
        assert (await ann.post("/trust-rules/new", NEW)).status_code == 403
        assert (await ann.post(f"/trust-rules/{mine.id}/delete")).status_code == 403


async def test_rules_of_the_configuration_are_shown_beside_them(house: InMemory, admin: DashboardClient):
    rule = TrustRule(owner="ops", issuer=GITHUB, audience="a", claims=(("repository_id", "7"),), acl=("bind:ops-*",))
    house.managed.services.trust_rules.configured = (rule,)

    page = text_of((await admin.get("/trust-rules")).text)

    assert "In the relay’s configuration" in page
    assert "repository_id=7" in page
    assert "bind:ops-*" in page
