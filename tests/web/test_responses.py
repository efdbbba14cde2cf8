"""Responses of the relay's own pages: byte for byte, in the form that was asked for, and refused to all but pages."""

from typing import Any, Literal

import pytest
from starlette.requests import Request

from tests.oidc.world import APP, PEER
from tunnelrelay.model import PageRequest, Reply, RequestKind
from tunnelrelay.web.responses import error, refusal_of_fetch, response


def asked(
    *fields: tuple[bytes, bytes], method: str = "GET", visit: RequestKind = RequestKind.NAVIGATION, host: str = APP
) -> Request:
    kind: Literal["endpoint"] = "endpoint"
    inside = PageRequest(host=host, kind=kind, request_kind=visit, peer=PEER, is_secure=True, request_id="r-1")
    scope: dict[str, Any] = {"type": "http", "method": method, "headers": list(fields), "tunnel": inside}
    return Request(scope)


def test_each_field_of_a_reply_is_sent_once_and_as_it_is() -> None:
    cookies = [(b"Set-Cookie", b"a=1; Path=/"), (b"Set-Cookie", b"b=2, c")]
    sent = response(Reply(303, (*cookies, (b"Location", b"/\xc3\xa4")), b"body"))
    assert sent.status_code == 303
    assert sent.raw_headers == [
        (b"set-cookie", b"a=1; Path=/"),
        (b"set-cookie", b"b=2, c"),
        (b"location", b"/\xc3\xa4"),
        (b"content-length", b"4"),
    ]


@pytest.mark.parametrize(
    ("accepts", "kind"),
    [
        ((b"text/html,*/*;q=0.8",), b"text/html"),
        ((b"application/json", b"TEXT/HTML"), b"text/html"),
        ((b"*/*",), b"application/json"),
        ((), b"application/json"),
    ],
)
def test_people_get_a_page_and_programs_json(accepts: tuple[bytes, ...], kind: bytes) -> None:
    sent = error("page_not_found", asked(*((b"accept", each) for each in accepts)))
    assert sent.status_code == 404
    assert dict(sent.raw_headers)[b"content-type"].startswith(kind)
    assert dict(sent.raw_headers)[b"tunnel-error"] == b"page_not_found"
    assert b"r-1" in sent.body


def test_a_page_about_an_error_holds_no_word_of_the_visitors() -> None:
    hostile = ((b"accept", b"text/html<script>"), (b"host", b"evil.example"), (b"referer", b"https://evil.example/"))
    sent = error("form_refused", asked(*hostile))
    assert b"evil.example" not in sent.body
    assert b"<script>" not in sent.body


@pytest.mark.parametrize(
    ("visit", "refusal"),
    [
        (RequestKind.NAVIGATION, ""),
        (RequestKind.FORM, ""),
        (RequestKind.PASSED_ON, ""),
        (RequestKind.PREFETCH, "prefetch_refused"),
        *(
            (kind, "login_required")
            for kind in RequestKind
            if kind.name not in ("NAVIGATION", "FORM", "PASSED_ON", "PREFETCH")
        ),
    ],
)
def test_only_a_page_that_a_person_opens_is_answered(visit: RequestKind, refusal: str) -> None:
    assert refusal_of_fetch(asked(visit=visit)) == refusal


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "OPTIONS"])
def test_other_methods_are_refused_by_their_name(method: str) -> None:
    assert refusal_of_fetch(asked(method=method)) == "method_not_allowed"
    assert refusal_of_fetch(asked(method=method), ("GET", method)) == ""
