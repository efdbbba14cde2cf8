"""Whose page is behind a request: the endpoint's own, a neighbour's under the same domain, or one the owner named.

Sibling endpoints are "same-site" to a browser: it sends SameSite cookies, Strict ones too, with what their pages ask.
"""

from itertools import product

import pytest

from tests.policy.making import NAVIGATE, ORIGIN, head, oidc, policy
from tests.support.every import every
from tunnelctl.http1.head import RequestHead
from tunnelrelay.model import RequestKind
from tunnelrelay.policy import exemptions
from tunnelrelay.policy.rules import Policy
from tunnelrelay.policy.verdict import Allow, Deny, SignIn, Unauthorized, Verdict, judge

STRICT = policy(oidc=oidc())
SHOP, EVIL = "https://shop.tun.example", "https://evil.tun.example"
NAMED = policy(oidc=oidc(allow_origins=(SHOP, "http://localhost:3000")))
PREFLIGHTS = policy(oidc=oidc(allow_preflight=True))
HTML = {"Accept": "text/html"}
PREFLIGHT = {"Origin": EVIL, "Access-Control-Request-Method": "POST"}
WEBSOCKET = {"Connection": "Upgrade", "Upgrade": "websocket"}


def asked(rules: Policy, request: RequestHead, *, signed_in: bool) -> Verdict:
    return judge(rules, peer_ip="203.0.113.9", head=request, is_signed_in=signed_in, origin=ORIGIN)


def fetched(site: str, mode: str = "cors", dest: str = "empty", **more: str) -> dict[str, str]:
    return {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest, **more}


SIGNED_OUT: dict[str, tuple[RequestHead, Verdict]] = {
    "a websocket": (head(fields=WEBSOCKET), Unauthorized(RequestKind.UPGRADE)),
    "a websocket that calls itself a page": (head(fields=NAVIGATE | WEBSOCKET), Unauthorized(RequestKind.UPGRADE)),
    "prefetch": (head(fields=NAVIGATE | {"Sec-Purpose": "prefetch"}), Deny("prefetch_refused")),
    "prerender": (head(fields=NAVIGATE | {"Sec-Purpose": "prefetch;prerender"}), Deny("prefetch_refused")),
    "prefetch of old": (head(fields=HTML | {"X-Moz": "prefetch"}), Deny("prefetch_refused")),
    "prefetch as Safari says": (head(fields=HTML | {"Purpose": "prefetch"}), Deny("prefetch_refused")),
    "a page": (head(fields=NAVIGATE), SignIn()),
    "a page by another site's link": (head(fields=fetched("cross-site", "navigate", "document")), SignIn()),
    "a page in a frame": (head(fields=fetched("cross-site", "navigate", "iframe")), Unauthorized(RequestKind.FRAME)),
    "a page in an object": (head(fields=fetched("same-origin", "navigate", "object")), Unauthorized(RequestKind.FRAME)),
    "a page without fetch metadata": (head(fields=HTML), Unauthorized(RequestKind.OTHER)),
    "a script of an old browser": (
        head(fields=HTML | {"X-Requested-With": "XMLHttpRequest"}),
        Unauthorized(RequestKind.OTHER),
    ),
    "part of a page": (head(fields=HTML | {"Range": "bytes=0-"}), Unauthorized(RequestKind.OTHER)),
    "HEAD": (head("HEAD", fields=NAVIGATE), Unauthorized(RequestKind.OTHER)),
    "a form": (head("POST", fields=NAVIGATE), Unauthorized(RequestKind.FORM)),
    "a form of an old browser": (head("POST", fields=HTML), Unauthorized(RequestKind.FORM)),
    "fetch": (head(fields=fetched("same-origin")), Unauthorized(RequestKind.OTHER)),
    "fetch that wants HTML": (head(fields=fetched("same-origin") | HTML), Unauthorized(RequestKind.OTHER)),
    "an image": (head(fields=fetched("same-origin", "no-cors", "image")), Unauthorized(RequestKind.OTHER)),
    "curl": (head(fields={"Accept": "*/*"}), Unauthorized(RequestKind.OTHER)),
    "a preflight": (head("OPTIONS", fields=PREFLIGHT), Unauthorized(RequestKind.OTHER)),
    "a worker's script": (
        head(fields=fetched("same-origin", "same-origin", "serviceworker", **{"Service-Worker": "script"})),
        Unauthorized(RequestKind.OTHER),
    ),
}


