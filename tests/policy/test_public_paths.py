"""Paths without a login: what an owner may write, which requests are meant, and that no other reader sees another path.

Through a whole relay: tests/ingress/test_public_paths.py.
"""

import posixpath
import re
import unicodedata
from collections.abc import Callable
from itertools import product
from urllib.parse import unquote, unquote_plus, urljoin, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.policy.making import NAVIGATE, ORIGIN, head, oidc, policy, problems
from tunnelctl.http1.head import RequestHead
from tunnelctl.policy.public_paths import find_pattern, is_plain, problem
from tunnelrelay.model import RequestKind
from tunnelrelay.policy.exemptions import PREFLIGHT, Exempt
from tunnelrelay.policy.rules import Policy
from tunnelrelay.policy.verdict import Allow, Deny, SignIn, Unauthorized, Verdict, judge

PUBLIC = policy(oidc=oidc(public_paths=("/public/*", "/health", "/docs/", "/.well-known/*")))
BELOW_PUBLIC = Exempt("public path /public/*", yields_to_session=True)
SIGN_IN = Unauthorized(RequestKind.OTHER)
PLAIN = {"User-Agent": "curl/8"}


def asked(request: RequestHead, rules: Policy = PUBLIC, *, signed_in: bool = False, ip: str = "203.0.113.9") -> Verdict:
    return judge(rules, peer_ip=ip, head=request, is_signed_in=signed_in, origin=ORIGIN)


# What an owner may write


@pytest.mark.parametrize(
    "pattern",
    [
        "/",
        "/health",
        "/health/",
        "/webhooks/*",
        "/a/b/c/*",
        "/.well-known/*",
        "/v1/projects/p:run",
        "/@ann/~x",
        "/a..b",
    ],
)
def test_a_plain_path_or_all_below_one_can_be_open(pattern: str) -> None:
    assert problem(pattern) == ""
    assert policy(oidc=oidc(public_paths=(pattern,))).exemptions is not None


@pytest.mark.parametrize(
    "pattern",
    [
        *("", "health", "https://app.tun.example/health", "*", "^/public", "public"),
        *("/*", "//*", "/./*", "/../*"),
        *("/a*", "/**", "/*/a", "/a/*b", "/a/*/b", "/a/**", "/public.*", "/(a+)+$*"),
        *("/a/../b", "/a/./b", "/..", "/.", "/a/...", "/a//b", "//a", "/a//*"),
        *("/a%2fb", "/%61", "/a%", "/a;b", "/a\\b", "/a+b", "/a b", "/ä", "/a\0", "/a\n", "/a|b", '/"a"', "/<a>"),
        *("/a?b=c", "/a#b", "/?", "/a?*"),
        *("/_tunnel/ready", "/_tunnel/*", "/_TUNNEL/*", "/_tunnel"),
    ],
)
def test_row53_what_could_mean_more_than_its_owner_thinks_is_refused(pattern: str) -> None:
    """Row 53."""
    assert problem(pattern)
    (found,) = problems(oidc=oidc(public_paths=("/health", pattern)))
    assert found.startswith("oidc: ")


def test_there_are_not_more_of_them_than_a_request_is_compared_with() -> None:
    assert problems(oidc=oidc(public_paths=tuple(f"/{number}" for number in range(32)))) == []
    assert problems(oidc=oidc(public_paths=tuple(f"/{number}" for number in range(33)))) == [
        "oidc: 33 of them, expected at most 32"
    ]
    assert problems(oidc=oidc(public_paths=("/" + "x" * 255,))) == ["oidc: it has 256 characters, expected at most 255"]


# Which requests are meant


