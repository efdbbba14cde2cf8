"""A whole world in one process does what its parts promise each other."""

import asyncio
import json

import pytest

from tests.policy.making import typed
from tests.support.app_routes import blocks_of, digest_of
from tests.support.raw_http import connect, request_bytes
from tests.support.waiting import PATIENCE
from tests.support.world import world
from tunnelctl.agent.outcome import NameTaken, Stopped
from tunnelctl.policy.parse import build_policy
from tunnelctl.wire.messages import HeaderEdit, PolicySpec


@pytest.fixture
async def w(tmp_path):
    async with world(tmp_path / "data") as running:
        yield running


async def test_a_request_goes_all_the_way_and_back(w, app):
    tunnel = await w.tunnel(app.port, subdomain="demo")
    response = await tunnel.fetch("POST", "/echo?q=1", body=b"hello", fields=[("X-Forwarded-For", "6.6.6.6")])

    seen = json.loads(response.body)
    fields = dict(seen["fields"])
    assert (seen["method"], seen["target"], seen["body"]) == ("POST", "/echo?q=1", "aGVsbG8=")
    assert (fields["host"], fields["x-forwarded-for"]) == (tunnel.host, "127.0.0.1")
    assert fields["x-forwarded-proto"] == "http"


@pytest.mark.parametrize("method", ["LIST", "VERSION-CONTROL", "get", "M-SEARCH", "x" * 100])
async def test_a_method_of_any_name_goes_all_the_way(w, app, method):
    tunnel = await w.tunnel(app.port, subdomain="demo")
    response = await tunnel.fetch(method, "/echo", body=b"hello")

    seen = json.loads(response.body)
    assert (seen["method"], seen["body"]) == (method, "aGVsbG8=")


@pytest.mark.parametrize("method", ["GET", "POST", "ATTACH"])
@pytest.mark.parametrize("fields", [[], [("Content-Length", "0")]])
async def test_a_request_by_any_method_may_switch_to_another_protocol(w, app, method, fields):
    """As `docker attach` does: POST, `Upgrade: tcp`, `Content-Length: 0`."""
    tunnel = await w.tunnel(app.port, subdomain="demo")
    async with connect(w.port) as visitor:
        asking = [("Connection", "Upgrade"), ("Upgrade", "echo"), *fields]
        await visitor.send(request_bytes(method, "/upgrade", host=tunnel.host, fields=asking))
        assert (await visitor.head()).status == 101
        await visitor.send(b"ls\n")

        assert await visitor.read(3) == b"ls\n"


async def test_the_relays_own_pages_know_the_usual_methods_only(w, app):
    tunnel = await w.tunnel(app.port, subdomain="demo")
    response = await tunnel.fetch("LIST", "/_tunnel/login")

    assert (response.status, response.get("tunnel-error")) == (405, "method_not_allowed")


async def test_a_body_that_comes_before_the_upstream_connection_stands_is_paid_for_once(w, app):
    tunnel = await w.tunnel(app.port, subdomain="demo")
    response = await tunnel.fetch(
        "POST", "/upload", fields=[("Transfer-Encoding", "chunked")], body=b"5\r\nhello\r\n0\r\n\r\n"
    )
    again = await tunnel.fetch("GET", "/status/200")

    assert json.loads(response.body)["bytes"] == 5
    assert (again.status, tunnel.diary.lost_for) == (200, [])


async def test_an_upload_goes_on_when_only_its_own_queue_has_drained(w, app):
    """Nothing comes back while a body is sent: whoever paused must hear of room without a frame from the far end."""
    tunnel = await w.tunnel(app.port, subdomain="demo")
    size = 48 * 1024 * 1024
    async with connect(w.port) as visitor:
        await visitor.send(request_bytes("POST", "/upload", host=tunnel.host, fields=[("Content-Length", str(size))]))
        for block in blocks_of(size):
            await asyncio.wait_for(visitor.send(block), PATIENCE)
        response = await visitor.response("POST")

    assert json.loads(response.body) == {"bytes": size, "sha256": digest_of(size), "trailers": []}


