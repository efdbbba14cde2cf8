"""Every operation of the schema, asked by everybody who must not have it. A new one is in here by itself."""

import time
from collections.abc import AsyncIterator, Iterator
from functools import cache
from typing import Any, NamedTuple

import pytest
import pytest_asyncio

from tests.api.asking import LOCAL
from tests.api.estate import ISSUER, OPERATOR, Estate, estate
from tests.api.office import api_routes
from tests.support.app_routes import sample_app
from tunnelrelay.services.actor import AREAS

pytestmark = pytest.mark.asyncio(loop_scope="module")

OIDC = {"issuer": ISSUER, "client_id": "c", "client_secret": "another"}

BODIES: dict[str, dict[str, Any]] = {
    "create_https_edge": {"description": "mine"},
    "update_https_edge": {"description": "mine"},
    "test_https_edge_oidc": OIDC,
    "create_https_edge_route": {"match_type": "path_prefix", "match": "/"},
    "update_https_edge_route": {"description": "mine"},
    "replace_https_edge_route_oidc": OIDC,
    "replace_https_edge_route_backend": {"enabled": False},
    "replace_https_edge_route_ip_restriction": {"allow": ["192.0.2.0/24"]},
    "replace_https_edge_route_rate_limit": {"limit": "10/s"},
    "replace_https_edge_route_request_headers": {"add": {"x-mine": "1"}},
    "replace_https_edge_route_response_headers": {"add": {"x-mine": "1"}},
    "replace_https_edge_route_jwt": {"issuers": [{"issuer": ISSUER, "audience": "mine"}]},
    "replace_https_edge_route_basic_auth": {"credentials": ["me:password-of-mine"]},
    "create_tunnel_group_backend": {"labels": {"mine": "1"}},
    "update_tunnel_group_backend": {"labels": {"mine": "1"}},
    "create_reserved_domain": {"domain": "mine"},
    "update_reserved_domain": {"description": "mine"},
    "create_reserved_addr": {"description": "mine"},
    "update_reserved_addr": {"description": "mine"},
    "create_credential": {"description": "mine"},
    "update_credential": {"description": "mine", "acl": []},
    "create_trust_rule": {"issuer": ISSUER, "claims": {"sub": "mine"}, "acl": ["bind:mine"]},
    "update_trust_rule": {"description": "mine"},
    "create_api_key": {"description": "mine"},
    "update_api_key": {"description": "mine"},
    "create_provider": {"name": "mine", "issuer": ISSUER, "client_id": "c"},
    "update_provider": {"description": "mine"},
    "create_user": {"name": "mine", "role": "admin"},
    "update_user": {"role": "admin"},
}
"""A good body for every operation that takes one."""


RULE = BODIES["create_trust_rule"]


class Operation(NamedTuple):
    """One of the schema's."""

    id: str
    method: str
    path: str
    scope: str
    has_body: bool

    @property
    def area(self) -> str:
        return self.scope.partition(":")[0]

    @property
    def body(self) -> dict[str, Any] | None:
        return BODIES[self.id] if self.has_body else None


@cache
def operations() -> tuple[Operation, ...]:
    return tuple(_operations())


def _operations() -> Iterator[Operation]:
    for path, methods in api_routes(LOCAL).state.schema["paths"].items():
        for method, told in methods.items():
            yield Operation(told["operationId"], method.upper(), path, told["x-scope"], "requestBody" in told)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(tmp_path_factory) -> AsyncIterator[Estate]:
    """One for all tests: what they try changes nothing of it."""
    with sample_app() as app:
        async with estate(tmp_path_factory.mktemp("estate"), app) as found:
            yield found


@pytest.fixture
def everything() -> tuple[Operation, ...]:
    return operations()


async def state_of(place: Estate) -> list[Any]:
    """Everything that its owner can see."""
    key = place.owners_key
    things = (
        "edges/https",
        "backends/tunnel_group",
        "reserved_domains",
        "reserved_addrs",
        "credentials",
        "tunnels",
        "trust_rules",
    )
    lists = (*things, "users", "providers", "api_keys", "app/sessions")
    answers = [await place.ask(key, "GET", f"/{name}") for name in lists]
    return [_still(answer.json()) for answer in answers]


def _still(told: Any) -> Any:
    """Without what moves by itself."""
    if isinstance(told, dict):
        return {name: _still(value) for name, value in told.items() if name not in {"last_used_at", "requests", "open"}}
    return [_still(each) for each in told] if isinstance(told, list) else told