@pytest.mark.parametrize(
    ("target", "pattern"),
    [
        ("/public/x", "/public/*"),
        ("/public/x/", "/public/*"),
        ("/public/x/y.json?z=/../admin", "/public/*"),
        ("/public/x?", "/public/*"),
        ("/public/*", "/public/*"),
        ("/public/.x/a..b", "/public/*"),
        ("/public/123:AAH-x_y/!$&'(),=@~", "/public/*"),
        ("/health", "/health"),
        ("/health?", "/health"),
        ("/health?a=%2e%2e;b\\//", "/health"),
        ("/docs/", "/docs/"),
        ("/.well-known/acme-challenge/x", "/.well-known/*"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE", "OPTIONS", "PROPFIND"])
def test_a_path_that_is_meant_is_open_to_every_method(method: str, target: str, pattern: str) -> None:
    assert asked(head(method, target, PLAIN)) == Exempt(f"public path {pattern}", yields_to_session=True)


def test_a_websocket_and_a_page_load_pass_too() -> None:
    assert asked(head(target="/public/x", fields={"Connection": "Upgrade", "Upgrade": "websocket"})) == BELOW_PUBLIC
    assert asked(head(target="/public/x", fields=NAVIGATE)) == BELOW_PUBLIC
    assert asked(head(target="/public", fields=NAVIGATE)) == SignIn()


@pytest.mark.parametrize(
    "target",
    [
        pytest.param("/admin?x=/public/x", id="row-49-query"),
        pytest.param("/admin?/public/x", id="row-49-bare-query"),
        pytest.param("/?/public/x", id="row-49-root"),
        pytest.param("/admin%23/public/x", id="row-50-encoded-fragment"),
        pytest.param("/public/x%23/../../admin", id="row-50-behind-a-fragment"),
        pytest.param("/public/x%3f/../../admin", id="row-50-encoded-question-mark"),
        pytest.param("/public/../admin", id="row-52-dots"),
        pytest.param("/public/x/../../admin", id="row-52-dots-further-down"),
        pytest.param("/public/./x", id="row-52-one-dot"),
        pytest.param("/public/x/..", id="row-52-dots-at-the-end"),
        pytest.param("/public/.../admin", id="row-52-three-dots"),
        pytest.param("/public/%2e%2e/admin", id="row-52-encoded-dots"),
        pytest.param("/public/.%2E/admin", id="row-52-half-encoded-dots"),
        pytest.param("/public/%252e%252e/admin", id="row-52-encoded-twice"),
        pytest.param("//public/x", id="row-52-two-slashes"),
        pytest.param("//admin", id="row-52-two-slashes-elsewhere"),
        pytest.param("/public//admin", id="row-52-two-slashes-inside"),
        pytest.param("/public//", id="row-52-two-slashes-at-the-end"),
        pytest.param("/PUBLIC/x", id="row-52-case"),
        pytest.param("/Health", id="row-52-case-of-one-letter"),
        pytest.param("/public;x/../admin", id="row-52-parameter"),
        pytest.param("/public/..;/admin", id="row-52-parameter-of-dots"),
        pytest.param("/public/x;/../../admin", id="row-52-parameter-inside"),
        pytest.param("/public/..+/admin", id="row-52-plus-that-is-a-blank"),
        pytest.param("/public%2fx", id="row-52-encoded-slash"),
        pytest.param("/public%2f..%2fadmin", id="row-52-encoded-slashes"),
        pytest.param("/public/x%00/../../admin", id="row-52-nul"),
        pytest.param("/public/%0d%0a", id="row-52-line-break"),
        pytest.param("/public\\..\\admin", id="row-52-backslash"),
        pytest.param("/public/x\\..\\..\\admin", id="row-52-backslash-inside"),
        pytest.param("/public/..%5cadmin", id="row-52-encoded-backslash"),
        pytest.param("/public/%c0%ae%c0%ae/admin", id="row-52-overlong"),
        pytest.param("/public/%c0%af..%c0%afadmin", id="row-52-overlong-slash"),
        pytest.param("/public/%ef%bc%8e%ef%bc%8e/admin", id="row-52-wide-dots"),
        pytest.param("/public/%78", id="row-52-needless-escape"),
        pytest.param("/public/a|b", id="row-52-what-clients-encode-in-their-own-ways"),
        pytest.param("http://app.tun.example/public/x", id="row-52-absolute-form"),
        pytest.param("http://app.tun.example/admin?/public/x", id="row-52-absolute-form-with-a-query"),
        pytest.param("/public", id="row-53-the-path-itself"),
        pytest.param("/public/", id="row-53-nothing-below"),
        pytest.param("/publicity", id="row-53-unanchored"),
        pytest.param("/x/public/x", id="row-53-in-the-middle"),
        pytest.param("/healthz", id="row-53-longer"),
        pytest.param("/health/", id="row-53-with-a-slash"),
        pytest.param("/health/x", id="row-53-below-a-whole-path"),
        pytest.param("/docs", id="row-53-without-its-slash"),
        pytest.param("/docs/x", id="row-53-below-a-folder"),
        pytest.param("/xwell-known/x", id="row-53-a-dot-is-a-dot"),
        pytest.param("/" + "a" * 5000 + "!", id="row-53-backtracking"),
        pytest.param("/public/" + "." * 5000 + "/" * 500, id="row-53-backtracking-over-dots"),
    ],
)
def test_every_other_spelling_has_to_log_in(target: str) -> None:
    """Rows 49, 50, 52, 53."""
    assert asked(head(target=target, fields=PLAIN)) == SIGN_IN


@pytest.mark.parametrize(
    "name",
    [
        *("X-Forwarded-Uri", "X-Forwarded-Path", "X-Forwarded-Prefix", "X-Original-URL", "X-Original-URI"),
        *("X-Rewrite-URL", "X-Script-Name", "X-Envoy-Original-Path", "Referer"),
    ],
)
def test_row51_no_field_names_the_path(name: str) -> None:
    """Row 51."""
    for value in ("/public/x", "https://app.tun.example/public/x"):
        assert asked(head(target="/admin", fields=PLAIN | {name: value})) == SIGN_IN
    assert asked(head(target="/public/x", fields=PLAIN | {name: "/admin"})) == BELOW_PUBLIC


@pytest.mark.parametrize("agent", ["GoogleHC/1.0", "kube-probe/1.30", "ELB-HealthChecker/2.0", "UptimeRobot/2.0"])
def test_row54_no_client_is_known_by_its_name(agent: str) -> None:
    """Row 54."""
    for target in ("/admin", "/healthz", "/"):
        assert asked(head(target=target, fields={"User-Agent": agent})) == SIGN_IN


# How other readers see it


def without_dots(path: str) -> str:
    """RFC 3986 section 5.2.4, with the encoded dots of the WHATWG URL standard."""
    kept: list[str] = []
    segments = path.split("/")
    for number, segment in enumerate(segments):
        plain = re.sub("%2e", ".", segment, flags=re.I)
        if plain == "..":
            del kept[-1:]
        if plain not in (".", ".."):
            kept.append(segment)
        elif number == len(segments) - 1:
            kept.append("")
    return "/".join(kept)


def windows_name(segment: str) -> str:
    """What Windows opens: without blanks and dots at the end, if there is anything but dots."""
    segment = segment.rstrip(" ")
    return segment.rstrip(". ") if segment.strip(". ") else segment


READERS: dict[str, Callable[[str], str]] = {
    "as it is": lambda path: path,
    "posixpath": posixpath.normpath,
    "RFC 3986": without_dots,
    "urljoin": lambda path: urlsplit(urljoin("http://app.tun.example/x/y", path)).path,
    "urlsplit": lambda path: urlsplit(f"http://app.tun.example{path}").path,
    "decoded": unquote,
    "decoded twice": lambda path: unquote(unquote(path)),
    "decoded as Latin-1": lambda path: unquote(path, "latin-1"),
    "PHP's urldecode": unquote_plus,
    "cut at NUL": lambda path: unquote(path).partition("\0")[0],
    "cut at a fragment": lambda path: unquote(path).partition("#")[0],
    "cut at a question mark": lambda path: unquote(path).partition("?")[0],
    "lower case": str.lower,
    "upper case": str.upper,
    "without parameters (Java)": lambda path: re.sub(r";[^/]*", "", path),
    "backslash for slash": lambda path: path.replace("\\", "/"),
    "one slash (nginx)": lambda path: re.sub("/+", "/", path),
    "without the last slash (Express)": lambda path: path.rstrip("/") or "/",
    "names of files on Windows": lambda path: without_dots("/".join(map(windows_name, path.split("/")))),
    "one form of Unicode": lambda path: unicodedata.normalize("NFKC", path),
    "without controls (browsers)": lambda path: re.sub(r"[\t\r\n]", "", path).strip(),
    "without blanks": lambda path: re.sub(r"\s", "", path),
}
CHAINS = [*product(READERS, repeat=2)]
PATTERNS = (b"/public/*", b"/health", b"/docs/", b"/.well-known/*")


def is_below_public(path: str) -> bool:
    """Whether a reader that got this path is below `/public/` or `/.well-known/` with it, as the patterns are."""
    return path.lower().startswith(("/public/", "/.well-known/")) and path.lower() not in ("/public/", "/.well-known/")


PIECES = st.sampled_from(
    [
        *("/", "/public/", "public", "/health", "health", "/docs/", "/.well-known/", "admin", "x", "~", ":", "@", "="),
        *("..", ".", "...", "//", "\\", ";", ";x", "+", " ", "*", "?", "#", "%", "|", "\t", "\0", "é", "．", "／"),
        *("%2e", "%2E", "%2f", "%5c", "%00", "%23", "%3f", "%20", "%252e", "%252f", "%c0%ae", "%c0%af", "%u002e"),
    ]
)
TARGETS = st.lists(PIECES | st.text(max_size=2), max_size=8).map("".join)
BEGUN = st.builds(str.__add__, st.sampled_from(["/public/", "/public", "/health", "/docs/", "/.well-known/"]), TARGETS)


@given(TARGETS | BEGUN)
@example("/public/x/y")
@example("/public/public/")
@example("/public/a..b/.x./")
@example("/public/!$&'()*,:=@~-_/")
@example("/health")
@example("/docs/")
def test_row52_what_is_open_is_below_the_same_path_for_every_reader(target: str) -> None:
    """Row 52. For any target and any two of these readers in a row."""
    path = target.partition("?")[0]
    found = find_pattern(PATTERNS, path.encode())
    if found.endswith(b"/*"):
        assert [(one, two) for one, two in CHAINS if not is_below_public(READERS[two](READERS[one](path)))] == []
    elif found:
        assert path == found.decode()


@pytest.mark.parametrize(
    "stray", ["/public/../admin", "/public/%2e%2e/admin", "/public/..;/admin", "/public/..\\..\\admin", "/public/..+/a"]
)
def test_these_readers_find_a_way_out_where_there_is_one(stray: str) -> None:
    """Else the test above shows nothing."""
    assert any(not is_below_public(READERS[two](READERS[one](stray))) for one, two in CHAINS)
    assert not is_plain(stray.encode())


# Beside the other rules


def test_networks_come_before_a_public_path() -> None:
    rules = policy(oidc=oidc(public_paths=("/public/*",)), cidr_allow=("10.0.0.0/8",))
    request = head(target="/public/x")
    assert asked(request, rules) == Deny("network_denied")
    assert asked(request, rules, ip="10.1.2.3") == BELOW_PUBLIC


def test_a_visitor_whose_session_counts_is_named_and_any_other_passes_as_nobody() -> None:
    neighbours = head("POST", "/public/x", {"Origin": "https://evil.tun.example", "Sec-Fetch-Site": "same-site"})
    socket = {"Connection": "Upgrade", "Upgrade": "websocket", "Origin": "https://evil.tun.example"}
    assert asked(head(target="/public/x", fields=NAVIGATE), signed_in=True) == Allow.NAMED
    assert asked(neighbours, signed_in=True) == BELOW_PUBLIC
    assert asked(head(target="/public/x", fields=socket), signed_in=True) == BELOW_PUBLIC
    assert asked(head("POST", "/admin", {"Sec-Fetch-Site": "same-site"}), signed_in=True) == SIGN_IN


def test_a_preflight_that_is_let_through_anyhow_brings_no_credentials_here_either() -> None:
    request = head("OPTIONS", "/public/x", {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"})
    assert asked(request) == BELOW_PUBLIC
    assert asked(request, policy(oidc=oidc(public_paths=("/public/*",), allow_preflight=True))) == PREFLIGHT


def test_tunnels_of_one_address_must_have_the_same_public_paths_in_whatever_order() -> None:
    one, other = (policy(oidc=oidc(public_paths=paths)) for paths in (("/a", "/b"), ("/b", "/a", "/a")))
    assert one == other
    assert one != policy(oidc=oidc(public_paths=("/a",)))
    assert one.connection == policy(oidc=oidc()).connection  # all stay signed in


def test_without_public_paths_no_request_is_looked_at_for_them() -> None:
    assert policy(oidc=oidc()).exemptions is None
