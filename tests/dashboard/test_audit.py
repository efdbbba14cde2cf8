"""The audit log in the dashboard: who did what, before and after; by whose it is; and as a file that runs nothing."""

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dashboard.test_edges import HOSTILE, Elements, text_of
from tests.dashboard.test_logins import session
from tests.support.dashboard import InMemory
from tests.support.managed import ADMIN
from tunnelrelay.dashboard.views import audit, audit_event
from tunnelrelay.dashboard.views.event_names import NAMES as EVENT_NAMES
from tunnelrelay.observe.audit import KINDS
from tunnelrelay.store.base import AuditRow


async def happened(house: InMemory, **more: object) -> None:
    """An event that is kept already."""
    row: dict[str, object] = {"at": house.managed.clock(), "kind": "domain.updated", "host": "red.tun.example"}
    await house.managed.store.add_audit([AuditRow(**(row | more))])


async def test_a_log_without_events_says_what_would_be_there(admin):
    assert "Nothing has happened yet" in (await admin.get("/audit")).text


async def test_an_event_says_who_did_it_and_what_it_said_before_and_says_now(house, admin):
    root = (await house.managed.store.users.all())[0]
    details = {"id": "tok_1", "before": '{"acl":["bind:a"]}', "after": '{"acl":["bind:a","bind:b"],"expires_at":0.5}'}
    await happened(house, kind="token.updated", host="", actor=root.id, details=json.dumps(details))

    page = (await admin.get("/audit")).text

    assert f'href="/users/{root.id}"' in page
    assert "token.updated" in page
    assert "tok_1" in page
    assert "<del><bdi>bind:a</bdi></del>" in page
    assert "<ins><bdi>bind:a, bind:b</bdi></ins>" in page
    assert "1970-01-01 00:00 UTC" in page


async def test_events_are_found_by_kind_host_and_time_and_nonsense_finds_all(house, admin):
    await happened(house, at=house.managed.clock() - 90_000, request_id="long-ago")
    await happened(house, kind="edge.created", host="blue.tun.example", request_id="of-blue")

    async def found(query: str) -> set[str]:
        page = (await admin.get(f"/audit?{query}")).text
        return {name for name in ("long-ago", "of-blue") if name in page}

    assert await found("kind=edge.created") == {"of-blue"}
    assert await found("host=RED.tun.example") == {"long-ago"}
    assert await found("since=1d") == {"of-blue"}
    assert await found("kind=nonsense&since=nonsense") == {"long-ago", "of-blue"}
    assert await found("host=nowhere") == set()
    assert await found("host=%25&kind=edge.%25") == set()


@pytest.mark.parametrize("before", ["x", "-1", "9" * 18, "9" * 40, "1e3", "1;drop table audit", "%00"])
async def test_a_page_that_cannot_be_is_no_error(house, admin, before):
    """Row 140."""
    await happened(house)

    assert (await admin.get(f"/audit?before={before}")).status_code == 200


async def test_a_long_log_has_pages_the_newest_first(house, admin):
    for number in range(60):
        await happened(house, request_id=f"r{number:03}")

    first = await admin.get("/audit?kind=domain.updated")
    where = first.text.split('rel="next"')[0].rpartition('href="')[2].partition('"')[0].replace("&amp;", "&")
    second = await admin.get(where)

    assert first.text.index("r059") < first.text.index("r010")
    assert "r009" not in first.text
    assert "r009" in second.text
    assert "kind=domain.updated" in where


async def test_a_member_sees_and_exports_what_is_his_owners_only(house, admin):
    """Row 138."""
    await happened(house, owner="ann", request_id="of-ann")
    await happened(house, owner="bob", request_id="of-bob", host="blue.tun.example")
    paths = ("/audit", "/audit?host=blue.tun.example", "/audit/export.csv", "/audit/export.csv?host=blue.tun.example")
    async with house.signed_in(await house.user("ann", "ann")) as ann:
        texts = [(await ann.get(path)).text for path in paths]

    assert ["of-ann" in text for text in texts] == [True, False, True, False]
    assert not any("of-bob" in text for text in texts)


async def test_the_file_has_what_the_page_has(house, admin):
    root = (await house.managed.store.users.all())[0]
    details = json.dumps({"before": '{"description":"a"}', "after": '{"description":"b"}'})
    await happened(house, actor=root.id, details=details)
    await happened(house, kind="edge.created")

    answer = await admin.get("/audit/export.csv?kind=domain.updated")
    header, row = csv.reader(io.StringIO(answer.text))

    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"].startswith("attachment")
    said = dict(zip(header, row, strict=True))
    assert (said["event"], said["actor"], said["host"]) == ("domain.updated", root.name, "red.tun.example")
    assert json.loads(said["details"]) == {"description": "a -> b"}


@given(st.lists(st.lists(st.text(st.characters(codec="utf-8")), min_size=1), min_size=1))
def test_no_cell_of_a_file_is_a_formula_and_none_is_lost(rows):
    """Row 139."""
    read = list(csv.reader(io.StringIO(audit.table(rows), newline="")))

    assert [len(row) for row in read] == [len(row) for row in rows]
    for row, was in zip(read, rows, strict=True):
        for cell, text in zip(row, was, strict=True):
            assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
            assert cell.removeprefix("'") == text or cell == text


