"""Authtokens in the dashboard: shown once, changed, revoked; by their owner."""

import re

import pytest

from tests.dashboard.test_edges import HOSTILE, Elements, text_of
from tests.support.dashboard import DashboardClient, InMemory
from tests.support.managed import ADMIN
from tunnelrelay.agents import authtokens

DAY = 86_400.0
NEW = {"description": "CI", "acl": "bind:pr-*\nbind:edge=edghts_1", "expires_at": "30d"}


async def made(house: InMemory, owner: str = "default", description: str = "laptop") -> str:
    """A token's id."""
    token, _ = await house.managed.services.credentials.create(ADMIN, description=description, owner=owner)
    return token.id


async def shown(admin: DashboardClient, form: dict[str, str]) -> str:
    """The token that the page shows."""
    answer = await admin.post("/credentials/new", form)
    assert answer.status_code == 200, text_of(answer.text)
    found = re.search(r"tt_[0-9A-Za-z]{43}", answer.text)
    assert found is not None
    return found[0]


async def test_a_list_without_tokens_says_what_they_are_for_and_how_to_make_the_first(admin):
    page = text_of((await admin.get("/credentials")).text)

    assert "An agent on another machine shows one" in page
    assert "tunnel api credentials create" in page


async def test_a_token_is_shown_once_with_the_command_that_keeps_it(house, admin):
    """Row 141."""
    answer = await admin.post("/credentials/new", NEW)
    text = re.search(r"tt_[0-9A-Za-z]{43}", answer.text)[0]

    assert answer.headers["cache-control"] == "no-store"
    assert f"tunnel config add-authtoken {text}" in text_of(answer.text)
    (token,) = await house.managed.services.credentials.page(ADMIN)
    assert token.acl == ("bind:pr-*", "bind:edge=edghts_1")
    assert token.expires_at == house.managed.clock() + 30 * DAY
    assert (await house.managed.store.token_by_digest(authtokens.digest(text))).id == token.id
    for path in ("/credentials", f"/credentials/{token.id}", "/audit"):
        assert text not in (await admin.get(path)).text


@pytest.mark.parametrize(
    ("wrong", "field"),
    [({"acl": "nonsense"}, "acl"), ({"expires_at": "later"}, "expires_at"), ({"expires_at": ""}, "expires_at")],
)
async def test_a_mistake_is_told_at_its_field_and_makes_no_token(house, admin, wrong, field):
    answer = await admin.post("/credentials/new", NEW | wrong)

    assert answer.status_code == 400
    assert f'id="f-{field}-note"' in answer.text
    assert 'value="CI"' in answer.text
    assert await house.managed.services.credentials.page(ADMIN) == []


async def test_a_token_is_changed_and_keeps_what_is_not_touched(house, admin):
    await shown(admin, NEW)
    (token,) = await house.managed.services.credentials.page(ADMIN)
    where = f"/credentials/{token.id}"

    await admin.post(where, {"description": "Nightly", "acl": "bind:night", "expires_at": "keep"})
    (changed,) = await house.managed.services.credentials.page(ADMIN)
    assert (changed.description, changed.acl, changed.expires_at) == ("Nightly", ("bind:night",), token.expires_at)
    await admin.post(where, {"description": "Nightly", "acl": "", "expires_at": "never"})
    (changed,) = await house.managed.services.credentials.page(ADMIN)
    assert (changed.acl, changed.expires_at) == ((), None)
    answer = await admin.post(where, {"description": "x", "acl": "nonsense", "expires_at": "keep"})

    assert answer.status_code == 400
    assert "nonsense" in answer.text


async def test_a_token_is_revoked_at_once(house, admin):
    text = await shown(admin, NEW)
    (token,) = await house.managed.services.credentials.page(ADMIN)

    answer = await admin.post(f"/credentials/{token.id}/revoke")

    assert answer.headers["location"] == "/credentials?flash=revoked"
    assert (await house.managed.store.token(token.id)).revoked_at is not None
    assert (await admin.get(f"/credentials/{token.id}")).status_code == 404
    assert text not in (await admin.get("/credentials")).text


async def test_a_token_whose_time_is_over_says_so(house, admin):
    await shown(admin, NEW)
    house.managed.clock.now += 30 * DAY
    async with house.signed_in((await house.managed.store.users.all())[0]) as again:
        assert "Expired" in (await again.get("/credentials")).text


@pytest.mark.parametrize("path", ["", "/revoke"])
async def test_another_owners_token_does_not_exist_for_a_member(house, admin, path):
    """Row 138."""
    token_id = await made(house, description="Secret project")
    async with house.signed_in(await house.user("ann", "ann")) as ann:
        lists = [(await ann.get(f"/credentials{query}")).text for query in ("", "?owner=default")]
        theirs = await ann.post(f"/credentials/{token_id}{path}", NEW)
        none = await ann.post(f"/credentials/tok_none{path}", NEW)
        seen = await ann.get(f"/credentials/{token_id}")

    assert (theirs.status_code, none.status_code, seen.status_code) == (404, 404, 404)
    assert theirs.text.replace(token_id, "") == none.text.replace("tok_none", "")
    assert "Secret project" not in "".join(lists)
    token = await house.managed.store.token(token_id)
    assert (token.description, token.revoked_at) == ("Secret project", None)


async def test_a_member_makes_tokens_for_nobody_else(house, admin):
    """Rows 138, 142."""
    async with house.signed_in(await house.user("ann", "ann")) as ann:
        assert 'name="owner"' not in (await ann.get("/credentials/new")).text
        answer = await ann.post("/credentials/new", NEW | {"owner": "default"})

    assert answer.status_code == 403
    assert await house.managed.services.credentials.page(ADMIN) == []


async def test_a_description_and_rules_are_text(house, admin):
    """Row 139."""
    token, _ = await house.managed.services.credentials.create(
        ADMIN, description=HOSTILE, metadata=HOSTILE, acl=[f"bind:x={HOSTILE}"]
    )

    for path in ("/credentials", f"/credentials/{token.id}"):
        page = (await admin.get(path)).text
        read = Elements(page)
        assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 2
        assert not read.names & {"img", "iframe", "style"}
        assert not [name for name in read.attributes if name.startswith("on") or name == "style"]
