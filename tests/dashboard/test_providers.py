"""Named providers in the dashboard: registered, tried out and changed by administrators, seen by members."""

import msgspec
import pytest

from tests.dashboard.test_edges import HOSTILE, Elements, text_of
from tests.support.dashboard import InMemory
from tests.support.managed import ADMIN
from tunnelctl.wire.messages import OidcSpec, PolicySpec
from tunnelrelay.dashboard.form import Form
from tunnelrelay.dashboard.views import provider_form
from tunnelrelay.services.edges import EdgeDraft
from tunnelrelay.services.provider_settings import ProviderSettings

SECRET = "s3cret-that-nobody-sees-again"
NEW = {
    "name": "work",
    "description": "Company accounts",
    "issuer": "https://login.acme.example",
    "client_id": "relay",
    "client_secret": SECRET,
    "scopes": "profile email groups",
    "owners": "",
    "groups_claim": "groups",
    "email_verified": "claim",
    "callback": "relay",
    "request_params": "prompt=login",
}


async def made(house: InMemory, **more: object) -> str:
    """A provider's id."""
    settings = ProviderSettings(issuer="https://login.acme.example", client_id="relay")
    return (await house.managed.services.providers.create(ADMIN, "work", settings, SECRET, **more)).id


async def secret_of(house: InMemory) -> str:
    """The client secret that logins would use now."""
    found = house.managed.directory.resolve("ann", OidcSpec(issuer="@work", client_id="", client_secret=""))
    assert isinstance(found, OidcSpec)
    return found.client_secret


async def test_a_list_without_providers_says_what_they_are_for(admin):
    page = text_of((await admin.get("/providers")).text)

    assert "Register your OpenID provider once" in page
    assert "tunnel http" not in page, "a command would name a provider that is not there"


async def test_a_provider_is_registered_and_says_how_to_use_it_and_what_to_register_there(house, admin):
    """Row 141."""
    answer = await admin.post("/providers/new", NEW)
    page = (await admin.get(answer.headers["location"])).text

    assert "tunnel http 80 --oidc=@work" in text_of(page)
    assert 'data-copy="https://idp.tun.example/oauth2/callback"' in page
    assert SECRET not in page
    assert "Leave empty to keep it" in page
    (view,) = await house.managed.services.providers.page(ADMIN)
    assert view.settings.scopes == ("profile", "email", "groups")
    assert view.settings.request_params == (("prompt", "login"),)
    assert await secret_of(house) == SECRET


async def test_mistakes_are_told_at_their_fields_and_nothing_typed_is_lost_but_the_secret(house, admin):
    """Row 141."""
    answer = await admin.post("/providers/new", NEW | {"issuer": "ftp://login", "name": "Not A Name"})
    params = await admin.post("/providers/new", NEW | {"request_params": "no-equals-sign"})

    assert (answer.status_code, params.status_code) == (400, 400)
    assert 'id="f-name-note"' in answer.text
    assert 'id="f-request_params-note"' in params.text
    assert '<details class="more" open>' in params.text
    for page in (answer.text, params.text):
        assert "Company accounts" in page
        assert SECRET not in page
    assert await house.managed.store.providers.all() == []


async def test_a_name_that_is_taken_is_told_at_the_name(house, admin):
    await made(house)

    answer = await admin.post("/providers/new", NEW)

    assert answer.status_code == 409
    assert "There is a provider @work already" in answer.text


async def test_a_secret_that_is_left_empty_is_kept_and_for_another_client_asked_again(house, admin):
    """Row 141."""
    where = f"/providers/{await made(house)}"

    kept = await admin.post(where, NEW | {"client_secret": "", "description": "Accounts"})
    other = await admin.post(where, NEW | {"client_secret": "", "issuer": "https://evil.example"})

    assert (kept.status_code, other.status_code) == (303, 400)
    assert 'id="f-client_secret-note"' in other.text
    assert await secret_of(house) == SECRET


async def test_a_form_that_is_older_than_the_provider_overwrites_nothing(house, admin):
    where = f"/providers/{await made(house)}"
    await admin.post(where, NEW | {"description": "First"})

    answer = await admin.post(where, NEW | {"description": "Second", "version": "1"})

    assert answer.status_code == 409
    (view,) = await house.managed.services.providers.page(ADMIN)
    assert view.row.description == "First"


