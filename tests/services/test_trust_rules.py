"""Trust rules as administrators set them up: what is checked, who may, and what members see."""

from typing import Any

import pytest

from tests.support.every import every
from tests.support.managed import ADDRESS, ADMIN, ANN, Managed, actor
from tunnelrelay.config.trust_rules import TrustRuleSettings
from tunnelrelay.services.problems import Kind, ManageError
from tunnelrelay.services.trust_rules import TrustRuleError, configured_rules

GITHUB = "https://token.actions.githubusercontent.com"
RULE: dict[str, Any] = {"issuer": GITHUB, "claims": {"repository_id": "42"}, "acl": ["bind:pr-*"]}


@pytest.fixture
def managed() -> Managed:
    return Managed()


async def test_a_rule_is_for_the_relays_own_address_unless_it_says_otherwise(managed: Managed):
    made = await managed.services.trust_rules.create(ADMIN, **RULE, owner="acme", description="previews")
    other = await managed.services.trust_rules.create(ADMIN, **RULE, audience=" https://other.example ")

    assert (made.owner, made.audience, made.claims, made.acl) == (
        "acme",
        "https://tun.example",
        (("repository_id", "42"),),
        ("bind:pr-*",),
    )
    assert other.audience == "https://other.example"
    assert {row.id for row in await managed.services.trust_rules.page(ADMIN)} == {made.id, other.id}


async def test_a_slash_at_the_issuers_end_does_not_matter(managed: Managed):
    made = await managed.services.trust_rules.create(ADMIN, **{**RULE, "issuer": f"{GITHUB}/"})

    assert made.issuer == GITHUB


@every(
    "field, changes",
    [
        ("issuer", {"issuer": "github"}),
        ("issuer", {"issuer": "http://ci.acme.example"}),
        ("claims", {"claims": {}}),
        ("claims", {"claims": {"ref": "refs/heads/main"}}),
        ("claims", {"claims": {"repository_id": "42", "sub": "repo:acme/*"}}),
        ("acl", {"acl": []}),
        ("acl", {"acl": ["pr-*"]}),
        ("acl", {"acl": ["bind:a"] * 101}),
        ("audience", {"audience": "x" * 2000}),
        ("description", {"description": "d" * 256}),
        ("owner", {"owner": "a b"}),
    ],
)
async def test_what_cannot_be_a_rule_is_refused_at_its_field(field: str, changes: dict[str, Any]):
    managed = Managed()

    with pytest.raises(ManageError) as refused:
        await managed.services.trust_rules.create(ADMIN, **{**RULE, **changes})

    assert (refused.value.kind, [*refused.value.fields]) == (Kind.INVALID, [field])
    assert await managed.services.trust_rules.page(ADMIN) == []


async def test_a_change_is_checked_as_a_new_rule_and_keeps_what_is_not_given(managed: Managed):
    rules = managed.services.trust_rules
    made = await rules.create(ADMIN, **RULE, description="previews")

    with pytest.raises(ManageError) as refused:
        await rules.update(ADMIN, made.id, claims={"ref": "refs/heads/main"})
    changed = await rules.update(ADMIN, made.id, acl=["bind:demo"], audience="")

    assert [*refused.value.fields] == ["claims"]
    assert (changed.acl, changed.claims, changed.description) == (("bind:demo",), made.claims, "previews")
    assert changed.audience == "https://tun.example"


async def test_members_see_their_owners_rules_and_change_none(managed: Managed):
    """Row 138. A member's rule about a stranger's repository would bring its jobs under the member."""
    rules = managed.services.trust_rules
    mine = await rules.create(ADMIN, **RULE, owner="ann")
    theirs = await rules.create(ADMIN, **RULE, owner="bob")
    managed.events()

    assert await rules.page(ANN) == [mine]
    assert await rules.page(ANN, owner="bob") == []
    for call, kind in (
        (rules.get(ANN, theirs.id), Kind.MISSING),
        (rules.create(ANN, **RULE), Kind.FORBIDDEN),
        (rules.update(ANN, mine.id, acl=["*"]), Kind.FORBIDDEN),
        (rules.delete(ANN, mine.id), Kind.FORBIDDEN),
    ):
        with pytest.raises(ManageError) as refused:
            await call
        assert refused.value.kind is kind
    assert managed.events() == []
    assert await rules.get(ANN, mine.id) == mine


async def test_a_key_needs_the_scope_of_credentials(managed: Managed):
    key = actor("root", "default", is_admin=True, scopes=("edges:write",))

    with pytest.raises(ManageError) as refused:
        await managed.services.trust_rules.create(key, **RULE)

    assert refused.value.code == "scope_missing"


async def test_every_change_is_in_the_audit_log_with_what_differs(managed: Managed):
    rules = managed.services.trust_rules
    made = await rules.create(ADMIN, **RULE, owner="acme")
    await rules.update(ADMIN, made.id, acl=["bind:demo"])
    await rules.delete(ADMIN, made.id)

    events = managed.events("trust_rule")

    assert [event.kind for event in events] == ["trust_rule.created", "trust_rule.updated", "trust_rule.deleted"]
    assert {event.owner for event in events} == {"acme"}
    assert '"claims":["repository_id=42"]' in events[0].details["after"].replace("\\", "").replace('"[', "[")
    assert "bind:demo" in events[1].details["after"]
    assert "claims" not in events[1].details["after"]
    assert "bind:demo" in events[2].details["before"]


SETTINGS = TrustRuleSettings(owner="acme", issuer=f"{GITHUB}/", claims={"repository_id": "42"}, acl=("bind:pr-*",))


def test_rules_of_the_configuration_are_checked_in_the_same_way():
    (rule,) = configured_rules([SETTINGS], ADDRESS, lambda issuer: "")
    wrong = TrustRuleSettings(owner="a b", issuer="x", claims={"ref": "x"}, acl=())

    with pytest.raises(TrustRuleError) as refused:
        configured_rules([SETTINGS, wrong], ADDRESS, lambda issuer: "")

    assert (rule.owner, rule.issuer, rule.audience) == ("acme", GITHUB, "https://tun.example")
    for name in ("issuer", "claims", "owner", "acl"):
        assert f"trust_rule 2: {name}: " in str(refused.value)
    assert "trust_rule 1" not in str(refused.value)


def test_a_rule_about_an_issuer_that_the_relay_does_not_call_is_refused():
    with pytest.raises(TrustRuleError, match="does not call it: its port"):
        configured_rules([SETTINGS], ADDRESS, lambda issuer: "its port is not called")
