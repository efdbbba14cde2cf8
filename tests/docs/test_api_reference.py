"""The API's reference is made from its schema, and its examples work.

`python -m tests.docs.api_reference --write` brings the tables in docs/reference/api.md up to date.
"""

import asyncio
import re
from pathlib import Path

from tests.api.office import OPERATOR
from tests.docs.api_reference import BEGIN, END, PAGE, TITLES, document, page_of
from tests.support.processes import Child
from tests.support.tools import require_tool
from tests.support.world import World, world


def test_the_tables_are_the_schemas():
    written = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]

    assert written.strip() == page_of(document()).strip()


def test_every_resource_has_a_chapter():
    tags = {tag for methods in document()["paths"].values() for told in methods.values() for tag in told["tags"]}

    assert tags == set(TITLES)


def test_every_request_says_what_it_is_for():
    schema = document()
    silent = [
        told["operationId"]
        for methods in schema["paths"].values()
        for told in methods.values()
        if not told["description"]
    ]

    assert silent == []


async def test_the_examples_of_the_page_work(tmp_path):
    require_tool("curl", "curl")
    require_tool("jq", "jq")
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    script = "set -euo pipefail\n" + "\n".join(blocks)
    async with world(tmp_path / "data", multi_tenant=True) as w:
        child = await asyncio.to_thread(_run, script, w, await _key(w), tmp_path)

    assert child.returncode == 0, child.output
    assert any(line.startswith("tt_") for line in child.out)


def _run(script: str, w: World, key: str, folder: Path) -> Child:
    env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(folder), "KEY": key}
    child = Child("examples", ["bash", "-c", script], env={**env, "API": f"http://127.0.0.1:{w.port}/_tunnel/api"})
    child.wait()
    return child


async def _key(w: World) -> str:
    services = w.relay.parts.services
    user = await services.users.create(OPERATOR, "ann", "team")
    return (await services.api_keys.create(OPERATOR, user_id=user.id))[1]