@pytest.mark.parametrize("by_htmx", [True, False], ids=["htmx", "no script"])
async def test_a_connection_is_tried_out_without_saving_it(house, admin, by_htmx):
    """Row 141."""
    headers = {"Origin": admin.origin, "Sec-Fetch-Site": "same-origin", "X-CSRF-Token": await admin.token()}
    headers |= {"HX-Request": "true"} if by_htmx else {}

    answer = await admin.http.post("/providers/test", data=NEW, headers=headers)

    assert ("<html" in answer.text) != by_htmx
    assert "its discovery document came in 5 ms" in answer.text
    assert SECRET not in answer.text
    assert house.managed.provider.asked[0]["client_secret"] == SECRET
    assert await house.managed.store.providers.all() == []


async def test_the_secret_of_a_provider_is_tried_at_its_own_issuer_only(house, admin):
    """Row 141."""
    where = f"/providers/{await made(house)}/test"

    await admin.post(where, NEW | {"client_secret": "", "issuer": "https://evil.example"})
    await admin.post(where, NEW | {"client_secret": ""})

    sent = {asked["issuer"] for asked in house.managed.provider.asked if asked["client_secret"]}
    assert sent == {"https://login.acme.example"}


async def test_a_provider_that_an_edge_names_is_not_deleted_and_leads_to_the_edge(house, admin):
    provider = await made(house)
    edges = house.managed.services.edges
    edge = await edges.create(ADMIN, EdgeDraft(host="shop"))
    oidc = OidcSpec(issuer="@work", client_id="", client_secret="")
    await edges.set_policy(ADMIN, edge.id, lambda old: msgspec.structs.replace(old, policy=PolicySpec(oidc=oidc)))

    answer = await admin.post(f"/providers/{provider}/delete")

    assert answer.status_code == 409
    assert "Edges log in by @work: shop.tun.example." in text_of(answer.text)
    assert f'href="/edges/{edge.id}"' in answer.text
    await edges.delete(ADMIN, edge.id)
    assert (await admin.post(f"/providers/{provider}/delete")).headers["location"] == "/providers?flash=deleted"


async def test_a_member_sees_what_he_may_name_without_a_form_or_the_other_owners(house, admin):
    """Rows 138, 141."""
    provider = await made(house, owners=("ann", "bob"), description="Company accounts")
    async with house.signed_in(await house.user("ann", "ann")) as ann:
        page = (await ann.get(f"/providers/{provider}")).text
        texts = [(await ann.get("/providers")).text, page]

    assert "tunnel http 80 --oidc=@work" in text_of(page)
    for text in texts:
        assert "Company accounts" in text
        assert "bob" not in text
        assert "New provider" not in text
        assert 'name="issuer"' not in text


@pytest.mark.parametrize("path", ["", "/test", "/delete"])
async def test_a_member_changes_no_provider_and_one_he_may_not_name_does_not_exist(house, admin, path):
    """Row 138."""
    provider = await made(house, owners=("bob",))
    async with house.signed_in(await house.user("ann", "ann")) as ann:
        assert "@work" not in (await ann.get("/providers")).text
        seen, none = await ann.get(f"/providers/{provider}"), await ann.get("/providers/op_none")
        changed = await ann.post(f"/providers/{provider}{path}", NEW)
        unknown = await ann.post(f"/providers/op_none{path}", NEW)
        new = [await ann.get("/providers/new"), await ann.post("/providers/new", NEW | {"name": "mine"})]
        tried = await ann.post("/providers/test", NEW)

    assert (seen.status_code, none.status_code) == (404, 404)
    assert changed.status_code == unknown.status_code == 403
    assert [answer.status_code for answer in (*new, tried)] == [403, 403, 403]
    assert house.managed.provider.asked == []
    assert len(await house.managed.store.providers.all()) == 1


async def test_what_is_said_about_a_provider_is_text(house, admin):
    """Row 139."""
    provider = await made(house, description=HOSTILE)
    async with house.signed_in(await house.user("ann", "ann")) as ann:
        pages = [
            (await who.get(path)).text for who in (admin, ann) for path in ("/providers", f"/providers/{provider}")
        ]
    pages.append((await admin.post("/providers/new", NEW | {"issuer": HOSTILE, "name": HOSTILE})).text)

    for page in pages:
        read = Elements(page)
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
        assert not read.names & {"img", "iframe", "style"}
        assert not [name for name in read.attributes if name.startswith("on") or name == "style"]


async def test_a_form_that_is_sent_as_it_came_changes_nothing(house, admin):
    settings = ProviderSettings(
        issuer="https://login.acme.example",
        client_id="relay",
        scopes=("groups",),
        email_verified="text",
        request_params=(("prompt", "login"), ("x", "a=b")),
    )
    view = await house.managed.services.providers.create(ADMIN, "work", settings, SECRET)

    typed = provider_form.typed(Form(provider_form.shown(view).texts.items()))

    assert (typed.settings, typed.errors) == (settings, {})
