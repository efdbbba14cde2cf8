"""The whole schema, tried by schemathesis with a key of an administrator and one of a member: it must find nothing.

`make test` tries the edges of every value where something exists, CI and `make journeys` in every operation;
`API_EXAMPLES=1000` tries longer.
"""

import asyncio
import itertools
import os
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema
from schemathesis.generation import GenerationMode
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.api.asking import Program, through_ingress
from tests.api.office import Office, open_office
from tunnelrelay.ids import new_id
from tunnelrelay.store.resources import ApiKeyRow

FEW = 3
EXAMPLES = int(os.environ.get("API_EXAMPLES", FEW))
MEANT = frozenset({"invalid", "not_supported"})
"""Codes of what the schema allows and the words in it do not."""


@schemathesis.check
def nothing_that_the_schema_allows_is_malformed(_ctx: Any, response: Any, case: Any) -> None:
    """What is made by the schema may be refused for what it means, but never for its form."""
    is_good = case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE
    if is_good and response.status_code == 400:
        code = response.json()["type"].rpartition(":")[2]
        assert code in MEANT, response.text


@pytest.fixture
def office(tmp_path) -> Office:
    return asyncio.run(open_office(tmp_path))


@pytest.mark.timeout(0 if EXAMPLES > FEW else 1200)
@pytest.mark.parametrize(
    ("who", "is_thorough"),
    [("admin", False), ("member", False), pytest.param("admin", True, marks=pytest.mark.long)],
)
def test_schemathesis_finds_nothing(office, who, is_thorough):
    """Rows 140, 142, 146."""
    key = asyncio.run(office.key(who))

    failures = tried(office, key, {}, is_thorough=is_thorough)

    assert not failures, "\n\n".join(failures)


@pytest.mark.timeout(0 if EXAMPLES > FEW else 1200)
def test_schemathesis_finds_nothing_at_things_that_exist(office):
    """Rows 140, 142, 146."""
    key = asyncio.run(office.key("member"))
    ids = asyncio.run(set_up(office, key))

    failures = tried(office, key, ids)

    assert not failures, "\n\n".join(failures)


def tried(office: Office, key: str, ids: dict[str, dict[str, str]], *, is_thorough: bool = True) -> list[str]:
    """What schemathesis finds.

    Args:
        ids: Values of the parameters of paths; other paths, and whatever deletes, are left out when there are any.
        is_thorough: Try the edges of every value too, which takes the longest.
    """
    told: dict[str, Any] = {
        "headers": {"Authorization": f"Bearer {key}"},
        "generation": {"max-examples": EXAMPLES, "deterministic": True, "database": "none"},
        "continue-on-failure": True,
        "checks": {
            "positive_data_acceptance": {"expected-statuses": ["2xx", "400", "403", "404", "409", "413", "429"]},
            "negative_data_rejection": {"expected-statuses": ["400", "403", "404", "405", "409", "413", "415", "429"]},
        },
    }
    if not is_thorough and EXAMPLES == FEW:
        told["phases"] = {"coverage": {"enabled": False}}
    if ids:
        told["operations"] = [{"include-path": path, "parameters": values} for path, values in ids.items()]
    schema = schemathesis.openapi.from_asgi(
        "/openapi.json", kept_open(office, key), config=SchemathesisConfig.from_dict(told)
    )
    if ids:
        schema = schema.include(path=list(ids)).exclude(method="DELETE")
    return [failure for event in from_schema(schema).execute() for failure in failures_of(event)]


def kept_open(office: Office, key: str) -> ASGIApp:
    """The app: each request comes from an address of its own, and a key that one took away is back with another id.

    Schemathesis tries wrong keys too: after twenty of them the API would answer all requests of one address with 429,
    and how many depended on the speed of the machine. And it deletes the key that it uses: then all is 401.
    """
    numbers = itertools.count(1 << 24)
    kept: list[ApiKeyRow] = []

    async def called(scope: Scope, receive: Receive, send: Send) -> None:
        found = await office.services.api_keys.holder(key)
        if found is None:
            row = kept[-1]
            kept.append(replace(row, id=new_id("api_key", office.clock())))
            await office.store.api_keys.delete(row.id)
            await office.store.api_keys.add(kept[-1])
        elif not kept:
            kept.append(found[0])
        peer = str(ip_address(next(numbers)))
        await through_ingress(office.app, office.address, peer)(scope, receive, send)

    return called


def failures_of(event: Any) -> list[str]:
    """What an event of the engine complains about."""
    if isinstance(event, events.NonFatalError | events.FatalError):
        return [repr(event)]
    if not isinstance(event, events.ScenarioFinished):
        return []
    found = [check for checks in event.recorder.checks.values() for check in checks if check.failure_info is not None]
    return [f"{check.name}: {check.failure_info.failure} {check.failure_info.code_sample}" for check in found]


async def set_up(office: Office, key: str) -> dict[str, dict[str, str]]:
    """One thing of each kind. Returns the parameters of the paths that lead to them."""
    program = Program(office.app, key, address=office.address)

    async def made(path: str, **body: Any) -> str:
        answer = await program.ask("POST", path, body=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    group = await made("/backends/tunnel_group", labels={"app": "shop"})
    edge = await made("/edges/https", hostports=["shop.tun.example:443"])
    route = await made(f"/edges/https/{edge}/routes", match_type="path_prefix", match="/")
    one = {
        "/backends/tunnel_group/{id}": group,
        "/edges/https/{id}": edge,
        "/reserved_domains/{id}": await made("/reserved_domains", domain="kept"),
        "/reserved_addrs/{id}": await made("/reserved_addrs"),
        "/credentials/{id}": await made("/credentials"),
        "/api_keys/{id}": await made("/api_keys"),
        "/users/{id}": office.people["member"].id,
    }
    below = ("", "/oidc", "/backend", "/ip_restriction", "/request_headers", "/response_headers", "/jwt", "/basic_auth")
    routes = {f"/edges/https/{{edge_id}}/routes/{{id}}{name}": {"edge_id": edge, "id": route} for name in below}
    return {path: {"id": row} for path, row in one.items()} | routes
