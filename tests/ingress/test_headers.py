"""What the upstream saw, and what the visitor was given back: rows 106 to 112, end to end."""

import base64

import pytest

from tests.ingress.scene import HOST, Scene, error_of
from tests.support.every import every
from tests.support.raw_http import request_bytes
from tunnelctl.wire.messages import Bound, HeaderEdit, PolicySpec, Refused

pytestmark = pytest.mark.asyncio(loop_scope="module")

SPOOFED = [
    "X-Auth-Request-Email", "X_Auth_Request_Email", "x-AUTH-request_email", "X-Auth-Request-User", "X-Forwarded-Groups",
    "X_FORWARDED_USER", "Remote-User", "remote_user", "X-Remote-User", "X-Tunnel-User", "x_tunnel_email",
    "X-TUNNEL_Assertion", "Ngrok-Auth-User-Id", "ngrok_auth_user_email", "X-Forwarded-Email", "X-Original-URL",
    "X-Rewrite-URL", "X-HTTP-Method-Override", "Cf-Access-Jwt-Assertion", "X-Real-IP", "X-Client-IP", "Forwarded",
    "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Server", "True-Client-IP",
]  # fmt: skip


async def seen(s: Scene, *fields: tuple[str, str], target: str = "/") -> dict[bytes, bytes]:
    s.agent.answers = lambda asked: asked.answer()
    response = await s.fetch(request_bytes("GET", target, host=HOST, fields=list(fields)))
    assert response.status == 200
    return dict((await s.agent.next()).fields)


@every("name", SPOOFED)
async def test_row106_what_only_the_relay_may_say_never_arrives_in_any_spelling(s: Scene, name):
    fields = await seen(s, (name, "boss"))

    assert b"boss" not in fields.values()
    assert {field for field in fields if b"tunnel" in field or b"ngrok" in field} == set()


async def test_row106_everything_else_arrives(s: Scene):
    fields = await seen(s, ("X-Custom", "1"), ("Authorization", "Bearer theirs"), ("Cookie", "a=b"), ("X-Author", "2"))

    assert (fields[b"x-custom"], fields[b"x-author"]) == (b"1", b"2")
    assert (fields[b"authorization"], fields[b"cookie"]) == (b"Bearer theirs", b"a=b")


async def test_row107_connection_cannot_take_our_fields_away(s: Scene):
    tokens = "close, X-Forwarded-For, x-forwarded-proto, X-Forwarded-Host, Host, x-custom"
    fields = await seen(s, ("Connection", tokens), ("X-Custom", "1"))

    assert (fields[b"x-forwarded-for"], fields[b"x-forwarded-proto"]) == (b"127.0.0.1", b"http")
    assert fields[b"host"] == fields[b"x-forwarded-host"] == HOST.encode()
    assert b"x-custom" not in fields
    assert b"connection" not in fields


async def test_row108_forwarding_fields_are_replaced(s: Scene):
    fields = await seen(
        s,
        ("X-Forwarded-For", "6.6.6.6, 127.0.0.1"),
        ("x_forwarded_for", "7.7.7.7"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "evil"),
        ("X-Forwarded-Prefix", "//evil"),
        ("Forwarded", "for=6.6.6.6;host=evil"),
    )

    forwarding = {name: value for name, value in fields.items() if b"forward" in name}
    assert forwarding == {
        b"x-forwarded-for": b"127.0.0.1",
        b"x-forwarded-proto": b"http",
        b"x-forwarded-host": HOST.encode(),
    }
    assert s.log[0].peer == "127.0.0.1"


async def test_hop_by_hop_fields_end_here_and_te_trailers_goes_on(s: Scene):
    fields = await seen(
        s,
        ("Connection", "keep-alive, TE"),
        ("TE", "gzip, trailers"),
        ("Keep-Alive", "1"),
        ("Proxy-Connection", "x"),
        ("Proxy-Authorization", "Basic x"),
    )

    assert fields[b"te"] == b"trailers"
    assert {b"keep-alive", b"proxy-connection", b"proxy-authorization", b"connection"} & set(fields) == set()


async def test_row71_our_cookies_never_arrive_and_theirs_do(s: Scene):
    fields = await seen(s, ("Cookie", "a=1; tunnel=ours; b=2; __Host-tunnel=ours; tunnel-tx-1=ours; tunnels=theirs"))

    assert b"ours" not in fields[b"cookie"]
    assert all(part in fields[b"cookie"] for part in (b"a=1", b"b=2", b"tunnels=theirs"))


async def test_row70_an_upstream_cannot_set_our_cookies_or_for_its_neighbours(s: Scene):
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor)
        asked.answer(
            fields=b"Set-Cookie: tunnel=x\r\nSet-Cookie: __Host-tunnel=x\r\nSet-Cookie: tunnel-tx-9=x; Path=/\r\n"
            b"Set-Cookie: a=1; Domain=localhost\r\nTunnel-Error: fake\r\nX-Accel-Redirect: /etc\r\n"
        )
        response = await visitor.response()

    assert [cookie.partition("=")[0] for cookie in response.get_all("set-cookie")] in ([], ["a"])
    assert all("domain" not in cookie.lower() for cookie in response.get_all("set-cookie"))
    assert (response.get("tunnel-error"), response.get("x-accel-redirect")) == (None, None)


