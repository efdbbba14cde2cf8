"""What the local API answers, byte for byte where programs that drive `ngrok` look."""

import asyncio
import json

import pytest

from tests.agent.fakes import FakeRelay, FakeUpstream, bound
from tests.localapi.fakes import api
from tests.support.waiting import turns
from tunnelctl.agent.definition import DefinitionInvalid, define
from tunnelctl.agent.yamlfile import parse_json
from tunnelctl.cli.settings import build_tunnel
from tunnelctl.link.dial import DialFailed
from tunnelctl.wire.frames import TYPE_EXCHANGE
from tunnelctl.wire.messages import Bind, Refused

PUT = {"method": "PUT"}
ZERO = {"rate1": 0.0, "rate5": 0.0, "rate15": 0.0, "p50": 0, "p90": 0, "p95": 0, "p99": 0}
NOT_READY = (
    b'{"error_code":104,"status_code":503,"msg":"ngrok is not yet ready to start tunnels",'
    b'"details":{"err":"a successful ngrok tunnel session has not yet been established"}}\n'
)


def plain(name="web", **more):
    return {"name": name, "addr": 3000, "proto": "http", "subdomain": name, **more}


async def test_a_tunnel_is_made_shown_and_deleted():
    async with api() as here:
        status, made = await here.json(
            "POST", "/api/tunnels", plain("web (1)", subdomain="demo", description="the shop", metadata="mine")
        )
        assert status == 201
        id_ = made["ID"]
        assert made == {
            "name": "web (1)",
            "ID": id_,
            "id": id_,
            "uri": "/api/tunnels/web%20%281%29",
            "public_url": "https://demo.tun.example",
            "url": "https://demo.tun.example",
            "proto": "https",
            "config": {"addr": "http://localhost:3000", "inspect": False},
            "upstream": {"url": "http://localhost:3000"},
            "inspect": False,
            "pooling_enabled": False,
            "metrics": {"conns": {"count": 0, "gauge": 0, **ZERO}, "http": {"count": 0, **ZERO}},
            "description": "the shop",
            "metadata": "mine",
        }
        assert len(bytes.fromhex(id_)) == 16
        assert await here.json("GET", "/api/tunnels") == (200, {"tunnels": [made], "uri": "/api/tunnels"})
        assert await here.json("GET", made["uri"]) == (200, made)
        endpoint = {**made, "uri": "/api/endpoints/web%20%281%29"}
        assert await here.json("GET", "/api/endpoints") == (200, {"endpoints": [endpoint], "uri": "/api/endpoints"})
        assert await here.json("DELETE", made["uri"], {}) == (204, None)
        assert await here.json("GET", "/api/tunnels") == (200, {"tunnels": [], "uri": "/api/tunnels"})


async def test_an_endpoint_is_made_in_the_words_of_version_3():
    body = {"name": "e", "upstream": {"url": "8001", "protocol": "http1"}, "url": "https://e.tun.example"}
    async with api() as here:
        status, made = await here.json("POST", "/api/endpoints", {**body, "pooling_enabled": True, "inspect": True})
        assert (status, made["uri"], made["url"]) == (201, "/api/endpoints/e", "https://e.tun.example")
        assert made["upstream"] == {"url": "http://localhost:8001"}
        assert made["pooling_enabled"] is True


async def test_metrics_count_what_visitors_do_in_nanoseconds():
    upstream = FakeUpstream()
    async with api(upstream=upstream) as here:
        await here.json("POST", "/api/tunnels", plain())
        number = here.agent.tunnels["web"].number
        for _ in range(2):
            here.relay.links[0].open(b"GET / HTTP/1.1\r\nHost: a\r\n", number, TYPE_EXCHANGE)
        upstream.exchanges[0].finish()
        _, shown = await here.json("GET", "/api/tunnels/web")
        assert (shown["metrics"]["conns"]["count"], shown["metrics"]["conns"]["gauge"]) == (2, 1)
        assert (shown["metrics"]["http"]["count"], shown["metrics"]["http"]["p50"]) == (2, 100_000_000)
        upstream.exchanges[0].finish()


