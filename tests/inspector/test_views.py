"""What is shown of a captured exchange: ngrok's object, the summary, and archives."""

import base64
import json

from msgspec import structs

from tests.inspector.making import Clock, captured, opened
from tunnelctl.inspector.har import entry
from tunnelctl.inspector.store import CaptureStore
from tunnelctl.inspector.views import summary, timing, view
from tunnelctl.wire.about import About, pack_about
from tunnelctl.wire.errors import Code

ID = "548fb5c700000002"


def store_at(clock=None):
    return CaptureStore(clock=clock or Clock(), now=lambda: 1_418_702_527.0)


def raw(message):
    return base64.b64decode(message["raw"])


def test_an_exchange_has_ngroks_object():
    capture = captured(
        store_at(), "GET /favicon.ico?token=abc HTTP/1.1", "accept: */*", "Accept: b", "X-Forwarded-For: 203.0.113.9",
        status=502, response=("Content-Type: text/plain", "Set-Cookie: a=b"), answer=b"no",
    )  # fmt: skip
    shown = view(capture, ID, "")
    start = shown.pop("start")
    assert start[:4] == "2014"
    assert start[19] == "."
    assert shown == {
        "uri": f"/api/requests/http/{ID}",
        "id": ID,
        "tunnel_name": "web",
        "remote_addr": "203.0.113.9",
        "duration": 0,
        "is_over": True,
        "is_upgrade": False,
        "visitor": None,
        "timing": {"gate": None, "connect": 0, "send": 0, "wait": 0, "receive": 0},
        "replay_of": "",
        "error": "",
        "request": {
            "method": "GET",
            "proto": "HTTP/1.1",
            "headers": {"Host": ["demo.tun.example"], "Accept": ["*/*", "b"], "X-Forwarded-For": ["203.0.113.9"]},
            "uri": "/favicon.ico?token=***",
            "raw": shown["request"]["raw"],
            "body": {"size": 0, "kept": 0, "type": "", "encoding": "", "is_shown": True, "is_cut": False},
        },
        "response": {
            "status": "502 Bad Gateway",
            "status_code": 502,
            "proto": "HTTP/1.1",
            "headers": {"Content-Type": ["text/plain"], "Set-Cookie": ["a=***"]},
            "raw": shown["response"]["raw"],
            "body": {"size": 2, "kept": 2, "type": "text/plain", "encoding": "", "is_shown": True, "is_cut": False},
        },
    }
    assert raw(shown["request"]) == (
        b"GET /favicon.ico?token=*** HTTP/1.1\r\nHost: demo.tun.example\r\naccept: */*\r\nAccept: b\r\n"
        b"X-Forwarded-For: 203.0.113.9\r\n\r\n"
    )
    assert raw(shown["response"]) == (
        b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/plain\r\nSet-Cookie: a=***\r\n\r\nno"
    )


def test_a_pending_exchange_has_no_response_yet():
    capture = store_at().begin("web", opened())
    shown = view(capture, ID, "")
    assert (shown["response"], shown["duration"], shown["is_over"], shown["error"]) == (None, 0, False, "")
    assert summary(capture, ID, "")["response"] is None


def test_a_failure_says_why():
    capture = captured(store_at(), status=0, code=Code.UPSTREAM_UNREACHABLE, reason="connection refused")
    assert view(capture, ID, "")["error"] == "connection refused"
    left = captured(store_at(), status=0, code=Code.CANCELLED)
    assert view(left, ID, "")["error"] == "the visitor left"


def test_the_summary_has_no_heads_and_no_bodies():
    capture = captured(store_at(), "GET /x?code=abc HTTP/1.1", "Cookie: a=b", answer=b"secret words")
    shown = summary(capture, ID, "548fb5c700000001")
    assert shown["request"] == {"method": "GET", "uri": "/x?code=***", "body": {"size": 0}}
    assert shown["response"]["body"] == {"size": 12, "type": "text/plain"}
    assert shown["replay_of"] == "548fb5c700000001"
    assert not {"abc", "secret words", "Cookie"} & set(json.dumps(shown).split('"'))


