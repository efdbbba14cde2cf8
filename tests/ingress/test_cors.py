"""Who may read the relay's own refusals from a script: pages of the origins that the owner named, and no others."""

import pytest

from tests.ingress.scene import HOST, Scene, error_of
from tests.support.raw_http import Response, request_bytes
from tunnelctl.wire.messages import Bound, OidcSpec, PolicySpec

pytestmark = pytest.mark.asyncio(loop_scope="module")

SHOP, LOCAL = "https://shop.example", "http://localhost:3000"
FOREIGN = [
    "https://evil.example", "http://shop.example", "https://shop.example:8443", "https://shop.example.evil", "null",
    "https://SHOP.example", "https://shop.example/", f"{SHOP}, {SHOP}", "", f"http://{HOST}",
]  # fmt: skip
FETCH = [("Sec-Fetch-Mode", "cors"), ("Sec-Fetch-Dest", "empty"), ("Sec-Fetch-Site", "cross-site")]
PREFLIGHT = [("Access-Control-Request-Method", "PUT"), ("Access-Control-Request-Headers", "authorization")]


@pytest.fixture(scope="module")
def relay_flags() -> dict[str, object]:
    return {"visitor_requests": "1", "trusted_proxy": ("127.0.0.0/8",), "hold_seconds": "0"}


def login(**more: object) -> PolicySpec:
    oidc = OidcSpec(issuer="http://127.0.0.1:1", client_id="c", client_secret="s", allow_origins=(SHOP, LOCAL))
    return PolicySpec(oidc=oidc, **more)


async def ask(s: Scene, origin: str | None, method: str = "GET", *more: tuple[str, str]) -> Response:
    fields = [*FETCH, *more] + ([] if origin is None else [("Origin", origin)])
    return await s.fetch(request_bytes(method, "/api", host=HOST, fields=fields), method=method)


def cors(response: Response) -> set[str]:
    return {name for name, _ in response.fields if name.startswith("access-control-")}


@pytest.mark.parametrize("origin", [SHOP, LOCAL])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "HEAD", "OPTIONS"])
async def test_a_named_origin_reads_a_401(s: Scene, origin: str, method: str):
    assert isinstance(await s.agent.bind("demo", policy=login()), Bound)
    response = await ask(s, origin, method)

    assert (response.status, error_of(response)) == (401, "login_required")
    assert response.get("access-control-allow-origin") == origin
    assert response.get("access-control-allow-credentials") == "true"
    exposed = {name.strip().lower() for name in (response.get("access-control-expose-headers") or "").split(",")}
    assert {"www-authenticate", "tunnel-error"} <= exposed
    assert "Origin" in response.get_all("vary")
    assert response.get("www-authenticate") is not None


@pytest.mark.parametrize("origin", [*FOREIGN, None])
async def test_no_other_origin_does(s: Scene, origin: str | None):
    await s.agent.bind("demo", policy=login())
    response = await ask(s, origin)

    assert (response.status, cors(response)) == (401, set())
    assert "Origin" in response.get_all("vary")  # a cache must not give it to those that may


async def test_where_no_origin_is_named_nothing_is_said(s: Scene):
    oidc = OidcSpec(issuer="http://127.0.0.1:1", client_id="c", client_secret="s")
    await s.agent.bind("demo", policy=PolicySpec(oidc=oidc))
    response = await ask(s, SHOP)

    assert (response.status, cors(response)) == (401, set())
    assert "Origin" not in response.get_all("vary")


async def test_a_refused_network_is_told_to_a_named_origin_too(s: Scene):
    await s.agent.bind("demo", policy=login(cidr_deny=("203.0.113.0/24",)))
    answers = [await ask(s, origin, "GET", ("X-Forwarded-For", "203.0.113.9")) for origin in (SHOP, FOREIGN[0])]

    assert [answer.status for answer in answers] == [403, 403]
    assert [answer.get("access-control-allow-origin") for answer in answers] == [SHOP, None]


async def test_an_address_with_too_many_requests_reads_429(s: Scene):
    oidc = OidcSpec(
        issuer="http://127.0.0.1:1", client_id="c", client_secret="s", allow_origins=(SHOP,), allow_preflight=True
    )
    await s.agent.bind("demo", policy=PolicySpec(oidc=oidc))
    told = ("X-Forwarded-For", "203.0.113.9")
    held = request_bytes("OPTIONS", "/api", host=HOST, fields=[*FETCH, *PREFLIGHT, ("Origin", SHOP), told])
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor, held)
        second = await ask(s, SHOP, "GET", told)
        foreign = await ask(s, FOREIGN[0], "GET", told)
        asked.answer(fields=b"Access-Control-Allow-Origin: https://shop.example\r\n")
        first = await visitor.response("OPTIONS")

    # The app answers a preflight that is let through, and the relay adds nothing to it.
    assert (first.status, first.get("access-control-allow-origin")) == (200, SHOP)
    assert first.get("access-control-expose-headers") is None
    assert (second.status, second.get("access-control-allow-origin")) == (429, SHOP)
    assert (foreign.status, cors(foreign)) == (429, set())


async def test_a_preflight_that_is_not_let_through_is_refused(s: Scene):
    await s.agent.bind("demo", policy=login())
    answers = [await ask(s, origin, "OPTIONS", *PREFLIGHT) for origin in (SHOP, FOREIGN[0])]

    assert [answer.status for answer in answers] == [401, 401]
    assert cors(answers[1]) == set()
    assert s.agent.asked == []


@pytest.mark.parametrize("origin", [SHOP, FOREIGN[0]])
async def test_a_named_origin_reads_that_the_agent_was_lost(s: Scene, origin: str):
    """The rules of a name outlive its link, so a page may go on reading until the name is given up."""
    await s.agent.bind("demo", policy=login())
    connection = s.relay.registry.connection_of(HOST)
    assert connection is not None
    claims = {"sub": "alice"}
    cookie = await s.relay.parts.sessions.create(HOST, connection, issuer="http://127.0.0.1:1", claims=claims)
    await s.lose_agent()
    signed_in = ("Cookie", f"tunnel={cookie.decode()}")
    response = await ask(s, origin, "GET", signed_in)
    refused = await ask(s, origin)

    assert [response.status, refused.status] == [503, 401] if origin == SHOP else [401, 401]
    named = SHOP if origin == SHOP else None
    assert [each.get("access-control-allow-origin") for each in (response, refused)] == [named, named]
    assert (response.get("retry-after") is not None) is (origin == SHOP)