@pytest.mark.parametrize(
    ("asked", "urls"),
    [
        ({}, [("web", "https://web.tun.example")]),
        ({"schemes": ["https"]}, [("web", "https://web.tun.example")]),
        ({"bind_tls": True}, [("web", "https://web.tun.example")]),
        ({"schemes": ["http"]}, [("web", "http://web.tun.example")]),
        ({"bind_tls": False}, [("web", "http://web.tun.example")]),
        (
            {"schemes": ["http", "https"]},
            [("web", "https://web.tun.example"), ("web (http)", "http://web.tun.example")],
        ),
        ({"bind_tls": "both"}, [("web", "https://web.tun.example"), ("web (http)", "http://web.tun.example")]),
    ],
)
async def test_a_tunnel_is_listed_once_for_each_scheme_that_was_asked_for(asked, urls):
    async with api() as here:
        _, made = await here.json("POST", "/api/tunnels", plain(**asked))
        assert made["public_url"] == urls[0][1]
        _, shown = await here.json("GET", "/api/tunnels")
        assert [(one["name"], one["public_url"]) for one in shown["tunnels"]] == urls


@pytest.mark.parametrize("order", [("web", "web%20%28http%29"), ("web%20%28http%29", "web")])
async def test_a_tunnel_of_both_schemes_ends_with_the_last_that_is_deleted(order):
    async with api() as here:
        await here.json("POST", "/api/tunnels", plain(schemes=["http", "https"]))
        assert (await here.ask("DELETE", f"/api/tunnels/{order[0]}")).status == 204
        assert [*here.agent.tunnels] == ["web"]
        assert (await here.ask("GET", f"/api/tunnels/{order[0]}")).status == 404
        assert (await here.ask("DELETE", f"/api/tunnels/{order[1]}")).status == 204
        assert [*here.agent.tunnels] == []


async def test_https_alone_is_not_given_by_a_relay_without_it():
    relay = FakeRelay()
    relay.on_bind = lambda bind: bound(bind).__class__(
        tunnel=bind.tunnel, url="http://web.x", host="web.x", generation=1
    )
    async with api(relay) as here:
        status, refused = await here.json("POST", "/api/tunnels", plain(schemes=["https"]))
        assert (status, refused["error_code"]) == (502, 103)
        assert [*here.agent.tunnels] == []
        status, made = await here.json("POST", "/api/tunnels", plain(schemes=["http", "https"]))
        assert (status, made["public_url"]) == (201, "http://web.x")


async def test_before_the_session_stands_it_is_not_ready_and_no_name_is_kept():
    relay = FakeRelay()
    relay.answers = [DialFailed("unreachable", "connection refused")]
    held = asyncio.Event()

    async def sleep(seconds):
        await held.wait()

    async with api(relay, waits=False, sleep=sleep) as here:
        for _ in range(2):
            answer = await here.ask("POST", "/api/tunnels", plain())
            assert (answer.status, answer.body) == (503, NOT_READY)
        assert (await here.json("GET", "/api/status"))[1]["status"] == "connecting"
        held.set()
        await here.agent.online()
        assert (await here.ask("POST", "/api/tunnels", plain())).status == 201


async def test_a_link_that_is_lost_while_the_relay_is_asked_is_not_ready_either():
    relay = FakeRelay()
    relay.on_bind = lambda bind: None
    held = asyncio.Event()

    async def sleep(seconds):
        await held.wait()

    async with api(relay, sleep=sleep) as here:
        asking = asyncio.create_task(here.ask("POST", "/api/tunnels", plain()))
        await turns(lambda: relay.links[0].sent_of(Bind))
        relay.links[0].drop()
        assert (await asking).body == NOT_READY
        assert [*here.agent.tunnels] == []
        held.set()


@pytest.mark.parametrize(
    ("code", "err"),
    [
        ("name_taken", "not web\r\n\r\nERR_NGROK_334\r\n"),
        ("try_later", "not web"),
        ("too_many", "not web\r\n\r\nERR_NGROK_324\r\n"),
    ],
)
async def test_what_the_relay_refuses_is_not_started_and_the_name_is_free(code, err):
    relay = FakeRelay()
    relay.on_bind = lambda bind: Refused(tunnel=bind.tunnel, code=code, message="not web")
    async with api(relay) as here:
        status, refused = await here.json("POST", "/api/tunnels", plain())
        assert (status, refused["error_code"], refused["msg"]) == (502, 103, "failed to start tunnel")
        assert refused["details"]["err"] == err
        relay.on_bind = bound
        assert (await here.ask("POST", "/api/tunnels", plain())).status == 201


async def test_a_client_that_gives_up_leaves_nothing_behind():
    relay = FakeRelay()
    relay.on_bind = lambda bind: None
    async with api(relay) as here:
        asking = asyncio.create_task(here.ask("POST", "/api/tunnels", plain()))
        await turns(lambda: relay.links[0].sent_of(Bind))
        assert (await here.json("GET", "/api/tunnels"))[1]["tunnels"] == []
        asking.cancel()
        await asyncio.wait({asking})
        relay.on_bind = bound
        assert (await here.ask("POST", "/api/tunnels", plain())).status == 201