def test_the_time_is_split_where_it_went():
    clock = Clock()
    capture = CaptureStore(clock=clock).begin("web", opened())
    for seconds, step in (
        (0.001, capture.sending),
        (0.010, capture.request_ended),
        (0.100, lambda: capture.answered(200, b"")),
        (1.000, lambda: capture.ended(None, "")),
    ):
        clock.time += seconds
        step()
    assert timing(capture) == {
        "gate": None,
        "connect": 1_000_000,
        "send": 10_000_000,
        "wait": 100_000_000,
        "receive": 1_000_000_000,
    }


def test_what_the_relay_tells_about_the_visitor_is_shown_with_its_time_at_the_gate():
    capture = captured(store_at())
    ann = About(address="203.0.113.9", subject="1", email="ann@acme.com", rule="domain acme.com", how="session")
    capture.about(pack_about(structs.replace(ann, gate_ns=250_000)))

    for shown in (view(capture, ID, ""), summary(capture, ID, "")):
        assert shown["visitor"] == {
            "address": "203.0.113.9",
            "subject": "1",
            "email": "ann@acme.com",
            "name": "",
            "rule": "domain acme.com",
            "how": "session",
        }
        assert shown["timing"]["gate"] == 250_000


def test_what_a_relay_tells_that_cannot_be_read_is_as_if_it_told_nothing():
    capture = captured(store_at())
    capture.about(b'{"address":1}')

    assert (view(capture, ID, "")["visitor"], view(capture, ID, "")["timing"]["gate"]) == (None, None)


def test_an_answer_before_the_request_is_complete_makes_no_time_negative():
    clock = Clock()
    capture = CaptureStore(clock=clock).begin("web", opened())
    for step in (
        capture.sending,
        lambda: capture.answered(413, b""),
        capture.request_ended,
        lambda: capture.ended(None, ""),
    ):
        clock.time += 1
        step()
    assert [timing(capture)[name] for name in ("send", "wait", "receive")] == [1_000_000_000, 0, 2_000_000_000]


def test_an_archive_has_an_entry_of_har_1_2():
    capture = captured(
        store_at(), "POST /x?a=1&token=t HTTP/1.1", "Content-Type: application/json", "Cookie: a=b; c=d",
        "X-Forwarded-Proto: https", "X-Forwarded-Host: demo.tun.example:444", body=b'{"password":"p"}',
        response=("Content-Type: text/plain", "Set-Cookie: s=v; Path=/", "Location: /y"), status=302,
        answer=b"\x00\xff",
    )  # fmt: skip
    made = entry(capture, ID)
    request, response = made["request"], made["response"]
    assert request["url"] == "https://demo.tun.example:444/x?a=1&token=***"
    assert request["queryString"] == [{"name": "a", "value": "1"}, {"name": "token", "value": "***"}]
    assert request["cookies"] == [{"name": "a", "value": "***"}, {"name": "c", "value": "***"}]
    assert request["postData"] == {"mimeType": "application/json", "text": '{"password":"***"}'}
    assert (response["status"], response["statusText"], response["redirectURL"]) == (302, "Found", "/y")
    assert response["cookies"] == [{"name": "s", "value": "***"}]
    assert response["content"] == {"size": 2, "mimeType": "text/plain", "text": "AP8=", "encoding": "base64"}
    assert made["timings"].keys() == {"blocked", "dns", "connect", "send", "wait", "receive", "ssl"}
    assert made["_id"] == ID


def test_an_archive_has_what_got_no_response_too():
    made = entry(captured(store_at(), status=0, code=Code.CANCELLED), ID)
    assert (made["response"]["status"], made["response"]["content"]["size"]) == (0, 0)
