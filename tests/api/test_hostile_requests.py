"""Requests that try to make the API, the store or its framework read something else than what stands there."""

from collections.abc import AsyncIterator
from urllib.parse import quote

import pytest

from tests.api.asking import Program
from tests.api.office import OPERATOR, Office, open_office
from tests.support.every import every
from tests.support.raw_http import fetch
from tests.support.world import World, world

META = ["'", '"', "';DROP TABLE edges;--", "' OR '1'='1", "%", "_", "%%", "a%' ESCAPE '", "\\", "$.owner", "0x00", "*"]
"""What means something to SQL, to LIKE, to JSON paths or to a shell."""


@pytest.fixture
async def office(tmp_path) -> Office:
    return await open_office(tmp_path)


@pytest.fixture
async def ann(office) -> Program:
    return await office.program("member")


@pytest.fixture
async def w(tmp_path) -> AsyncIterator[World]:
    async with world(tmp_path, multi_tenant=True) as running:
        yield running


async def key_in(w: World) -> str:
    services = w.relay.parts.services
    user = await services.users.create(OPERATOR, "ann", "team")
    return (await services.api_keys.create(OPERATOR, user_id=user.id))[1]


@pytest.mark.parametrize("text", META)
async def test_a_filter_is_a_value_and_never_a_pattern(office, ann, text):
    """Row 140."""
    await office.services.domains.create(OPERATOR, "shop", owner="team")
    asked = [
        ("/app/sessions", {"email": text}),
        ("/app/sessions", {"host": text}),
        ("/audit", {"host": text}),
        ("/audit", {"kind": text}),
        ("/audit", {"owner": text}),
        ("/traffic", {"host": text}),
        *((f"/{name}", {"before_id": text}) for name in ("edges/https", "reserved_domains", "credentials", "users")),
    ]

    answers = [await ann.ask("GET", path, params=params) for path, params in asked]

    assert {answer.status_code for answer in answers} <= {200, 400}
    assert all("shop" not in answer.text for answer in answers)


@every("text", [*META, "a" * 65, "1e9", "..", "%2e%2e", "%00", "é", "9" * 400, "-1", "None"])
async def test_an_id_that_cannot_be_one_is_nobodys(ann, text):
    """Rows 138, 140."""
    for path in ("edges/https", "credentials", "tunnels", "app/sessions", "users", "providers"):
        answer = await ann.ask("GET", f"/{path}/{quote(text, safe='')}")

        assert answer.status_code in {400, 404}
        assert text not in answer.text or text in {"_", "'", '"', "%", "*"}


@every(
    "query",
    [
        "limit=0",
        "limit=101",
        "limit=-1",
        "limit=1e2",
        "limit=1_0",
        "limit=%201",
        "limit=٣",
        "limit=" + "9" * 500,
        "limit=1&limit=2",
        "limit=1&%6cimit=2",
        "before_id=",
        "before_id=%00",
        "before_id[]=x",
        "order=owner",
        "sort=-created_at;select",
        "filter=obj.owner%3D%3D%22team%22",
        "owner=team",
    ],
)
async def test_a_list_takes_what_the_schema_says_and_ignores_nothing(ann, query):
    """Row 140."""
    answer = await ann.ask("GET", f"/credentials?{query}")

    assert answer.status_code == 400
    assert answer.json()["error_code"] == "ERR_TUNNEL_REQUEST_INVALID"


async def test_a_page_goes_on_behind_an_id_that_is_gone(office, ann):
    made = []
    for _ in range(4):
        made.append((await ann.ask("POST", "/credentials", {})).json()["id"])
        office.clock.now += 1
    await ann.ask("DELETE", f"/credentials/{made[2]}")

    first = (await ann.ask("GET", "/credentials?limit=1")).json()
    later = (await ann.ask("GET", f"/credentials?before_id={made[2]}")).json()

    assert [row["id"] for row in first["credentials"]] == [made[3]]
    assert [row["id"] for row in later["credentials"]] == [made[1], made[0]]
    assert later["next_page_uri"] is None


