"""Which names a field may have before it is another field to some app behind the relay."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.policy.making import head, policy
from tests.support.every import every
from tests.support.spellings import PUNCTUATION, believed_names, spellings
from tunnelctl.http1.fields import loose_name
from tunnelctl.wire.messages import HeaderEdit
from tunnelrelay.policy.headers import request_block, request_trailers, response_block, response_trailers

OPEN = policy()
EDITED = policy(
    request_headers=HeaderEdit(remove=("X-Secret-Word",)), response_headers=HeaderEdit(remove=("X-Made-By",))
)
START = b"GET / HTTP/1.1\r\nHost: app.tun.example\r\n"


def sent(*names: str) -> bytes:
    """The lines that go on of a request with these fields."""
    request = head(fields=[(name, "boss") for name in names])
    return request_block(request, forwarded=b"", identity=b"", policy=OPEN).removeprefix(START)


@every("name", spellings(believed_names(), each=1, seed=1))
def test_row106_a_believed_name_is_taken_out_in_every_spelling(name: str):
    assert sent(name) == b""
    assert request_trailers(head(), [(name.encode(), b"boss")], policy=OPEN) == []


@pytest.mark.parametrize(
    "name",
    ["HTTP_X_TUNNEL_USER", "Http-Client-Ip", "HTTP_X_FORWARDED_FOR", "X-Company-Real-Ip", "Eo-Client-IP", "Client.IP"],
)
def test_row106_the_names_that_cgi_gives_and_those_of_any_delivery_network_are_taken_out_too(name: str):
    assert sent(name) == b""


@given(st.text(PUNCTUATION, min_size=1, max_size=70), st.sampled_from([b"x%btunnel%buser", b"content%blength", b"%b"]))
def test_any_punctuation_is_a_hyphen(marks: str, shape: bytes):
    name = shape.replace(b"%b", b"-").replace(b"-", marks[:1].encode())
    assert loose_name(name) == shape.replace(b"%b", b"-")
    assert loose_name(name.upper()) == loose_name(name)


@pytest.mark.parametrize(
    "name", ["-", "_", "...", "!#$%&'*+-.^_`|~", "-X", "X-", "X--Tunnel--User", "XTunnelUser", "0"]
)
def test_a_name_that_is_no_others_goes_on_as_it_was_written(name: str):
    assert sent(name) == f"{name}: boss\r\n".encode()


@every("name", [
        "X-Auth-Token", "X-Auth-Key", "X-Auth-User", "X-Access-Token", "X-Api-Key", "X-User-Email", "X-Csrf-Token",
        "X-Requested-With", "X-Client-Id", "X-Client-Version", "X-Client-Data", "X-Request-Id", "X-Amzn-Trace-Id",
        "X-Cloud-Trace-Context", "Traceparent", "Cf-Ray", "Cf-Ipcountry", "Cdn-Loop", "Via", "Impersonate-User",
        "X-Author", "Content-Type", "Content.Type", "X-Middleware-Prefetch", "Proxy-Status", "X.Custom", "X_Custom",
        "Destination", "X-Original", "Sec-Ch-Ua", "Origin", "Tus-Resumable", "X-Amz-Date", "X-Goog-Api-Key",
    ])  # fmt: skip
def test_what_clients_send_for_themselves_goes_on(name: str):
    assert sent(name) == f"{name}: boss\r\n".encode()


@pytest.mark.parametrize(
    "name",
    ["Content_Length", "Content.Length", "transfer~encoding", "Transfer_Encoding", "Proxy.Authorization", "Keep|Alive"],
)
def test_row108_framing_is_ours_in_every_spelling(name: str):
    assert sent(name) == b""
    assert response_block([(name.encode(), b"5")], policy=OPEN, host=b"h", origin=b"https://h") == b""


@pytest.mark.parametrize("name", [b"Tunnel-Error", b"tunnel.error", b"TUNNEL~ERROR", b"X.Accel.Redirect", b"Alt_Svc"])
def test_row110_an_app_cannot_speak_for_the_relay_in_another_spelling(name: bytes):
    assert response_block([(name, b"x")], policy=OPEN, host=b"h", origin=b"https://h") == b""
    assert response_trailers([(name, b"x")], policy=OPEN) == []


@pytest.mark.parametrize("name", [b"X-Secret-Word", b"x_secret_word", b"X.Secret.Word", b"x~secret|WORD"])
def test_what_the_owner_removes_is_removed_in_every_spelling_and_from_trailers(name: bytes):
    request = head(fields=[(name.decode(), "x")])
    assert request_block(request, forwarded=b"", identity=b"", policy=EDITED) == START
    assert request_trailers(head(), [(name, b"x")], policy=EDITED) == []


def test_the_owners_removals_hold_for_the_apps_trailers():
    trailers = [(b"X.Made.By", b"x"), (b"Checksum", b"y")]
    assert response_trailers(trailers, policy=EDITED) == [(b"Checksum", b"y")]


@pytest.mark.parametrize("named", ["checksum", "CHECKSUM", "X-Other, checksum"])
def test_a_trailer_that_connection_names_is_for_one_hop(named: str):
    request = head(fields={"Connection": named})
    assert request_trailers(request, [(b"Checksum", b"x"), (b"Kept", b"y")], policy=OPEN) == [(b"Kept", b"y")]