LEAVES = st.none() | st.booleans() | st.floats() | st.integers() | st.text()
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["before", "after", "expires_at", "name", "id"]) | st.text()
DETAILS = st.dictionaries(NAMES, VALUES | VALUES.map(json.dumps), max_size=5)


@given(st.text() | DETAILS.map(json.dumps))
def test_whatever_the_details_are_they_are_shown_as_texts(details):
    event = audit_event.shown(AuditRow(at=0.0, kind="x", details=details), {}, {})

    changed = [text for change in event.changes for text in (change.name, change.before, change.after)]
    assert all(isinstance(text, str) for text in (event.about, *changed, *audit_event.row_of(event)))


FILLED = VALUES.filter(lambda value: value not in (None, "", [], {}))


@given(st.dictionaries(st.text(min_size=1, max_size=5), FILLED, max_size=5))
def test_no_value_is_left_out_that_says_something(values):
    kept = {name: value for name, value in values.items() if name not in {"before", "after"}}

    plain = audit_event.shown(AuditRow(at=0.0, kind="x", details=json.dumps(kept)), {}, {})
    edited = audit_event.shown(AuditRow(at=0.0, kind="x", details=json.dumps({"after": json.dumps(values)})), {}, {})

    assert {name for name, text in plain.details if text} == set(kept)
    assert {change.name for change in edited.changes if change.after} == set(values)


@pytest.mark.parametrize("value", [{"name": "red"}, {"a": {"b": []}}, {"": None}])
def test_an_object_is_shown_as_json(value):
    event = audit_event.shown(AuditRow(at=0.0, kind="x", details=json.dumps({"rule": value})), {}, {})

    assert event.details == (("rule", json.dumps(value)),)


async def test_what_visitors_providers_and_owners_say_is_text(house, admin):
    """Row 139."""
    details = json.dumps({HOSTILE: HOSTILE, "after": json.dumps({HOSTILE: HOSTILE})})
    await happened(house, reason=HOSTILE, host=HOSTILE, owner=HOSTILE, peer=HOSTILE, details=details)

    page = (await admin.get("/audit")).text

    read = Elements(page)
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 6
    assert not read.names & {"img", "iframe", "style"}
    assert not [name for name in read.attributes if name.startswith("on") or name == "style"]


def test_every_kind_of_event_has_a_name_for_people_of_its_own():
    assert EVENT_NAMES.keys() == KINDS.keys()
    assert len(set(EVENT_NAMES.values())) == len(EVENT_NAMES)
    assert not [name for name in EVENT_NAMES.values() if "." in name or "_" in name]


async def test_the_list_calls_events_by_name_and_keeps_the_kind_at_hand(house, admin):
    await happened(house, kind="login.ok", host="red.tun.example")
    page = (await admin.get("/audit")).text
    assert '<span class="what" title="login.ok">Signed in' in page
    assert '<option value="login.ok">Signed in</option>' in page


async def signed_in_somewhere(house: InMemory, host: str, owner: str, who: str, email: str | None = None) -> str:
    """A visitor who is signed in at a host of this owner's, with the events of that. Returns their digest."""
    row = session(host, who, now=house.managed.clock(), email=email)
    await house.managed.store.save_session(row)
    digest = house.managed.base.audit.person(row.issuer, row.subject)
    await happened(house, kind="login.ok", host=host, owner=owner, subject=digest, peer="198.51.100.7")
    return digest


async def test_a_login_says_who_it_was_as_long_as_they_are_signed_in(house, admin):
    await house.managed.services.domains.create(ADMIN, "red.tun.example", owner="ann")
    digest = await signed_in_somewhere(house, "red.tun.example", "ann", "alice")
    assert "alice@acme.example" in text_of((await admin.get("/audit?kind=login.ok")).text)

    house.managed.clock.now += 7200
    later = text_of((await admin.get("/audit?kind=login.ok")).text)

    assert "alice@acme.example" not in later
    assert f"visitor {digest[:8]}" in later


async def test_a_person_without_an_address_is_called_by_their_subject(house, admin):
    await house.managed.services.domains.create(ADMIN, "red.tun.example", owner="ann")
    await signed_in_somewhere(house, "red.tun.example", "ann", "auth0|5f7c", email="")

    assert "auth0|5f7c" in text_of((await admin.get("/audit")).text)


async def test_a_member_reads_no_name_of_a_visitor_of_another_owner(house, admin):
    """Row 138: the event is ann's, of when the host was hers; who is signed in there now is bob's to know."""
    await house.managed.services.domains.create(ADMIN, "red.tun.example", owner="bob")
    digest = await signed_in_somewhere(house, "red.tun.example", "ann", "alice")
    async with house.signed_in(await house.user("ann", "ann")) as ann:
        page = text_of((await ann.get("/audit")).text)

    assert "alice" not in page
    assert f"visitor {digest[:8]}" in page
