"""The first administrator's link, and `tunnelrelay admin`."""

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result

from tests.relay_cli.test_cli import running_relay
from tests.support.postgres import PostgresServer
from tests.support.processes import Child, python, run
from tests.support.world import world
from tunnelrelay.app.control_socket import ControlSocket, Done, Order, tell
from tunnelrelay.cli.main import cli
from tunnelrelay.store.base import Store
from tunnelrelay.store.resources import UserRow
from tunnelrelay.store.store import FILE_NAME, SqliteStore

LINK = re.compile(r"http://dashboard\.localhost:(\d+)/sign-in#code=(tc_[0-9A-Za-z]{43})")


def command(*args: str) -> Result:
    return CliRunner().invoke(cli, args, prog_name="tunnelrelay")


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUNNELRELAY_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def kept(data_dir: Path, kind: str = "") -> tuple[list[UserRow], list[str]]:
    """The users, and the events of this kind."""

    async def read() -> tuple[list[UserRow], list[str]]:
        store: Store = await SqliteStore.open(data_dir / FILE_NAME)
        try:
            rows = await store.audit(limit=100)
            return await store.users.all(), [row.kind for row in rows if row.kind.startswith(kind)]
        finally:
            await store.close()

    return asyncio.run(read())


# Real processes


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Child]]:
    """Starts relays on one data directory."""
    started: list[Child] = []

    def start(*more: str) -> Child:
        at = ("--http", "127.0.0.1:0", "--admin", "off", "--data-dir", str(tmp_path / "data"))
        started.append(python("relay", "tunnelrelay", "serve", *at, *more))
        return started[-1]

    yield start
    for child in started:
        child.kill()


def link_of(child: Child) -> tuple[int, str]:
    """Port and code of the link it prints."""
    found = LINK.search(child.wait_for(lambda line: "/sign-in#code=" in line))
    assert found, child.output
    return int(found[1]), found[2]


def sign_in(port: int, code: str) -> httpx.Response:
    host = f"dashboard.localhost:{port}"
    headers = {"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate"}
    return httpx.post(f"http://127.0.0.1:{port}/sign-in", data={"secret": code}, headers=headers, trust_env=False)


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_row143_a_new_relay_prints_a_link_that_makes_the_first_administrator_once(
    serve: Callable[..., Child], tmp_path: Path, log_format: str
) -> None:
    """Rows 143, 158."""
    relay = serve("--log-format", log_format, "--log-level", "debug")
    port, code = link_of(relay)

    assert sign_in(port, code).status_code == 303
    assert sign_in(port, code).status_code == 403

    relay.stop()
    assert relay.output.count(code) == 1
    assert relay.out == []
    assert code.encode() not in (tmp_path / "data" / FILE_NAME).read_bytes()
    ((user,), events) = kept(tmp_path / "data", "user.")
    assert (user.name, user.role, user.owner, events) == ("admin", "admin", "local", ["user.created"])
    again = serve()
    again.wait_for(lambda line: "relay ready" in line)
    again.stop()
    assert "/sign-in#code=" not in again.output


def test_row143_a_restart_prints_another_link_and_the_old_one_is_void(serve: Callable[..., Child]) -> None:
    """Row 143."""
    first = serve()
    _, old = link_of(first)
    first.stop()
    port, new = link_of(serve())

    assert sign_in(port, old).status_code == 403
    assert sign_in(port, new).status_code == 303


def test_a_public_relay_without_a_token_starts_and_says_how_to_make_one(serve: Callable[..., Child]) -> None:
    relay = serve("--public-url", "https://*.tun.example")

    relay.wait_for(lambda line: "no agent can connect yet" in line and "tunnelrelay token create" in line)
    relay.wait_for(lambda line: "relay ready" in line)


def test_two_relays_that_start_at_once_make_one_administrator(serve: Callable[..., Child], tmp_path: Path) -> None:
    relays = [serve(), serve()]
    links = [link_of(relay) for relay in relays]

    answers = [sign_in(port, code).status_code for port, code in links]

    assert answers.count(303) == 1
    assert [user.name for user in kept(tmp_path / "data")[0]] == ["admin"]


def test_a_command_beside_a_running_relay_prints_a_link_to_that_relay(
    serve: Callable[..., Child], tmp_path: Path
) -> None:
    port, _ = link_of(serve())

    made = run("tunnelrelay", "admin", "create", "--name", "ann", "--data-dir", str(tmp_path / "data"))

    found = LINK.fullmatch(made.out[0])
    assert found, made.output
    assert int(found[1]) == port
    assert sign_in(port, found[2]).status_code == 303


# The commands


def test_an_administrator_is_made_without_a_relay(data_dir: Path) -> None:
    made = command("admin", "create", "--name", "ann", "--email", "ann@acme.com", "--owner", "team")

    assert made.exit_code == 0, made.output
    assert re.fullmatch(r"http://dashboard\.localhost:8080/sign-in#code=tc_\w{43}\n", made.stdout)
    ((user,), events) = kept(data_dir)
    assert (user.name, user.owner, user.role, user.email) == ("ann", "team", "admin", "ann@acme.com")
    assert events == ["sign_in.invited", "user.created"]