async def test_row111_the_password_the_relay_asked_for_is_not_passed_on(s: Scene):
    assert isinstance(await s.agent.bind("demo", policy=PolicySpec(basic_auth=("ann:secret-word",))), Bound)
    credentials = base64.b64encode(b"ann:secret-word").decode()
    without = await s.fetch()
    wrong = await s.fetch(request_bytes("GET", "/", host=HOST, fields=[("Authorization", "Basic eDp5")]))
    fields = await seen(s, ("Authorization", f"Basic {credentials}"))

    assert (without.status, error_of(without), wrong.status) == (401, "password_required", 401)
    assert (without.get("www-authenticate") or "").startswith(f'Basic realm="{HOST}"')
    assert b"authorization" not in fields
    assert len(s.agent.asked) == 1


async def test_each_request_of_a_connection_is_judged_anew(s: Scene):
    s.agent.answers = lambda asked: asked.answer()
    async with s.visitor() as visitor:
        assert (await visitor.request("GET", "/", host=HOST)).status == 200
        await s.agent.bind("demo", policy=PolicySpec(basic_auth=("ann:secret-word",)))
        assert (await visitor.request("GET", "/", host=HOST)).status == 401


@pytest.mark.parametrize(
    ("policy", "status"),
    [
        (PolicySpec(cidr_deny=("127.0.0.0/8",)), 403),
        (PolicySpec(cidr_allow=("10.0.0.0/8",)), 403),
        (PolicySpec(cidr_allow=("127.0.0.1/32",)), 200),
        (PolicySpec(cidr_allow=("127.0.0.0/8",), cidr_deny=("127.0.0.1/32",)), 403),
    ],
)
async def test_networks_are_let_in_or_not_whatever_a_field_says(s: Scene, policy, status):
    await s.agent.bind("demo", policy=policy)
    s.agent.answers = lambda asked: asked.answer()
    fields = [("X-Forwarded-For", "10.0.0.1"), ("X-Real-IP", "10.0.0.1")]

    assert (await s.fetch(request_bytes("GET", "/", host=HOST, fields=fields))).status == status


async def test_the_owners_edits_hold_on_every_request_and_answer(s: Scene):
    await s.agent.bind(
        "demo",
        policy=PolicySpec(
            host_header="rewrite",
            request_headers=HeaderEdit(add=(("X-Added", "1"),), remove=("X-Gone",)),
            response_headers=HeaderEdit(add=(("X-Back", "2"),), remove=("Server",)),
        ),
    )
    async with s.visitor() as visitor:
        asked = await s.exchange(
            visitor,
            request_bytes(
                "GET",
                "/",
                host=HOST,
                fields=[
                    ("x_gone", "a"),
                    ("X-Kept", "b"),
                    ("Origin", f"http://{HOST}:{s.port}"),
                    ("Referer", "http://evil.localhost/"),
                ],
            ),
        )
        asked.answer(status=302, fields=b"Server: app\r\nLocation: http://localhost:3000/x\r\n")
        response = await visitor.response()

    assert (asked.get(b"host"), asked.get(b"x-added"), asked.get(b"x-kept")) == (b"localhost:3000", b"1", b"b")
    assert asked.get(b"x_gone") is None
    assert (asked.get(b"origin"), asked.get(b"referer")) == (b"http://localhost:3000", b"http://evil.localhost/")
    assert asked.get(b"x-forwarded-host") == HOST.encode()
    assert (response.get("x-back"), response.get("server")) == ("2", None)
    assert response.get("location") == f"http://{HOST}:{s.port}/x"


@pytest.mark.parametrize(
    "edit",
    [
        HeaderEdit(add=(("X-Tunnel-User", "boss"),)),
        HeaderEdit(add=(("x_tunnel_email", "boss"),)),
        HeaderEdit(remove=("X-Forwarded-For",)),
        HeaderEdit(add=(("Host", "evil"),)),
        HeaderEdit(remove=("Host",)),
        HeaderEdit(add=(("Content-Length", "5"),)),
        HeaderEdit(add=(("Transfer-Encoding", "chunked"),)),
        HeaderEdit(add=(("X", "a\r\nEvil: b"),)),
        HeaderEdit(add=(("X\r\nEvil", "b"),)),
        HeaderEdit(add=(("X", "a\x00"),)),
    ],
)
async def test_row112_edits_that_would_speak_for_the_relay_are_refused_at_bind(s: Scene, edit):
    answer = await s.agent.bind("other", policy=PolicySpec(request_headers=edit))

    assert isinstance(answer, Refused)
    assert answer.code == "policy_invalid"
    assert s.relay.registry.find("other.localhost") is None
