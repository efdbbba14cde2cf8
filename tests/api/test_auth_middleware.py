"""The door of the API: who is let in, from where, and with which bodies."""

import json

import pytest
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from tests.api.asking import ADDRESS, LOCAL, REQUEST_ID, Program
from tunnelrelay.api.auth_middleware import MAX_BODY, WRONG_KEYS_BURST, AuthMiddleware, Call
from tunnelrelay.services.actor import Actor
from tunnelrelay.services.problems import Kind, ManageError

GOOD = "ta_good"


class Keys:
    """Knows one key, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str]] = []
        self.is_away = False

    async def authenticate(self, text: str, peer: str, request_id: str) -> Actor | None:
        self.asked.append((text, peer, request_id))
        if self.is_away:
            raise ManageError(Kind.AWAY, "store_away", "The relay's database does not answer at the moment.")
        if text != GOOD:
            return None
        return Actor(user_id="usr_1", name="ann", owner="team", is_admin=False, via="api", peer=peer)


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Tells what arrived behind the door."""
    call = scope.get("tunnel.call")
    message = await receive()
    told = {
        "path": scope["path"],
        "base": call.links.base if isinstance(call, Call) else None,
        "user": call.actor.user_id if isinstance(call, Call) else None,
        "body": message["body"].decode(),
    }
    await JSONResponse(told)(scope, receive, send)


@pytest.fixture
def keys() -> Keys:
    return Keys()


@pytest.fixture
def now() -> list[float]:
    return [1000.0]


@pytest.fixture
def door(keys, now) -> AuthMiddleware:
    return AuthMiddleware(echo, address=ADDRESS, keys=keys, schema=echo, monotonic=lambda: now[0])


async def test_a_good_key_is_let_in_and_the_app_knows_whose_it_is(door, keys):
    answer = await Program(door, GOOD).ask("GET", "/tunnels")

    assert answer.json() == {"path": "/tunnels", "base": "https://api.tun.example", "user": "usr_1", "body": ""}
    assert keys.asked == [(GOOD, "203.0.113.9", REQUEST_ID)]


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (None, "key_missing"),
        ("Bearer ta_wrong", "key_unknown"),
        ("Bearer tt_of-an-agent", "key_of_agent"),
        ("Basic dGFfZ29vZDo=", "key_unknown"),
        ("ta_good", "key_unknown"),
        ("Bearer", "key_unknown"),
        ("Bearer " + "a" * 4096, "key_unknown"),
    ],
)
async def test_without_a_good_key_nothing_is_told_not_even_what_there_is(door, sent, code):
    """Rows 138, 145."""
    headers = {} if sent is None else {"Authorization": sent}

    answers = [await Program(door).ask("GET", path, headers=headers) for path in ("/tunnels", "/no/such/path")]

    assert [answer.status_code for answer in answers] == [401, 401]
    assert answers[0].content == answers[1].content
    assert answers[0].headers["www-authenticate"] == 'Bearer realm="api"'
    assert answers[0].json()["type"] == f"urn:tunnel:problem:{code}"


async def test_a_key_is_read_from_its_header_only(door, keys):
    """Row 145."""
    program = Program(door)

    answers = [
        await program.ask("GET", f"/tunnels?access_token={GOOD}&api_key={GOOD}"),
        await program.ask("GET", "/tunnels", headers={"Cookie": f"tunnel={GOOD}; api_key={GOOD}"}),
        await program.ask("GET", "/tunnels", headers={"X-Api-Key": GOOD, "Proxy-Authorization": f"Bearer {GOOD}"}),
    ]

    assert [answer.status_code for answer in answers] == [401, 401, 401]
    assert keys.asked == []


async def test_two_keys_in_one_request_are_none(door):
    twice = [("Authorization", f"Bearer {GOOD}"), ("Authorization", f"Bearer {GOOD}")]

    answer = await Program(door).client.get("/tunnels", headers=twice)

    assert answer.status_code == 401


async def test_wrong_keys_cost_the_store_nothing_after_some(door, keys, now):
    program = Program(door, "ta_wrong")

    answers = [await program.ask("GET", "/tunnels") for _ in range(WRONG_KEYS_BURST + 5)]
    elsewhere = await Program(door, GOOD, peer="198.51.100.7").ask("GET", "/tunnels")
    now[0] += 60.0
    later = await Program(door, GOOD).ask("GET", "/tunnels")

    assert [answer.status_code for answer in answers] == [401] * WRONG_KEYS_BURST + [429] * 5
    assert answers[-1].headers["retry-after"]
    assert len(keys.asked) == WRONG_KEYS_BURST + 2
    assert (elsewhere.status_code, later.status_code) == (200, 200)