async def test_a_name_is_taken_once_and_that_of_a_second_scheme_too():
    async with api() as here:
        await here.json("POST", "/api/tunnels", plain(schemes=["http", "https"]))
        for name in ("web", "web (http)"):
            status, refused = await here.json("POST", "/api/tunnels", plain(name, subdomain="other"))
            assert (status, refused) == (
                400,
                {
                    "error_code": 102, "status_code": 400, "msg": "invalid tunnel configuration",
                    "details": {"err": f'tunnel "{name}" already exists'},
                },
            )  # fmt: skip
        assert len(here.agent.tunnels) == 1


@pytest.mark.parametrize(
    ("body", "err"),
    [
        ({"addr": 80}, "must contain a 'name'"),
        (plain(name=""), "must contain a 'name'"),
        (plain(name=["a"]), "must contain a 'name'"),
        (plain(name="a\nb"), "can be shown"),
        (plain(name="a" * 256), "at most 255"),
        ({"name": "a"}, "addr is missing"),
        (plain(proto="bogus"), "protocol name"),
        (plain(proto="tls"), "protocol name"),
        (plain(options="x"), "unknown key tunnels.web.options"),
        (plain(oauth={"provider": "google"}), "oauth is not implemented here"),
        (plain(traffic_policy={"on_http_request": []}), "traffic_policy is not implemented here"),
        (plain(mutual_tls_cas="/x"), "mutual_tls_cas is not implemented here"),
        (plain(crt="/x"), "crt is not implemented here"),
        (plain(basicauth=["ann:long-enough"]), "looks as if it restricted access"),
        (plain(basic_auth=[]), "basic_auth has no value"),
        (plain(basic_auth=""), "basic_auth has no value"),
        (plain(auth=None), "auth has no value"),
        (plain(auth="ann:long-enough", httpauth="bob:long-enough"), "looks as if it restricted access"),
        (plain(auth="ann:long-enough", basic_auth=["bob:long-enough"]), "names of one setting"),
        (plain(basic_auth=["ann:short"]), "basic_auth"),
        (plain(basic_auth=["file:/etc/hostname"]), "basic_auth: give the value itself"),
        (plain(basic_auth=["env:HOME"]), "basic_auth: give the value itself"),
        (plain(basic_auth=["-"]), "basic_auth: give the value itself"),
        (plain(oidc={"issuer_url": "https://i.example", "client_id": "c", "client_secret": "env:X"}), "client_secret"),
        (plain(ip_restriction={"allow_cidrs": ["nowhere"]}), "ip_restriction.allow_cidrs"),
        (plain(ip_restriction={"allow_cidr": ["10.0.0.0/8"]}), "allow_cidr"),
        (plain(ip_restriction=[]), "no value, or one of the wrong kind"),
        (plain(bind_tls="maybe"), "bind_tls is true, false or both"),
        (plain(bind_tls={}), "bind_tls is true, false or both"),
        (plain(bind_tls=True, schemes=["http"]), "in place of schemes"),
        (plain(schemes=["ftp"]), "neither http nor https"),
        (plain(schemes="https"), "wrong kind"),
        (plain(subdomain="a", hostname="b.example"), "only one of them"),
        (plain(addr="nowhere"), "no port"),
        (plain(addr={"a": "oauth"}), "wrong kind"),
    ],
)  # fmt: skip
async def test_a_tunnel_that_cannot_be_had_as_asked_is_refused(body, err):
    async with api() as here:
        status, refused = await here.json("POST", "/api/tunnels", body)
        assert (status, refused["error_code"], refused["msg"]) == (400, 102, "invalid tunnel configuration")
        assert err in refused["details"]["err"]
        assert [*here.agent.tunnels] == []


@pytest.mark.parametrize(
    ("more", "err"),
    [
        ({"bindings": ["internal"]}, "bindings: every endpoint is public"),
        ({"bindings": []}, "bindings: every endpoint is public"),
        ({"url": "tls://"}, "protocol name"),
        ({"upstream": "80"}, "upstream has a value of the wrong kind"),
        ({"upstream": {"url": "80", "protocol": "http2"}}, "upstream.protocol is not implemented"),
        ({"upstream": {"url": "80", "proxy_protocol": "3"}}, "3 is neither 1 nor 2"),
        ({"traffic_policy": "on_http_request: []"}, "traffic_policy is not implemented here"),
        ({"upstream": {}}, "upstream.url is missing"),
    ],
)
async def test_an_endpoint_that_cannot_be_had_as_asked_is_refused(more, err):
    async with api() as here:
        status, refused = await here.json("POST", "/api/endpoints", {"name": "e", "upstream": {"url": "80"}, **more})
        assert (status, refused["error_code"]) == (400, 102)
        assert err in refused["details"]["err"]


