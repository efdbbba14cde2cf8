"""Tries the API's whole schema with schemathesis, and prints what it finds; `test_schemathesis.py` says how much.

    python -m tests.api.try_schema admin member made

A process of its own: schemathesis takes half a gigabyte, and more CPU to import than many tests take to run.
"""

import asyncio
import itertools
import sys
import tempfile
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema
from schemathesis.generation import GenerationMode
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.api.asking import Program, through_ingress
from tests.api.office import Office, open_office
from tests.api.schema_examples import EXAMPLES, FEW
from tunnelctl.policy.modules import MODULES
from tunnelrelay.ids import new_id
from tunnelrelay.store.resources import ApiKeyRow

MEANT = frozenset({"invalid", "not_supported"})
"""Codes of what the schema allows and the words in it do not."""


@schemathesis.check
def nothing_that_the_schema_allows_is_malformed(_ctx: Any, response: Any, case: Any) -> None:
    """What is made by the schema may be refused for what it means, but never for its form."""
    is_good = case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE
    if is_good and response.status_code == 400:
        code = response.json()["type"].rpartition(":")[2]
        assert code in MEANT, response.text


@dataclass(frozen=True, slots=True)
class Trial:
    """One way to try the schema.

    Attributes:
        who: Whose key is used.
        has_edges: Try the edges of every value too, which takes the longest.
        is_made: Try what leads to one thing of each kind that is there, and delete nothing.
    """

    who: str
    has_edges: bool = False
    is_made: bool = False


TRIALS = {
    "admin": Trial("admin"),
    "member": Trial("member"),
    "made": Trial("member", is_made=True),
    "admin-edges": Trial("admin", has_edges=True),
    "made-edges": Trial("member", has_edges=True, is_made=True),
}


def main() -> int:
    """Do the trials that the arguments name, print each failure. Returns the exit code: 1 where there was one."""
    failures = [f"{name}: {failure}" for name in sys.argv[1:] for failure in failures_in(TRIALS[name])]
    print("\n\n".join(failures))
    return 1 if failures else 0


def failures_in(trial: Trial) -> list[str]:
    """What schemathesis finds, at a relay of its own."""
    with tempfile.TemporaryDirectory() as folder:
        office = asyncio.run(open_office(Path(folder)))
        key = asyncio.run(office.key(trial.who))
        ids = asyncio.run(set_up(office, key)) if trial.is_made else {}
        return tried(office, key, ids, has_edges=trial.has_edges)


def tried(office: Office, key: str, ids: dict[str, dict[str, str]], *, has_edges: bool) -> list[str]:
    """What schemathesis finds.

    Args:
        ids: Values of the parameters of paths; other paths, and whatever deletes, are left out when there are any.
        has_edges: See `Trial`.
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
    if not has_edges and EXAMPLES == FEW:
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
    below = ("", "/oidc", "/backend", *(f"/{module}" for module in MODULES if module != "oidc"))
    routes = {f"/edges/https/{{edge_id}}/routes/{{id}}{name}": {"edge_id": edge, "id": route} for name in below}
    return {path: {"id": row} for path, row in one.items()} | routes


if __name__ == "__main__":
    sys.exit(main())