def test_a_link_of_a_command_signs_in_at_a_relay_that_starts_later(data_dir: Path) -> None:
    code = command("admin", "create").stdout.partition("#code=")[2].strip()

    async def redeem() -> str:
        async with world(data_dir) as w:
            return (await w.relay.parts.services.sign_ins.redeem(code, peer="")).user.name

    assert asyncio.run(redeem()) == "admin"


def test_the_address_in_the_link_is_the_configured_one(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNNELRELAY_PUBLIC_URL", "https://*.tun.example")

    made = command("admin", "create")

    assert made.stdout.startswith("https://dashboard.tun.example/sign-in#code=tc_")
    assert kept(data_dir)[0][0].owner == "default"


def test_a_name_that_is_taken_needs_the_flag_for_a_new_link(data_dir: Path) -> None:
    first = command("admin", "create")
    taken = command("admin", "create")
    again = command("admin", "create", "--link")
    nobody = command("admin", "create", "--name", "eve", "--link")

    assert (taken.exit_code, taken.stdout) == (1, "")
    assert "--link" in taken.stderr
    assert again.exit_code == 0
    assert again.stdout != first.stdout
    assert (nobody.exit_code, nobody.stdout) == (1, "")
    assert len(kept(data_dir)[0]) == 1


@pytest.mark.parametrize("args", [("--name", ""), ("--owner", "no spaces"), ("--email", "nobody")])
def test_what_cannot_be_is_refused(data_dir: Path, args: tuple[str, ...]) -> None:
    assert command("admin", "create", *args).exit_code == 1
    assert kept(data_dir)[0] == []


def test_administrators_are_listed(data_dir: Path) -> None:
    assert command("admin", "list").exit_code == 1
    command("admin", "create", "--name", "ann")
    command("admin", "create", "--name", "bob")

    listed = json.loads(command("admin", "list", "--json").stdout)

    assert [(user["name"], user["role"], user["disabled_at"]) for user in listed] == [
        ("ann", "admin", None),
        ("bob", "admin", None),
    ]
    assert "ann" in command("admin", "list").stdout


def test_a_key_is_made_for_a_user_and_its_text_alone_is_printed(data_dir: Path) -> None:
    command("admin", "create", "--name", "ann")

    made = command("admin", "key", "--name", "ann", "--scope", "edges:write", "--expires", "30d")

    assert re.fullmatch(r"ta_[0-9A-Za-z]{43}\n", made.stdout)
    assert made.stdout.strip() not in made.stderr
    assert "api_key.created" in kept(data_dir)[1]


def test_a_key_as_json_says_what_it_may_do(data_dir: Path) -> None:
    command("admin", "create")

    made = json.loads(command("admin", "key", "--json").stdout)

    assert (made["user"], made["scopes"], made["expires_at"]) == ("admin", ["*"], None)


@pytest.mark.parametrize(
    ("args", "code"),
    [(("--name", "nobody"), 1), (("--scope", "everything"), 1), (("--expires", "soon"), 2)],
)
def test_a_key_that_cannot_be_is_not_made(data_dir: Path, args: tuple[str, ...], code: int) -> None:
    command("admin", "create")

    made = command("admin", "key", *args)

    assert made.exit_code == code
    assert made.stdout == ""
    assert "api_key.created" not in kept(data_dir)[1]


def test_as_json_the_link_is_a_member(data_dir: Path) -> None:
    made = json.loads(command("admin", "create", "--json").stdout)

    assert made["name"] == "admin"
    assert "/sign-in#code=tc_" in made["link"]


def test_a_relay_that_knows_no_dashboard_is_no_obstacle(data_dir: Path) -> None:
    command("admin", "create")
    with running_relay(data_dir) as told:
        made = command("admin", "create", "--name", "ann")
    assert made.exit_code == 0
    assert told == []


async def test_a_relay_says_where_its_dashboard_is(tmp_path: Path) -> None:
    async def nothing(_token: str = "") -> int:
        return 0

    about = Done(dashboard="https://dashboard.tun.example", owner="team")
    socket = ControlSocket(tmp_path, nothing, nothing, about)
    await socket.start()
    try:
        assert await asyncio.to_thread(tell, tmp_path, Order(asks=True)) == about
    finally:
        await socket.stop()


def test_an_administrator_is_made_in_a_postgresql_database(data_dir: Path, postgres: PostgresServer) -> None:
    url = asyncio.run(postgres.database())

    made = command("admin", "create", "--database", url)
    listed = json.loads(command("admin", "list", "--json", "--database", url).stdout)

    assert made.exit_code == 0, made.output
    assert [user["name"] for user in listed] == ["admin"]
    assert not (data_dir / FILE_NAME).exists()
