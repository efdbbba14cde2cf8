"""What apps on real servers believe about a visitor: only what the relay says, however a visitor spells a field.

CGI, WSGI and Rack make a variable of each field name, and many names become one variable. Each server is the real one.
"""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.support.app_servers import SERVERS, app_server, seen_by_app
from tests.support.issuer import Issuer, issuer
from tests.support.raw_http import connect, request_bytes
from tests.support.spellings import believed_names, spellings
from tests.support.world import WorldTunnel, world
from tunnelctl.http1.fields import loose_name
from tunnelctl.wire.messages import JwtSpec, PolicySpec

pytestmark = pytest.mark.asyncio(loop_scope="module")

FORGED = "boss@forged.example"
SUBJECT = "repo:acme/app:ref:refs/heads/main"
AUDIENCE = "https://demo.example"
OURS = [
    "X-Tunnel-User",
    "X-Tunnel-Email",
    "X-Tunnel-Groups",
    "X-Tunnel-Assertion",
    "X-Forwarded-For",
    "Ngrok-Auth-User-Id",
]
MANY = 60
"""Forged fields in one request; the relay takes a hundred fields."""


@pytest.fixture(scope="module")
def ci() -> Iterator[Issuer]:
    with issuer() as running:
        yield running


@pytest.fixture(scope="module", params=SERVERS)
def port(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """An app on each of the servers."""
    with app_server(request.param, tmp_path_factory.mktemp("app")) as port:
        yield port


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tunnel(tmp_path_factory: pytest.TempPathFactory, port: int, ci: Issuer) -> AsyncIterator[WorldTunnel]:
    """The app behind a relay that lets programs in by a token."""
    policy = PolicySpec(jwt=(JwtSpec(issuer=ci.url, audience=AUDIENCE),))
    async with world(tmp_path_factory.mktemp("data")) as w:
        yield await w.tunnel(port, subdomain="demo", policy=policy)


async def seen(tunnel: WorldTunnel, ci: Issuer, fields: list[tuple[str, str]], *, trailers: str = "") -> dict[str, str]:
    """What the app was told, by the names its server gives the fields, `HTTP_` left out, in the loosest spelling."""
    fields = [("Authorization", f"Bearer {ci.token(AUDIENCE)}"), ("X-Custom", "arrives"), *fields]
    data = request_bytes("GET", "/", host=tunnel.host, fields=fields)
    if trailers:
        coded = [*fields, ("Transfer-Encoding", "chunked")]
        data = request_bytes("POST", "/", host=tunnel.host, fields=coded) + f"2\r\nhi\r\n0\r\n{trailers}\r\n".encode()
    async with connect(tunnel.world.port) as visitor:
        await visitor.send(data)
        answer = await visitor.response()
    assert answer.status == 200, answer
    told = seen_by_app(answer.body)
    assert not [name for name, value in told.items() if FORGED in value]
    return {loose_name(name.removeprefix("HTTP_").encode()).decode(): value for name, value in told.items()}


async def test_row106_no_spelling_of_a_field_makes_an_app_believe_a_visitor(tunnel: WorldTunnel, port: int, ci: Issuer):
    names = spellings([*believed_names(), *OURS], each=2, seed=port)
    for start in range(0, len(names), MANY):
        told = await seen(tunnel, ci, [(name, FORGED) for name in names[start : start + MANY]])

        assert told["x-custom"] == "arrives"
        assert (told["x-tunnel-user"], told["ngrok-auth-user-id"]) == (SUBJECT, SUBJECT)
        assert told["x-forwarded-for"] == "127.0.0.1"
        assert "x-tunnel-email" not in told


async def test_row106_nor_does_a_trailer(tunnel: WorldTunnel, port: int, ci: Issuer):
    names = spellings(OURS, each=4, seed=port)[:MANY]
    told = await seen(tunnel, ci, [], trailers="".join(f"{name}: {FORGED}\r\n" for name in names))

    assert told["x-tunnel-user"] == SUBJECT


async def test_row107_no_spelling_in_connection_takes_the_relays_word_away(tunnel: WorldTunnel, port: int, ci: Issuer):
    names = spellings(OURS, each=4, seed=port)
    told = await seen(tunnel, ci, [("Connection", ", ".join(names))])

    assert (told["x-tunnel-user"], told["x-forwarded-for"]) == (SUBJECT, "127.0.0.1")


@pytest.mark.parametrize(
    "name", ["Content_Length", "Content.Length", "Transfer_Encoding", "Transfer.Encoding", "Proxy"]
)
async def test_row108_framing_in_another_spelling_reaches_no_app(tunnel: WorldTunnel, ci: Issuer, name: str):
    told = await seen(tunnel, ci, [(name, FORGED)])

    assert told["x-custom"] == "arrives"