@every("rules", [STRICT, NAMED])
@every("case", SIGNED_OUT)
def test_without_a_session_each_kind_of_request_has_its_answer(case: str, rules: Policy) -> None:
    """Rows 46, 48, 56, 57, 115. Origins that are named sign nobody in."""
    request, verdict = SIGNED_OUT[case]
    assert asked(rules, request, signed_in=False) == verdict


@pytest.mark.parametrize(
    "fields",
    [
        fetched("same-origin"),
        fetched("same-origin", "no-cors", "image"),
        fetched("same-origin", "navigate", "iframe"),
        fetched("none", "navigate", "document"),
        fetched("same-site", "navigate", "document"),
        fetched("cross-site", "navigate", "document"),
        {},
        {"Referer": EVIL + "/"},
        {"Origin": ORIGIN.decode()},
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_session_counts_for_what_the_visitor_or_the_endpoints_pages_read(method: str, fields: dict[str, str]) -> None:
    assert asked(STRICT, head(method, fields=fields), signed_in=True) == Allow.NAMED


FOREIGN = [
    ("GET", fetched("same-site")),
    ("GET", fetched("cross-site")),
    ("GET", fetched("same-site", "no-cors", "image")),
    ("GET", fetched("same-site", "no-cors", "script")),
    ("GET", fetched("same-site", "navigate", "iframe")),
    ("GET", fetched("same-site", "navigate", "embed")),
    ("POST", fetched("same-site", "navigate", "document")),
    ("POST", fetched("cross-site", "navigate", "document")),
    ("POST", fetched("same-site", "no-cors", "empty")),
    ("PUT", fetched("same-site")),
    ("DELETE", fetched("cross-site")),
    ("HEAD", fetched("same-site", "no-cors", "empty")),
    # Browsers that do not say where a request comes from.
    ("GET", {}),
    ("POST", {}),
]


@every("origin", [EVIL, "null", "http://app.tun.example", ORIGIN.decode() + ".evil", SHOP + ":8443"])
@every("method, fields", FOREIGN)
def test_a_session_does_not_count_for_what_a_neighbours_page_asks(
    method: str, fields: dict[str, str], origin: str
) -> None:
    """Rows 77, 78."""
    request = head(method, fields=fields | {"Origin": origin})
    for rules in (STRICT, NAMED):
        verdict = asked(rules, request, signed_in=True)
        assert isinstance(verdict, Unauthorized)


@pytest.mark.parametrize(("method", "fields"), [case for case in FOREIGN if case[1]])
def test_nor_when_the_browser_leaves_the_origin_out(method: str, fields: dict[str, str]) -> None:
    """Row 77."""
    assert isinstance(asked(NAMED, head(method, fields=fields), signed_in=True), Unauthorized)


@every("origin", [SHOP, "http://localhost:3000"])
@every("method, fields", FOREIGN)
def test_pages_of_a_named_origin_may_use_the_session(method: str, fields: dict[str, str], origin: str) -> None:
    request = head(method, fields=fields | {"Origin": origin})
    assert asked(NAMED, request, signed_in=True) == Allow.NAMED
    assert isinstance(asked(STRICT, request, signed_in=True), Unauthorized)


@pytest.mark.parametrize(
    ("origin", "rules", "counts"),
    [
        (ORIGIN.decode(), STRICT, True),
        (EVIL, STRICT, False),
        (SHOP, STRICT, False),
        (SHOP, NAMED, True),
        (EVIL, NAMED, False),
        ("null", NAMED, False),
        (None, NAMED, False),
    ],
)
def test_a_websocket_is_told_by_its_origin_alone(origin: str | None, rules: Policy, counts: bool) -> None:
    """Row 114. Sec-Fetch-Site is not there to be believed: browsers do not send it with a handshake."""
    fields = WEBSOCKET | ({"Origin": origin} if origin else {}) | {"Sec-Fetch-Site": "same-origin"}
    verdict = asked(rules, head(fields=fields), signed_in=True)
    assert verdict == (Allow.NAMED if counts else Unauthorized(RequestKind.UPGRADE))


@pytest.mark.parametrize(
    ("referer", "counts"),
    [
        (ORIGIN.decode() + "/form", True),
        (SHOP + "/form", True),
        (SHOP, True),
        (EVIL + "/form", False),
        (SHOP + ".evil/form", False),
        ("about:blank", False),
    ],
)
def test_an_old_browsers_form_is_told_by_its_referer(referer: str, counts: bool) -> None:
    """Row 77."""
    verdict = asked(NAMED, head("POST", fields=HTML | {"Referer": referer}), signed_in=True)
    assert verdict == (Allow.NAMED if counts else Unauthorized(RequestKind.FORM))


# Preflights


@pytest.mark.parametrize("signed_in", [True, False])
def test_a_preflight_passes_as_nobody_where_the_owner_lets_it(signed_in: bool) -> None:
    """Row 55."""
    verdict = asked(PREFLIGHTS, head("OPTIONS", "/delete?id=1", fields=PREFLIGHT), signed_in=signed_in)
    assert verdict == exemptions.PREFLIGHT


@pytest.mark.parametrize(
    ("method", "fields"),
    [
        ("OPTIONS", {}),
        ("OPTIONS", {"Origin": EVIL}),
        ("OPTIONS", {"Access-Control-Request-Method": "POST"}),
        ("OPTIONS", {**PREFLIGHT, "Content-Length": "1"}),
        ("OPTIONS", {**PREFLIGHT, "Transfer-Encoding": "chunked"}),
        ("OPTIONS", {**PREFLIGHT, "Connection": "Upgrade", "Upgrade": "tcp"}),
        ("options", PREFLIGHT),
        ("POST", PREFLIGHT),
        ("GET", PREFLIGHT),
        ("PROPFIND", PREFLIGHT),
        ("POST", {**PREFLIGHT, "X-HTTP-Method-Override": "OPTIONS"}),
    ],
)
def test_nothing_but_a_real_preflight_does(method: str, fields: dict[str, str]) -> None:
    """Row 55."""
    assert isinstance(asked(PREFLIGHTS, head(method, fields=fields), signed_in=False), Unauthorized)


def test_networks_come_before_preflights() -> None:
    rules = policy(oidc=oidc(allow_preflight=True), cidr_allow=("10.0.0.0/8",))
    assert asked(rules, head("OPTIONS", fields=PREFLIGHT), signed_in=False) == Deny("network_denied")


SITES, MODES = ("same-origin", "same-site", "cross-site", "none", ""), ("navigate", "cors", "no-cors", "websocket", "")
DESTS, METHODS = ("document", "iframe", "empty", "image", ""), ("GET", "HEAD", "POST", "OPTIONS", "DELETE")
ORIGINS = (None, ORIGIN.decode(), EVIL, SHOP, "null")


def test_no_mixture_of_what_browsers_say_lets_a_neighbours_page_act() -> None:
    """Row 77. Every combination: what counts comes from the endpoint, a named origin or the person, or reads a page."""
    for site, mode, dest, method, origin in product(SITES, MODES, DESTS, METHODS, ORIGINS):
        fields = fetched(site, mode, dest) | ({"Origin": origin} if origin else {})
        verdict = asked(NAMED, head(method, fields=fields), signed_in=True)
        is_page = method in ("GET", "HEAD") and (mode, dest) == ("navigate", "document")
        may = site in ("same-origin", "none") or origin == SHOP or is_page
        assert (verdict == Allow.NAMED) == may, (site, mode, dest, method, origin)
