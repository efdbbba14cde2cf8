"""API keys in the dashboard: shown once, for what was ticked and no more, deleted; by whom they act for."""

import re

import pytest

from tests.dashboard.test_edges import HOSTILE, Elements, text_of
from tests.support.managed import ADMIN
from tunnelrelay.dashboard.views.api_keys import MEANINGS
from tunnelrelay.services.actor import AREAS

SOME = {"description": "CI", "reach": "some", "scope": ["edges:write", "audit:read"], "expires_at": "90d"}
KEY = re.compile(r"ta_[0-9A-Za-z]{43}")


async def test_a_list_without_keys_says_what_they_are_for(admin):
    assert "a program can do with a key" in text_of((await admin.get("/api-keys")).text)


def test_every_area_has_its_name_on_the_page():
    assert tuple(MEANINGS) == AREAS


async def test_a_key_is_shown_once_with_commands_that_use_it_and_does_what_was_ticked(house, admin):
    """Row 141."""
    answer = await admin.post("/api-keys/new", SOME)
    text = KEY.search(answer.text)[0]

    assert f"curl -H 'Authorization: Bearer {text}' https://api.tun.example/edges/https" in text_of(answer.text)
    actor = await house.managed.services.api_keys.authenticate(text, "203.0.113.9", "r-1")
    assert actor.scopes == {"edges:write", "audit:read"}
    (row,) = await house.managed.store.api_keys.all()
    for path in ("/api-keys", f"/api-keys/{row.id}", "/audit"):
        assert text not in (await admin.get(path)).text


async def test_everything_is_given_only_by_the_choice_that_says_so(house, admin):
    """Row 142."""
    smuggled = await admin.post("/api-keys/new", SOME | {"scope": ["*"]})
    none = await admin.post("/api-keys/new", {"reach": "some", "expires_at": "90d"})
    without = await admin.post("/api-keys/new", {"expires_at": "90d"})
    unknown = await admin.post("/api-keys/new", SOME | {"scope": ["edges:write", "root:write"]})

    assert [answer.status_code for answer in (smuggled, none, without, unknown)] == [400] * 4
    assert "tick one at least" in none.text
    assert await house.managed.store.api_keys.all() == []
    answer = await admin.post("/api-keys/new", {"reach": "every", "expires_at": "never"})
    (row,) = await house.managed.store.api_keys.all()
    assert (answer.status_code, row.scopes, row.expires_at) == (200, ("*",), None)


async def test_what_was_ticked_stays_so_after_a_mistake(admin):
    answer = await admin.post("/api-keys/new", SOME | {"expires_at": "later"})

    assert answer.status_code == 400
    assert re.search(r'value="edges:write" checked', answer.text)
    assert 'value="CI"' in answer.text


async def test_a_key_is_described_and_deleted(house, admin):
    text = KEY.search((await admin.post("/api-keys/new", SOME)).text)[0]
    (row,) = await house.managed.store.api_keys.all()

    await admin.post(f"/api-keys/{row.id}", {"description": "Nightly"})
    assert "Nightly" in (await admin.get("/api-keys")).text
    await admin.post(f"/api-keys/{row.id}/delete")

    assert await house.managed.services.api_keys.authenticate(text, "203.0.113.9", "r-1") is None
    assert (await admin.get(f"/api-keys/{row.id}")).status_code == 404


@pytest.mark.parametrize("path", ["", "/delete"])
async def test_somebody_elses_key_does_not_exist_for_a_member_even_of_the_same_owner(house, admin, path):
    """Row 138."""
    bob = await house.user("bob", "ann")
    row, _ = await house.managed.services.api_keys.create(ADMIN, description="Bob's", user_id=bob.id)
    async with house.signed_in(await house.user("ann", "ann")) as ann:
        assert "Bob" not in (await ann.get("/api-keys")).text
        theirs = await ann.post(f"/api-keys/{row.id}{path}", {"description": "mine"})
        none = await ann.post(f"/api-keys/ak_none{path}", {"description": "mine"})

    assert (theirs.status_code, none.status_code) == (404, 404)
    assert theirs.text.replace(row.id, "") == none.text.replace("ak_none", "")
    assert (await house.managed.store.api_keys.get(row.id)).description == "Bob's"


async def test_a_member_makes_keys_for_nobody_else(house, admin):
    """Rows 138, 142."""
    root = (await house.managed.store.users.all(role="admin"))[0]
    async with house.signed_in(await house.user("ann", "ann")) as ann:
        assert 'name="user"' not in (await ann.get("/api-keys/new")).text
        answer = await ann.post("/api-keys/new", SOME | {"user": root.id})

    assert answer.status_code == 403
    assert await house.managed.store.api_keys.all() == []


async def test_a_description_is_text(house, admin):
    """Row 139."""
    root = (await house.managed.store.users.all(role="admin"))[0]
    row, _ = await house.managed.services.api_keys.create(ADMIN, description=HOSTILE, user_id=root.id)

    for path in ("/api-keys", f"/api-keys/{row.id}"):
        page = (await admin.get(path)).text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
        assert not Elements(page).names & {"img", "iframe", "style"}
