"""Users in the dashboard: added with a link that is shown once, changed, disabled, removed; by administrators."""

import html
import re
from dataclasses import replace

import pytest

from tests.dashboard.test_edges import HOSTILE, Elements, text_of
from tests.support.managed import ADMIN

NEW = {"name": "Ann", "owner": "ann", "role": "member", "email": "ann@acme.example"}
SEEN = re.compile('name="seen" value="([0-9a-f]+)"')
LINK = re.compile(r"https://dashboard\.tun\.example/sign-in#code=(tc_[0-9A-Za-z]{43})")


async def test_a_new_user_signs_in_by_the_link_that_is_shown_once(house, admin):
    """Rows 141, 143."""
    answer = await admin.post("/users/new", NEW)
    code = LINK.search(html.unescape(answer.text))[1]

    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert code not in (await admin.get("/users")).text
    async with house.stranger() as ann:
        assert (await ann.sign_in(code)).status_code == 303
        assert "Member of ann" in text_of((await ann.get("/account")).text)
    async with house.stranger() as late:
        assert (await late.sign_in(code)).status_code == 403


@pytest.mark.parametrize(
    ("wrong", "field"),
    [({"name": ""}, "name"), ({"owner": "no owner"}, "owner"), ({"role": "root"}, "role"), ({"email": "x"}, "email")],
)
async def test_a_mistake_is_told_at_its_field_and_adds_nobody(house, admin, wrong, field):
    answer = await admin.post("/users/new", NEW | wrong)

    assert answer.status_code == 400
    assert f'id="f-{field}-note"' in answer.text
    assert len(await house.managed.store.users.all()) == 1


async def test_a_name_that_is_taken_is_told_at_the_name(house, admin):
    await house.user("Ann", "ann")

    answer = await admin.post("/users/new", NEW)

    assert answer.status_code == 409
    assert "There is a user of this name" in answer.text
    assert "ann@acme.example" in answer.text


async def test_a_user_is_changed_and_it_holds_from_the_next_click_on(house, admin):
    user = await house.user("Ann", "ann")
    async with house.signed_in(user) as ann:
        await admin.post(f"/users/{user.id}", NEW | {"role": "admin", "owner": "team"})
        assert (await ann.get("/users/new")).status_code == 200
        await admin.post(f"/users/{user.id}", NEW)

        assert (await ann.get("/users/new")).status_code == 403


async def test_who_is_disabled_is_out_at_once_and_comes_back_by_a_new_link(house, admin):
    """Row 145."""
    user = await house.user("Ann", "ann")
    async with house.signed_in(user) as ann:
        await admin.post(f"/users/{user.id}/disable")
        assert (await ann.get("/edges")).status_code == 303
        assert (await admin.post(f"/users/{user.id}/link")).status_code == 409
        await admin.post(f"/users/{user.id}/enable")
        code = LINK.search(html.unescape((await admin.post(f"/users/{user.id}/link")).text))[1]

        assert (await ann.sign_in(code)).status_code == 303
        assert (await ann.get("/edges")).status_code == 200


async def test_who_is_deleted_is_gone(house, admin):
    user = await house.user("Ann", "ann")
    async with house.signed_in(user) as ann:
        answer = await admin.post(f"/users/{user.id}/delete")

        assert answer.headers["location"] == "/users?flash=deleted"
        assert (await ann.get("/edges")).status_code == 303


@pytest.mark.parametrize(("path", "form"), [("/delete", {}), ("/disable", {}), ("", {"role": "member"})])
async def test_the_last_administrator_stays_one_and_is_told_so_on_the_page(house, admin, path, form):
    """Row 142."""
    root = (await house.managed.store.users.all())[0]

    answer = await admin.post(f"/users/{root.id}{path}", form)

    assert answer.status_code == 409
    assert "This is the last administrator" in answer.text
    assert "Make another user an administrator first" in answer.text
    assert (await admin.get("/users/new")).status_code == 200