@pytest.mark.parametrize("addr", ["file:///", "File:///nope", " file:/x", "unix:/run/docker.sock", "UNIX:///run/x"])
async def test_who_is_not_known_to_be_the_agents_user_gets_no_file_and_no_socket(addr):
    """Not even whether there is one."""
    async with api() as here:
        for path, body in (
            ("tunnels", plain(addr=addr)),
            ("tunnels", plain(addr=addr, proto="tcp")),
            ("endpoints", {"name": "e", "upstream": {"url": addr}}),
        ):
            status, refused = await here.json("POST", f"/api/{path}", body)
            assert (status, refused["error_code"]) == (400, 102)
            assert "not known to come from that user" in refused["details"]["err"]
        assert (await here.json("PUT", "/api/endpoints/e", {"upstream": {"url": addr}}))[0] == 400
        assert [*here.agent.tunnels] == []


async def test_what_wrappers_send_for_themselves_is_passed_over():
    mine = {
        "authtoken": "tok",
        "region": "eu",
        "configPath": "/x",
        "port": 8081,
        "host": "h",
        "web_addr": "127.0.0.1:9",
    }
    async with api() as here:
        status, made = await here.json("POST", "/api/tunnels", plain(**mine, auth="ann:long-enough"))
        assert (status, made["config"]["addr"]) == (201, "http://localhost:3000")
        (tunnel,) = here.agent.tunnels.values()
        assert tunnel.config.who_may_visit == "everyone who knows the password of ann"


def test_a_login_that_the_environment_asks_for_is_not_passed_over():
    definition = define(parse_json(json.dumps(plain()).encode()), is_endpoint=False)
    with pytest.raises(DefinitionInvalid, match="TUNNELCTL_OIDC"):
        build_tunnel(definition, {"TUNNELCTL_OIDC": "https://i.example"})


@pytest.mark.parametrize(
    ("body", "err"),
    [
        (b"", "Expecting value"), (b"{", "Expecting property"), (b"[]", "not a JSON object"),
        (b'{"name":"a","name":"b"}', "name stands there twice"), (b"\xff", "utf-8"), (b'{"a":NaN}', "NaN"),
        (b'{"a":"\\ud800"}', "surrogates"), (b"[" * 100_000, "too many values"), (b'{"a":' * 5_000, "too many values"),
        (b'{"a":' + b"9" * 5_000 + b"}", "digits"),
    ],
)  # fmt: skip
async def test_a_body_that_is_no_json_object_is_refused(body, err):
    async with api() as here:
        status, refused = await here.json("POST", "/api/tunnels", body)
        assert (status, refused["msg"]) == (400, "failed to deserialize request parameter")
        assert err in refused["details"]["err"]
        assert "error_code" not in refused


async def test_an_endpoint_is_changed_in_place():
    async with api() as here:
        body = {"upstream": {"url": "http://localhost:1"}, "url": "https://a.tun.example"}
        assert (await here.json("PUT", "/api/endpoints/e", body))[0] == 201
        assert (await here.json("PUT", "/api/endpoints/e", body))[0] == 200
        first = here.agent.tunnels["e"]
        status, changed = await here.json("PUT", "/api/endpoints/e", {**body, "url": "https://b.tun.example"})
        assert (status, changed["url"]) == (200, "https://b.tun.example")
        assert first.end is not None
        assert [*here.agent.tunnels] == ["e"]


async def test_an_endpoint_that_cannot_be_changed_stays_as_it_was():
    relay = FakeRelay()
    async with api(relay) as here:
        body = {"upstream": {"url": "http://localhost:1"}, "url": "https://a.tun.example"}
        await here.json("PUT", "/api/endpoints/e", body)
        assert (await here.json("PUT", "/api/endpoints/e", {**body, "oauth": {}}))[0] == 400
        relay.on_bind = lambda bind: (
            bound(bind)
            if bind.host == "a.tun.example"
            else Refused(tunnel=bind.tunnel, code="name_taken", message="no")
        )
        assert (await here.json("PUT", "/api/endpoints/e", {**body, "url": "https://b.tun.example"}))[0] == 502
        assert (await here.json("GET", "/api/endpoints/e"))[1]["url"] == "https://a.tun.example"


