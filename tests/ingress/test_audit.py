"""What the public side tells the audit log: tries at its readers and at its headers, and nothing of clean requests."""

import pytest
import pytest_asyncio

from tests.ingress.scene import GET, HOST
from tests.support.raw_http import request_bytes
from tunnelrelay.observe.audit import Audit

pytestmark = pytest.mark.asyncio(loop_scope="module")

SMUGGLING = {
    "Transfer-Encoding": b"POST / HTTP/1.1\r\nHost: %b\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    "Duplicate Content-Length": b"POST / HTTP/1.1\r\nHost: %b\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
    "two Host fields": b"GET / HTTP/1.1\r\nHost: %b\r\nHost: other\r\n\r\n",
    "a head without its line ends": b"GET / HTTP/1.1\nHost: %b\n\n",
}


def events(s, kind):
    return [event for event in s.relay.ingress.audit.take() if event.kind == kind]


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def _own_log(s):
    """Events that nobody takes away to a store."""
    s.relay.ingress.audit = Audit(clock=lambda: 0.0)


@pytest.mark.parametrize("reason", SMUGGLING)
async def test_a_request_that_two_servers_could_read_differently_is_an_event(s, reason):
    response = await s.fetch(SMUGGLING[reason] % HOST.encode())

    (event,) = events(s, "smuggling.refused")
    assert response.status == 400
    assert reason in event.reason
    assert event.peer == "127.0.0.1"
    assert event.request_id in response.text


async def test_a_body_whose_framing_breaks_is_an_event(s):
    async with s.visitor() as visitor:
        fields = [("Transfer-Encoding", "chunked")]
        await s.exchange(visitor, request_bytes("POST", "/", host=HOST, fields=fields))
        await visitor.send(b"5\nhello\n")
        await visitor.response("POST")

    (event,) = events(s, "smuggling.refused")
    assert event.host == HOST


async def test_a_forged_identity_header_is_an_event_that_names_it_and_not_its_value(s):
    async with s.visitor() as visitor:
        fields = [("X-Tunnel-User", "admin-canary"), ("x_auth_request_email", "a@b.c")]
        asked = await s.exchange(visitor, request_bytes("GET", "/", host=HOST, fields=fields))
        asked.answer()
        await visitor.response()

    (event,) = events(s, "headers.stripped")
    assert (event.host, event.peer, event.details) == (
        HOST,
        "127.0.0.1",
        {"names": "X-Tunnel-User x_auth_request_email"},
    )
    assert "canary" not in repr(event)


@pytest.mark.parametrize("name", ["X-Forwarded-For", "X-Real-IP", "Forwarded", "Connection", "TE"])
async def test_what_proxies_on_the_way_write_in_good_faith_is_none(s, name):
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor, request_bytes("GET", "/", host=HOST, fields=[(name, "close")]))
        asked.answer()
        await visitor.response()

    assert events(s, "headers.stripped") == []


async def test_a_clean_request_is_none(s):
    async with s.visitor() as visitor:
        asked = await s.exchange(visitor, GET)
        asked.answer()
        await visitor.response()

    assert s.relay.ingress.audit.take() == []
    assert s.relay.ingress.forged == []