CHANGES = ("", "/link", "/disable", "/enable", "/delete")


@pytest.mark.parametrize("path", CHANGES)
async def test_a_member_sees_himself_and_changes_nobody(house, admin, path):
    """Rows 138, 142."""
    bob, me = await house.user("Bob", "ann"), await house.user("Ann", "ann")
    async with house.signed_in(me) as ann:
        page = (await ann.get("/users")).text
        assert "Bob" not in page
        assert "Add a user" not in page
        assert "/delete" not in (await ann.get(f"/users/{me.id}")).text
        seen, none = await ann.get(f"/users/{bob.id}"), await ann.get("/users/usr_none")
        answers = [await ann.post(f"/users/{user.id}{path}", {"role": "admin"}) for user in (bob, me)]
        unknown = await ann.post(f"/users/usr_none{path}", {"role": "admin"})

    assert (seen.status_code, none.status_code) == (404, 404)
    assert seen.text.replace(bob.id, "") == none.text.replace("usr_none", "")
    assert all(answer.status_code in (403, 404) for answer in answers)
    assert "code=" not in "".join(answer.text for answer in answers)
    assert answers[0].status_code == unknown.status_code
    users = house.managed.store.users
    assert await users.get(bob.id) == bob
    assert (await users.get(me.id)).role == "member"


async def test_a_member_adds_nobody(house, admin):
    """Rows 138, 142."""
    async with house.signed_in(await house.user("Ann", "ann")) as ann:
        assert (await ann.get("/users/new")).status_code == 403
        answer = await ann.post("/users/new", NEW | {"name": "Eve", "role": "admin"})

    assert answer.status_code == 403
    assert await house.managed.store.users.find(name="Eve") is None


async def test_the_role_of_who_comes_by_the_provider_is_the_providers(house, admin):
    """Row 144."""
    user = await house.user("Ann", "ann")
    store = house.managed.store.users
    await store.replace(replace(user, issuer="https://login.acme.example", subject="1", version=user.version + 1))

    page = await admin.get(f"/users/{user.id}")
    assert 'name="role"' not in page.text
    answer = await admin.post(f"/users/{user.id}", NEW | {"role": "admin"})

    assert answer.status_code == 400
    assert (await store.get(user.id)).role == "member"


async def test_a_name_and_an_address_are_text(house, admin):
    """Row 139."""
    await house.managed.services.users.create(ADMIN, HOSTILE, owner="x", email=f"{HOSTILE.replace(' ', '')}@x.example")
    user = await house.managed.store.users.find(name=HOSTILE)
    assert user is not None

    answers = [
        await admin.get("/users"),
        await admin.get(f"/users/{user.id}"),
        await admin.post(f"/users/{user.id}/link"),
    ]

    for answer in answers:
        read = Elements(answer.text)
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in answer.text
        assert not read.names & {"img", "iframe", "style"}
        assert not [name for name in read.attributes if name.startswith("on") or name == "style"]


async def test_a_form_that_was_opened_before_another_change_undoes_nothing_of_it(house, admin):
    user = await house.user("Ann", "ann", role="admin")
    opened = SEEN.search((await admin.get(f"/users/{user.id}")).text)[1]
    await admin.post(f"/users/{user.id}", NEW | {"role": "member"})

    late = await admin.post(f"/users/{user.id}", NEW | {"role": "admin", "email": "new@acme.example", "seen": opened})
    shown = SEEN.search(late.text)[1]
    again = await admin.post(f"/users/{user.id}", NEW | {"email": "new@acme.example", "seen": shown})
    kept = await house.managed.store.users.get(user.id)

    assert (late.status_code, again.status_code) == (409, 303)
    assert "was changed by another user meanwhile" in text_of(late.text)
    assert "new@acme.example" in late.text
    assert (kept.role, kept.email) == ("member", "new@acme.example")