@pytest.mark.parametrize(
    ("method", "path", "status", "envelope"),
    [
        ("GET", "/api/tunnels/a%20b", 404, {"error_code": 100, "msg": "tunnel not found", "details": {"name": "a b"}}),
        ("DELETE", "/api/endpoints/x", 404, {"error_code": 100, "msg": "endpoint not found", "details": {"name": "x"}}),
        ("GET", "/api/nope", 404, {"msg": "Not Found", "details": {"path": "/api/nope"}}),
        ("GET", "/api/tunnels/", 404, {"msg": "Not Found", "details": {"path": "/api/tunnels/"}}),
        ("GET", "http://127.0.0.1/api", 404, {"msg": "Not Found", "details": {"path": "http://127.0.0.1/api"}}),
        ("PUT", "/api/tunnels", 405, {"msg": "Method Not Allowed", "details": {"allowed": "GET, POST"} | PUT}),
        ("OPTIONS", "/api", 405, {"msg": "Method Not Allowed", "details": {"allowed": "GET", "method": "OPTIONS"}}),
    ],
)  # fmt: skip
async def test_errors_come_in_ngroks_envelope(method, path, status, envelope):
    async with api() as here:
        assert await here.json(method, path) == (status, {**envelope, "status_code": status})


async def test_only_json_is_read():
    async with api() as here:
        for given in ("application/x-www-form-urlencoded", "text/plain", ""):
            answer = await here.ask("POST", "/api/tunnels", plain(), content_type=given)
            assert answer.status == 415
            details = {"available": ["application/json"], "content-type": given}
            said = {"status_code": 415, "msg": "unsupported request Content-Type", "details": details}
            assert json.loads(answer.body) == said
        assert [*here.agent.tunnels] == []
        given = "application/json; charset=utf-8"
        assert (await here.ask("POST", "/api/tunnels", plain(), content_type=given)).status == 201


async def test_the_roots():
    async with api() as here:
        assert (await here.json("GET", "/api"))[1] == {
            "status_uri": "/api/status", "tunnels_uri": "/api/tunnels", "endpoints_uri": "/api/endpoints",
        }  # fmt: skip
        root = await here.ask("GET", "/")
        assert (root.status, root.fields) == (302, (("Location", "/inspect/http"),))


async def test_visitors_of_a_tunnel_to_the_api_see_the_state_as_text():
    async with api() as here:
        seen = await here.ask("GET", "/status", x_forwarded_for="203.0.113.9")
        assert (seen.status, seen.body) == (200, b"online\n")


async def test_the_status_is_that_of_the_session():
    async with api() as here:
        here.agent.watchers.latency(0.0871)
        assert await here.json("GET", "/api/status") == (
            200,
            {
                "status": "online",
                "agent_version": "3.9.9",
                "session": {"legs": [{"region": "127.0.0.1", "latency": "87ms"}]},
                "uri": "/api/status",
            },
        )


@pytest.mark.parametrize("host", ["evil.example", "evil.example:4040", "", "demo.localhost", "127.0.0.1.evil.example"])
async def test_row149_a_name_of_the_web_is_rejected_so_that_no_page_can_rebind_its_own(host):
    async with api() as here:
        for method, path in (("GET", "/api/tunnels"), ("POST", "/api/tunnels"), ("GET", "/api/status"), ("GET", "/x")):
            answer = await here.ask(method, path, host=host)
            assert (answer.status, answer.content_type) == (401, "text/plain; charset=utf-8")
            assert answer.body.startswith(f'Rejected host "{host}".'.encode())


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:4040", "127.0.0.1:80", "127.9.9.9", "[::1]:4040"])
async def test_names_of_this_machine_are_answered(host):
    async with api() as here:
        assert (await here.ask("GET", "/api/tunnels", host=host)).status == 200


async def test_a_tunnel_that_leads_to_the_api_shows_its_visitors_the_status_alone():
    async with api() as here:
        await here.json("POST", "/api/tunnels", plain())
        for method, path, status in (
            ("GET", "/status", 200), ("GET", "/api/status", 200), ("GET", "/api/tunnels", 401),
            ("POST", "/api/tunnels", 401), ("DELETE", "/api/tunnels/web", 401), ("POST", "/api/status", 401),
        ):  # fmt: skip
            assert (await here.ask(method, path, host="web.tun.example")).status == status


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:3000", "https://127.0.0.1:4040"])
async def test_row150_pages_of_other_origins_are_rejected(origin):
    async with api() as here:
        answer = await here.ask("POST", "/api/tunnels", plain(), origin=origin)
        assert (answer.status, [*here.agent.tunnels]) == (403, [])
        assert (await here.ask("POST", "/api/tunnels", plain(), origin="http://127.0.0.1:4040")).status == 201
