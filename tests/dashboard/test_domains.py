"""Reserved domains in the dashboard: reserved, described and released by their owner, with what is in the way told."""

import pytest

from tests.dashboard.test_edges import HOSTILE, Elements, text_of
from tests.support.dashboard import InMemory
from tests.support.managed import ADMIN
from tunnelrelay.services.edges import EdgeDraft


async def reserved(house: InMemory, name: str = "shop", owner: str = "default", description: str = "") -> str:
    """A domain's id."""
    return (await house.managed.services.domains.create(ADMIN, name, description, owner=owner)).id


async def test_a_list_without_domains_says_what_they_are_for_and_how_to_make_the_first(admin):
    page = text_of((await admin.get("/domains")).text)

    assert "no other owner can serve it" in page
    assert "tunnel api reserved-domains create --domain app" in page


async def test_a_domain_is_reserved_described_and_released(house, admin):
    answer = await admin.post("/domains/new", {"domain": "shop", "description": "Storefront"})
    where = answer.headers["location"].partition("?")[0]
    assert "Storefront" in (await admin.get("/domains")).text
    assert "tunnel http 80 --subdomain shop" in text_of((await admin.get(where)).text)

    await admin.post(where, {"description": "Spring release"})
    assert "Spring release" in (await admin.get(where)).text
    answer = await admin.post(f"{where}/release")

    assert answer.headers["location"] == "/domains?flash=released"
    assert (await admin.get(where)).status_code == 404


async def test_a_name_is_made_up_for_who_gives_none(house, admin):
    answer = await admin.post("/domains/new", {"domain": ""})

    assert answer.status_code == 303
    (row,) = await house.managed.store.domains.all()
    assert row.host.endswith(".tun.example")


@pytest.mark.parametrize("name", ["api", "not a name", "-x", HOSTILE, "a.b"])
async def test_a_bad_name_is_told_at_its_field_and_the_rest_stays_typed(admin, name):
    answer = await admin.post("/domains/new", {"domain": name, "description": "Storefront"})

    assert answer.status_code == 400
    assert 'aria-invalid="true"' in answer.text
    assert 'value="Storefront"' in answer.text
    assert "<script>alert" not in answer.text


async def test_a_name_that_is_taken_is_told_without_saying_by_whom(house, admin):
    """Row 138."""
    await reserved(house, owner="bob")
    async with house.signed_in(await house.user("ann", "ann")) as ann:
        answer = await ann.post("/domains/new", {"domain": "shop"})

    assert answer.status_code == 409
    assert "bob" not in answer.text


async def test_what_the_cool_down_means_is_said_before_a_name_is_released(house, admin):
    page = text_of((await admin.get(f"/domains/{await reserved(house)}")).text)

    assert "everybody else only after 16 min" in page


async def test_a_domain_that_an_edge_uses_is_not_released_and_leads_to_the_edge(house, admin):
    edge = await house.managed.services.edges.create(ADMIN, EdgeDraft(host="shop", description="Storefront"))
    (row,) = await house.managed.store.domains.all()

    assert f'href="/edges/{edge.id}"' in (await admin.get("/domains")).text
    answer = await admin.post(f"/domains/{row.id}/release")

    assert answer.status_code == 409
    assert f'href="/edges/{edge.id}"' in answer.text
    assert await house.managed.store.domains.get(row.id) is not None


async def test_a_long_list_has_pages_and_keeps_its_filter(house, admin):
    for number in range(52):
        await reserved(house, f"team-{number}", owner="team")
    await reserved(house)

    first = await admin.get("/domains?owner=team")
    where = first.text.split('rel="next"')[0].rpartition('href="')[2].partition('"')[0].replace("&amp;", "&")
    second = await admin.get(where)

    assert "shop.tun.example" not in first.text + second.text
    assert [page.text.count('class="row-link"') for page in (first, second)] == [50, 2]
    assert all(f">team-{number}.tun.example<" in first.text + second.text for number in range(52))


@pytest.mark.parametrize("path", ["", "/release"])
async def test_another_owners_domain_does_not_exist_for_a_member(house, admin, path):
    """Row 138."""
    row_id = await reserved(house, description="Secret project")
    async with house.signed_in(await house.user("ann", "ann")) as ann:
        pages = [(await ann.get(f"/domains{query}")).text for query in ("", "?owner=default", f"?before={row_id}x")]
        theirs = await ann.post(f"/domains/{row_id}{path}", {"description": "mine"})
        none = await ann.post(f"/domains/rd_none{path}", {"description": "mine"})
        seen = await ann.get(f"/domains/{row_id}")

    assert (theirs.status_code, none.status_code, seen.status_code) == (404, 404, 404)
    assert theirs.text.replace(row_id, "") == none.text.replace("rd_none", "")
    assert "Secret project" not in "".join(pages)
    assert (await house.managed.store.domains.get(row_id)).description == "Secret project"


async def test_a_member_reserves_for_nobody_else(house, admin):
    """Rows 138, 142."""
    async with house.signed_in(await house.user("ann", "ann")) as ann:
        assert 'name="owner"' not in (await ann.get("/domains/new")).text
        answer = await ann.post("/domains/new", {"domain": "shop", "owner": "default"})

    assert answer.status_code == 403
    assert await house.managed.store.domains.all() == []


async def test_a_description_is_text(house, admin):
    """Row 139."""
    row_id = await reserved(house, description=HOSTILE)

    for path in ("/domains", f"/domains/{row_id}"):
        page = (await admin.get(path)).text
        read = Elements(page)
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
        assert not read.names & {"img", "iframe", "style"}
        assert not [name for name in read.attributes if name.startswith("on") or name == "style"]