async def test_nobody_without_a_good_key_is_told_anything(place, everything):
    """Rows 138, 145."""
    revoked = await place.key("admin")
    keys = place.w.relay.parts.services.api_keys
    await keys.delete(OPERATOR, (await keys.page(OPERATOR, limit=1))[0].id)
    users = place.w.relay.parts.services.users
    place.people["gone"] = await users.create(OPERATOR, "gone", "team", "admin")
    disabled = await place.key("gone")
    await users.update(OPERATOR, place.people["gone"].id, disabled=True)
    shown = {
        "none": "",
        "wrong": "ta_" + "A" * 43,
        "expired": await place.key("admin", expires_at=time.time() - 1),
        "revoked": revoked,
        "of a disabled user": disabled,
        "of an agent": place.made[0],
    }
    before = await state_of(place)

    answers = {
        (whose, operation.id): (await place.ask(key, operation.method, place.path(operation.path), operation.body))
        for whose, key in shown.items()
        for operation in everything
    }

    assert {asked: answer.status_code for asked, answer in answers.items() if answer.status_code != 401} == {}
    assert len({(whose, answer.json()["type"]) for (whose, _), answer in answers.items()}) == len(shown)
    assert await state_of(place) == before


async def test_a_key_may_do_what_its_scopes_say_and_no_more(place, everything):
    """Row 138."""
    reading = {area: await place.key("admin", [f"{area}:read"]) for area in AREAS}
    others = {area: await place.key("admin", [f"{each}:write" for each in AREAS if each != area]) for area in AREAS}
    wrong = {}
    for operation in everything:
        if operation.area not in AREAS:
            continue
        path = place.path(operation.path)
        tried = [others[operation.area]]
        if operation.scope.endswith(":write"):
            tried.append(reading[operation.area])
        for key in tried:
            answer = await place.ask(key, operation.method, path, operation.body)
            if (answer.status_code, answer.json().get("error_code")) != (403, "ERR_TUNNEL_SCOPE_MISSING"):
                wrong[operation.id] = answer.text

    assert wrong == {}


async def test_only_a_key_that_may_do_everything_signs_somebody_in(place):
    """Row 138."""
    nearly = await place.key("admin", [f"{area}:write" for area in AREAS])
    path = f"/users/{place.people['admin'].id}/invitations"

    refused = await place.ask(nearly, "POST", path)
    granted = await place.ask(await place.key("admin"), "POST", path)

    assert (refused.status_code, refused.json()["error_code"]) == (403, "ERR_TUNNEL_SCOPE_MISSING")
    assert granted.json()["url"].startswith(f"http://dashboard.localhost:{place.w.port}/sign-in#code=")


async def test_a_key_makes_no_key_that_may_do_more_than_itself(place):
    """Rows 138, 142."""
    narrow = await place.key("admin", ["credentials:write"])

    wide = await place.ask(narrow, "POST", "/api_keys", {"scopes": ["*"]})
    other = await place.ask(narrow, "POST", "/api_keys", {"scopes": ["edges:read"]})
    same = await place.ask(narrow, "POST", "/api_keys", {"scopes": ["credentials:read"]})
    me = await place.ask(same.json()["token"], "GET", "/me")

    assert (wide.status_code, other.status_code, same.status_code) == (400, 400, 201)
    assert (me.status_code, me.json()["scopes"]) == (200, ["credentials:read"])


async def test_reading_scopes_are_enough_to_read(place, everything):
    keys = {area: await place.key("admin", [f"{area}:read"]) for area in AREAS}
    wrong = {}
    for operation in everything:
        if operation.method != "GET" or operation.area not in AREAS:
            continue
        answer = await place.ask(keys[operation.area], "GET", place.path(operation.path))
        if answer.status_code != 200:
            wrong[operation.id] = answer.text

    assert wrong == {}


async def test_what_is_anothers_is_as_unknown_as_what_is_not_there(place, everything):
    """Row 138."""
    before = await state_of(place)
    key = await place.key("stranger")
    wrong = {}
    for operation in everything:
        if "{" not in operation.path:
            continue
        theirs, none = [
            await place.ask(key, operation.method, place.path(operation.path, unknown=unknown), operation.body)
            for unknown in (False, True)
        ]
        is_refused = theirs.status_code == 404 or theirs.json().get("error_code") == "ERR_TUNNEL_ADMIN_ONLY"
        if not is_refused or _said(theirs) != _said(none):
            wrong[operation.id] = (theirs.status_code, theirs.text, none.text)

    assert wrong == {}
    assert await state_of(place) == before
    assert all(tunnel.outcome is None for tunnel in place.tunnels)


def _said(answer: Any) -> dict[str, Any]:
    """An answer without the id of its request."""
    told: dict[str, Any] = answer.json()
    return {name: value for name, value in told.items() if name not in {"instance", "details"}}