async def test_a_next_page_keeps_the_filters(office):
    admin = await office.program("admin")
    for _ in range(3):
        await admin.ask("POST", "/credentials", {})
    await office.parts.audit_keeper.flush()

    page = (await admin.ask("GET", "/audit?kind=token.created&limit=2")).json()
    rest = (await admin.ask("GET", page["next_page_uri"])).json()

    assert [event["kind"] for event in (*page["audit_events"], *rest["audit_events"])] == ["token.created"] * 3
    assert page["next_page_uri"].startswith("https://api.tun.example/audit?limit=2&kind=token.created&before_id=")
    assert rest["next_page_uri"] is None


@pytest.mark.parametrize(
    "headers",
    [
        {"Range": "bytes=0-0," + ",".join(f"{n}-{n}" for n in range(500))},
        {"Accept": "text/html,*/*;q=0.1"},
        {"Accept-Encoding": "gzip"},
        {"If-None-Match": "*"},
        {"X-HTTP-Method-Override": "DELETE"},
        {"Content-Type": "multipart/form-data; boundary=" + "a" * 2000},
    ],
)
async def test_fields_of_no_concern_change_no_answer(ann, headers):
    """Row 146."""
    plain, other = await ann.ask("GET", "/me"), await ann.ask("GET", "/me", headers=headers)

    assert other.status_code == 200
    assert (other.content, other.headers) == (plain.content, plain.headers)


async def test_no_address_is_made_of_what_a_request_says_about_its_host(w):
    """Row 146."""
    key = await key_in(w)
    fields = [
        ("Authorization", f"Bearer {key}"),
        ("X-Forwarded-Host", "evil.test"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Prefix", "/evil"),
        ("Forwarded", "host=evil.test;proto=https"),
        ("X-Original-URL", "/users"),
        ("X-Rewrite-URL", "/users"),
    ]

    named = await fetch(w.port, "GET", "/me", host=f"api.localhost:{w.port}", fields=fields)
    local = await fetch(w.port, "GET", "/_tunnel/api/me", host=f"LOCALHOST:{w.port}", fields=fields)
    schema = await fetch(w.port, "GET", "/openapi.json", host=f"api.localhost:{w.port}", fields=fields[1:])

    assert [answer.status for answer in (named, local, schema)] == [200, 200, 200]
    assert b"evil" not in named.body + local.body + schema.body
    assert f"http://api.localhost:{w.port}/users/usr_".encode() in named.body
    assert f"http://127.0.0.1:{w.port}/_tunnel/api/users/usr_".encode() in local.body
    assert f'{{"url":"http://api.localhost:{w.port}"}}'.encode() in schema.body


@pytest.mark.parametrize("host", ["evil.test", "demo.localhost", "dashboard.localhost", "idp.localhost", "[::2]"])
async def test_the_api_is_at_its_own_host_and_nowhere_else(w, host):
    """Rows 137, 146."""
    fields = [("Authorization", f"Bearer {await key_in(w)}")]

    bare = await fetch(w.port, "GET", "/me", host=f"{host}:{w.port}", fields=fields)
    prefixed = await fetch(w.port, "GET", "/_tunnel/api/me", host=f"{host}:{w.port}", fields=fields)

    assert all(answer.status in {303, 400, 401, 404} for answer in (bare, prefixed))
    assert b"usr_" not in bare.body + prefixed.body


async def test_a_key_that_was_deleted_is_not_good_at_the_next_request(w):
    """Row 145."""
    key = await key_in(w)
    fields = [("Authorization", f"Bearer {key}")]
    services = w.relay.parts.services
    assert (await fetch(w.port, "GET", "/_tunnel/api/me", host="localhost", fields=fields)).status == 200

    await services.api_keys.delete(OPERATOR, (await services.api_keys.page(OPERATOR))[0].id)

    assert (await fetch(w.port, "GET", "/_tunnel/api/me", host="localhost", fields=fields)).status == 401