async def test_two_tunnels_are_told_apart_by_name(w, app):
    first = await w.tunnel(app.port, subdomain="one")
    second = await w.tunnel(app.port, subdomain="two")
    answers = [json.loads((await tunnel.fetch("GET", "/echo")).body) for tunnel in (first, second)]

    assert [dict(answer["fields"])["host"] for answer in answers] == [first.host, second.host]


async def test_an_agent_finds_its_way_back_after_a_relay_restart(w, app):
    tunnel = await w.tunnel(app.port, subdomain="demo")
    await w.relay.stop()
    await w.start_relay()
    await tunnel.until_started()

    assert (await tunnel.fetch("GET", "/status/200")).status == 200


async def test_the_newer_agent_of_an_owner_has_the_name(w, app):
    older = await w.tunnel(app.port, subdomain="demo")
    newer = await w.tunnel(app.port, subdomain="demo")

    assert isinstance(await asyncio.wait_for(older.running, PATIENCE), NameTaken)
    assert (await newer.fetch("GET", "/status/200")).status == 200


async def test_a_request_is_held_while_the_agent_is_away(w, app):
    first = await w.tunnel(app.port, subdomain="demo")
    first.running.cancel()
    await asyncio.wait({first.running})
    waiting = asyncio.create_task(first.fetch("GET", "/status/200"))
    await w.tunnel(app.port, subdomain="demo")

    assert (await waiting).status == 200


async def test_a_name_that_was_given_up_is_not_found(w, app):
    tunnel = await w.tunnel(app.port, subdomain="demo")
    outcome = await tunnel.stop()
    response = await tunnel.fetch("GET", "/")

    assert isinstance(outcome, Stopped)
    assert response.status == 404
    assert "Tunnel demo.localhost" in response.text


async def test_an_agent_that_stays_away_is_a_503_that_says_when_to_come_again(tmp_path, app):
    async with world(tmp_path / "data", hold_seconds=0.1) as w:
        tunnel = await w.tunnel(app.port, subdomain="demo")
        tunnel.running.cancel()
        await asyncio.wait({tunnel.running})
        response = await tunnel.fetch("GET", "/")

    assert (response.status, response.get("tunnel-error")) == (503, "endpoint_offline")
    assert int(response.get("retry-after") or 0) > 0


async def test_header_rules_are_applied_both_ways(w, app):
    policy = PolicySpec(
        request_headers=HeaderEdit(add=(("X-Added", "yes"),), remove=("X-Gone",)),
        response_headers=HeaderEdit(add=(("X-Seen", "too"),), remove=("Content-Type",)),
    )
    tunnel = await w.tunnel(app.port, subdomain="demo", policy=policy)
    response = await tunnel.fetch("GET", "/echo", fields=[("X-Gone", "1")])

    fields = dict(json.loads(response.body)["fields"])
    assert (fields.get("x-added"), "x-gone" in fields) == ("yes", False)
    assert (response.get("x-seen"), response.get("content-type")) == ("too", None)


async def test_a_visitor_who_asks_too_often_waits_as_long_as_they_are_told_and_is_let_in(w, app):
    tunnel = await w.tunnel(app.port, subdomain="demo", policy=build_policy(typed(rate_limit="2/1m")))
    answers = [await tunnel.fetch("GET", "/status/200") for _ in range(3)]
    seconds = int(answers[-1].get("retry-after") or 0)
    now = w.relay.ingress.now
    w.relay.ingress.now = lambda: now() + seconds

    again = [await tunnel.fetch("GET", "/status/200") for _ in range(2)]

    assert [answer.status for answer in (*answers, *again)] == [200, 200, 429, 200, 429]
    assert answers[-1].get("tunnel-error") == "too_many_requests"
    assert 29 <= seconds <= 30
    assert len(app.requests) == 3


async def test_visitors_from_elsewhere_are_refused_before_the_app_hears_of_them(w, app):
    tunnel = await w.tunnel(app.port, subdomain="demo", policy=PolicySpec(cidr_deny=("127.0.0.0/8",)))
    response = await tunnel.fetch("GET", "/echo")

    assert (response.status, response.get("tunnel-error")) == (403, "network_denied")
    assert app.requests == []