async def test_no_list_shows_what_is_anothers(place, everything):
    """Row 138."""
    key = await place.key("stranger")
    theirs = {id for values in place.ids.values() for id in values.values()} | {"shop.localhost", "alice@acme.example"}
    wrong = {}
    for operation in everything:
        if operation.method != "GET" or "{" in operation.path:
            continue
        answer = await place.ask(key, "GET", operation.path)
        if answer.status_code != 200 or any(id in answer.text for id in theirs):
            wrong[operation.id] = answer.text

    assert wrong == {}


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("POST", "/edges/https", {"owner": "team"}, "ADMIN_ONLY"),
        ("POST", "/backends/tunnel_group", {"labels": {"a": "b"}, "owner": "team"}, "ADMIN_ONLY"),
        ("POST", "/reserved_domains", {"domain": "mine", "owner": "team"}, "ADMIN_ONLY"),
        ("POST", "/credentials", {"owner": "team"}, "ADMIN_ONLY"),
        ("POST", "/trust_rules", RULE, "ADMIN_ONLY"),
        ("POST", "/trust_rules", {**RULE, "owner": "other"}, "ADMIN_ONLY"),
        ("POST", "/credentials", {"owner_id": "{member}"}, "NOT_FOUND"),
        ("POST", "/api_keys", {"owner_id": "{member}"}, "ADMIN_ONLY"),
        ("POST", "/users", {"name": "me-too", "role": "admin"}, "ADMIN_ONLY"),
        ("PATCH", "/users/{stranger}", {"role": "admin"}, "ADMIN_ONLY"),
        ("PATCH", "/users/{stranger}", {"owner": "team"}, "ADMIN_ONLY"),
        ("POST", "/edges/https", {"hostports": ["shop.localhost"]}, "DOMAIN_TAKEN"),
        ("POST", "/edges/https", {"hostports": ["kept.localhost"]}, "DOMAIN_TAKEN"),
        ("POST", "/reserved_domains", {"domain": "kept"}, "DOMAIN_TAKEN"),
        ("POST", "/reserved_addrs", {"addr": "20001"}, "DOMAIN_TAKEN"),
    ],
)
async def test_a_member_takes_nothing_and_becomes_nobody_else(place, method, path, body, code):
    """Rows 138, 142."""
    names = {name: user.id for name, user in place.people.items()}
    told = {name: value.format(**names) if isinstance(value, str) else value for name, value in body.items()}

    answer = await place.ask(await place.key("stranger"), method, path.format(**names), told)

    assert answer.json()["error_code"] == f"ERR_TUNNEL_{code}"


async def test_an_edge_is_not_served_by_anothers_tunnels_or_provider(place):
    """Row 138."""
    key = await place.key("stranger")
    edge = (await place.ask(key, "POST", "/edges/https", {})).json()["id"]
    route = (await place.ask(key, "POST", f"/edges/https/{edge}/routes", BODIES["create_https_edge_route"])).json()[
        "id"
    ]
    path = f"/edges/https/{edge}/routes/{route}"
    group = place.ids["/backends/tunnel_group/{id}"]["id"]

    served = await place.ask(key, "PUT", f"{path}/backend", {"backend_id": group})
    signed_in = await place.ask(key, "PUT", f"{path}/oidc", {"issuer": "@work"})
    mixed = await place.ask(
        key, "GET", f"/edges/https/{edge}/routes/{place.ids['/edges/https/{edge_id}/routes/{id}']['id']}"
    )

    assert (served.status_code, signed_in.status_code, mixed.status_code) == (400, 400, 404)
    assert "backend_id" in served.json()["details"]
    assert (await place.ask(key, "GET", path)).json()["oidc"] is None


async def test_no_answer_shows_a_secret(place, everything):
    """Row 141."""
    key = await place.key("admin")
    secrets = ("client-secret-of-the-estate", "password-of-the-estate", *place.made)
    wrong = {}
    for operation in everything:
        if operation.method == "GET":
            answer = await place.ask(key, "GET", place.path(operation.path))
            if answer.status_code != 200 or any(secret in answer.text for secret in secrets):
                wrong[operation.id] = answer.text

    assert wrong == {}


async def test_what_is_not_in_the_schema_is_refused_wherever_it_stands(place, everything):
    """Row 142."""
    key = await place.key("admin")
    wrong = {}
    for operation in everything:
        if operation.has_body:
            body = {**BODIES[operation.id], "is_admin": True, "verified": True, "owner_of": "team", "id": "usr_1"}
            answer = await place.ask(key, operation.method, place.path(operation.path), body)
            if (answer.status_code, answer.json()["error_code"]) != (400, "ERR_TUNNEL_REQUEST_INVALID"):
                wrong[operation.id] = answer.text
        elif operation.method == "GET" and "{" not in operation.path and operation.path != "/me":
            answer = await place.ask(key, "GET", f"{operation.path}?filter=obj.id%3D%3D1")
            if answer.status_code != 400:
                wrong[operation.id] = answer.text

    assert wrong == {}


async def test_every_body_of_the_schema_is_tried(everything):
    assert {operation.id for operation in everything if operation.has_body} == set(BODIES)