async def test_nobody_is_let_in_while_nobody_can_tell_whose_a_key_is(door, keys):
    keys.is_away = True

    answer = await Program(door, GOOD).ask("GET", "/tunnels")

    assert answer.status_code == 503
    assert answer.json()["error_code"] == "ERR_TUNNEL_STORE_AWAY"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.tun.example"},
        {"Origin": "https://api.tun.example.evil.test"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "https://api.tun.example", "Sec-Fetch-Site": "same-site"},
    ],
)
@pytest.mark.parametrize("path", ["/tunnels", "/openapi.json"])
async def test_a_page_of_another_site_is_refused_sibling_tunnels_included(door, keys, headers, path):
    """Row 137."""
    answer = await Program(door, GOOD).ask("POST", path, body={}, headers=headers)

    assert answer.status_code == 403
    assert answer.json()["type"] == "urn:tunnel:problem:cross_site"
    assert "access-control-allow-origin" not in answer.headers
    assert keys.asked == []


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json-patch+json",
        "",
    ],
)
async def test_a_body_is_json_or_refused(door, kind):
    """Rows 137, 146."""
    answer = await Program(door, GOOD).client.post("/credentials", content=b"{}", headers={"Content-Type": kind})

    assert answer.status_code == 415


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": 1, "a": 2}',
        b'{"a": NaN}',
        b'{"a": 1e999}',
        b'{"a": "\\ud800"}',
        b'{"a": ' + b"[" * 20000 + b"]" * 20000 + b"}",
        b"[]",
        b"null",
        b'"text"',
        b"{",
        b"\xff\xfe{}",
        b'{"a": "\xff"}',
    ],
)
async def test_json_that_two_readers_may_read_differently_is_refused(door, body):
    """Row 146."""
    headers = {"Content-Type": "application/json"}

    answer = await Program(door, GOOD).client.post("/credentials", content=body, headers=headers)

    assert answer.status_code == 400
    assert answer.json()["type"] == "urn:tunnel:problem:body_malformed"


async def test_a_body_has_an_end(door):
    """Row 146."""
    body = {"description": "x" * MAX_BODY}

    answer = await Program(door, GOOD).ask("POST", "/credentials", body=body)

    assert answer.status_code == 413


async def test_a_body_is_not_read_before_the_key_is_found_good(door):
    """A stranger's large or endless body costs the relay nothing."""

    async def endless():
        raise AssertionError("the body was asked for")
        yield b""

    headers = {"Content-Type": "application/json"}
    answers = [
        await Program(door, key).client.post("/credentials", content=endless(), headers=headers)
        for key in ("", "ta_wrong", "tt_an-agents")
    ]

    assert [answer.status_code for answer in answers] == [401] * 3


async def test_a_good_body_reaches_the_app_as_it_was_sent(door):
    answer = await Program(door, GOOD).ask("POST", "/credentials", body={"description": "ä"})

    assert json.loads(answer.json()["body"]) == {"description": "ä"}


@pytest.mark.parametrize("key", [GOOD, ""])
async def test_no_answer_is_kept_or_shown_by_a_browser(door, key):
    answer = await Program(door, key).ask("GET", "/tunnels")

    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert answer.headers["referrer-policy"] == "no-referrer"


async def test_a_local_relay_leads_on_where_it_was_asked(keys):
    door = AuthMiddleware(echo, address=LOCAL, keys=keys, schema=echo)

    plain = await Program(door, GOOD, address=LOCAL).ask("GET", "/tunnels")
    prefixed = await Program(door, GOOD, address=LOCAL).ask("GET", "/_tunnel/api/tunnels")

    assert (plain.json()["path"], plain.json()["base"]) == ("/tunnels", "http://api.localhost:8080")
    assert (prefixed.json()["path"], prefixed.json()["base"]) == ("/tunnels", "http://127.0.0.1:8080/_tunnel/api")


async def test_the_prefix_means_nothing_on_a_public_relay(door):
    answer = await Program(door, GOOD).ask("GET", "/_tunnel/api/tunnels")

    assert answer.json()["path"] == "/_tunnel/api/tunnels"
