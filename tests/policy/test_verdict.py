"""What is done with a request: networks, passwords, logins, and requests another owner's page is behind."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.policy.making import NAVIGATE, ORIGIN, head, oidc, policy
from tests.support.every import every
from tunnelctl.http1.head import RequestHead
from tunnelrelay.model import RequestKind
from tunnelrelay.policy.rules import Policy
from tunnelrelay.policy.verdict import Allow, Challenge, Deny, SignIn, Unauthorized, Verdict, judge

OIDC = policy(oidc=oidc())
SELF = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}


def asked(policy: Policy, request: RequestHead, *, signed_in: bool = False, ip: str = "203.0.113.9") -> Verdict:
    return judge(policy, peer_ip=ip, head=request, is_signed_in=signed_in, origin=ORIGIN)


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


def test_an_endpoint_without_rules_lets_everybody_in():
    assert policy().is_open
    assert asked(policy(), head()) == Allow.OPEN


class TestNetworks:
    @pytest.mark.parametrize(
        ("allow", "deny", "ip", "comes_in"),
        [
            (("203.0.113.0/24",), (), "203.0.113.9", True),
            (("203.0.113.0/24",), (), "198.51.100.1", False),
            (("203.0.113.0/24",), ("203.0.113.9/32",), "203.0.113.9", False),
            ((), ("203.0.113.0/24",), "203.0.113.9", False),
            ((), ("203.0.113.0/24",), "198.51.100.1", True),
            (("2001:db8::/32",), (), "2001:db8::1", True),
            (("2001:db8::/32",), (), "203.0.113.9", False),
            (("203.0.113.9",), (), "203.0.113.9", True),
            ((), ("203.0.113.0/24",), "", False),
            (("0.0.0.0/0",), (), "unknown", False),
        ],
    )
    def test_allow_and_deny_with_deny_winning_and_unknown_refused(self, allow, deny, ip, comes_in):
        rules = policy(cidr_allow=allow, cidr_deny=deny)
        assert asked(rules, head(), ip=ip) == (Allow.OPEN if comes_in else Deny("network_denied"))

    def test_networks_come_before_the_login_even_for_a_session(self):
        rules = policy(cidr_allow=("10.0.0.0/8",), oidc=oidc())
        assert asked(rules, head(fields=NAVIGATE), signed_in=True) == Deny("network_denied")

    def test_what_a_visitor_says_about_its_address_decides_nothing(self):
        """Row 108."""
        rules = policy(cidr_allow=("127.0.0.0/8",))
        lies = {"X-Forwarded-For": "127.0.0.1", "Forwarded": "for=127.0.0.1", "X-Real-IP": "127.0.0.1"}
        assert asked(rules, head(fields=lies)) == Deny("network_denied")


class TestPasswords:
    RULES = policy(basic_auth=("ann:correct horse", "bob:pass:word", "Zoë:ümlaut-ß"))

    @pytest.mark.parametrize("pair", ["ann:correct horse", "bob:pass:word", "Zoë:ümlaut-ß"])
    def test_any_of_the_pairs_opens(self, pair):
        assert asked(self.RULES, head(fields={"Authorization": basic(pair)})) == Allow.OPEN

    def test_the_scheme_is_compared_without_case(self):
        assert (
            asked(self.RULES, head(fields={"Authorization": basic("bob:pass:word").replace("Basic", "bAsIc")}))
            == Allow.OPEN
        )

    @pytest.mark.parametrize(
        "value",
        [
            "",
            "Basic",
            "Basic ",
            basic("ann:wrong"),
            basic("ann"),
            basic("bob:pass:word") + "!",
            basic("bob:pass:word").replace("Basic", "Bearer"),
            "Basic bob:pass:word",
            basic("bob:pass:word") + ", " + basic("bob:pass:word"),
        ],
    )
    def test_anything_else_is_asked_again(self, value):
        assert asked(self.RULES, head(fields={"Authorization": value})) == Challenge()

    def test_two_authorization_fields_are_none(self):
        good = ("Authorization", basic("bob:pass:word"))
        assert asked(self.RULES, head(fields=[good, good])) == Challenge()

    def test_without_one_it_is_asked_for(self):
        assert asked(self.RULES, head()) == Challenge()


class TestSignedOut:
    @pytest.mark.parametrize(
        ("request_", "verdict"),
        [
            (head(fields=NAVIGATE), SignIn()),
            (head(fields={"Accept": "text/html"}), Unauthorized(RequestKind.OTHER)),
            (head("POST", fields=NAVIGATE), Unauthorized(RequestKind.FORM)),
            (head(fields={**NAVIGATE, "Sec-Purpose": "prefetch"}), Deny("prefetch_refused")),
            (head(fields={**NAVIGATE, "Sec-Fetch-Dest": "iframe"}), Unauthorized(RequestKind.FRAME)),
            (
                head(fields={**NAVIGATE, "Sec-Fetch-Dest": "empty", "Sec-Fetch-Site": "cross-site"}),
                Unauthorized(RequestKind.FRAME),
            ),
            (head(fields=SELF), Unauthorized(RequestKind.OTHER)),
            (head(), Unauthorized(RequestKind.OTHER)),
            (head("HEAD", fields=NAVIGATE), Unauthorized(RequestKind.OTHER)),
            (head(fields={"Connection": "Upgrade", "Upgrade": "websocket"}), Unauthorized(RequestKind.UPGRADE)),
        ],
    )
    def test_each_kind_of_visit_gets_its_own_answer(self, request_, verdict):
        assert asked(OIDC, request_) == verdict

    def test_a_conditional_request_is_judged_like_any_other(self):
        """Row 80."""
        conditional = {"If-None-Match": '"x"', "Range": "bytes=0-1"}
        assert asked(OIDC, head(fields=conditional)) == Unauthorized(RequestKind.OTHER)


class TestSignedIn:
    @pytest.mark.parametrize(
        "request_",
        [
            head(fields=NAVIGATE),
            head(fields=SELF),
            head("POST", fields=SELF),
            head("POST", fields={**NAVIGATE, "Sec-Fetch-Site": "same-origin"}),
            head(fields={**NAVIGATE, "Sec-Fetch-Site": "cross-site"}),
            head(fields={**NAVIGATE, "Sec-Fetch-Site": "same-site"}),
            head(fields={**NAVIGATE, "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "iframe"}),
            head(),
            head("POST"),
            head("POST", fields={"Origin": ORIGIN.decode()}),
            head("POST", fields={"Referer": ORIGIN.decode() + "/form"}),
            head(fields={"Connection": "Upgrade", "Upgrade": "websocket", "Origin": ORIGIN.decode()}),
        ],
    )
    def test_what_the_visitor_asked_for_is_allowed(self, request_):
        assert asked(OIDC, request_, signed_in=True) == Allow.NAMED

    @every("site", ["same-site", "cross-site", "something-new", ""])
    @every(
        "method, mode, dest",
        [
            ("GET", "no-cors", "image"),
            ("GET", "cors", "empty"),
            ("POST", "no-cors", "empty"),
            ("GET", "navigate", "iframe"),
            ("POST", "navigate", "document"),
        ],
    )
    def test_a_session_does_not_count_for_what_another_owners_page_asks(self, site, method, mode, dest):
        """Row 77."""
        request = head(method, fields={"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest})
        verdict = asked(OIDC, request, signed_in=True)
        assert isinstance(verdict, Unauthorized)

    @pytest.mark.parametrize(
        "fields",
        [
            {"Origin": "https://evil.tun.example"},
            {"Origin": "null"},
            {"Origin": "http://app.tun.example"},
            {"Origin": "https://app.tun.example:8443"},
            {"Referer": "https://evil.tun.example/"},
            {"Referer": "https://app.tun.example.evil/"},
        ],
    )
    def test_old_clients_are_held_to_origin_and_referer_when_they_change_something(self, fields):
        """Row 77."""
        assert asked(OIDC, head("POST", fields=fields), signed_in=True) == Unauthorized(RequestKind.OTHER)

    @pytest.mark.parametrize("origin", ["https://evil.tun.example", "null", "http://app.tun.example", None])
    def test_a_websocket_of_another_page_is_refused(self, origin):
        """Row 114."""
        fields = {"Connection": "Upgrade", "Upgrade": "websocket"} | ({"Origin": origin} if origin else {})
        assert asked(OIDC, head(fields=fields), signed_in=True) == Unauthorized(RequestKind.UPGRADE)

    @given(
        st.sampled_from(["GET", "HEAD", "POST"]),
        st.dictionaries(
            st.sampled_from(["Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-Dest", "Accept", "Origin", "Sec-Purpose"]),
            st.sampled_from(["navigate", "document", "same-site", "cross-site", "text/html", "null", "none", ""]),
        ),
    )
    def test_somebody_signed_in_is_never_sent_to_sign_in_again(self, method, fields):
        assert asked(OIDC, head(method, fields=fields), signed_in=True) != SignIn()


PLAIN = {"User-Agent": "curl/8"}


@pytest.mark.parametrize(
    ("method", "target", "fields"),
    [
        pytest.param("GET", "/admin?x=/public", {}, id="row-49-query"),
        pytest.param("GET", "/admin%23/public/bar", {}, id="row-50-encoded-fragment"),
        pytest.param("GET", "/admin", {"X-Forwarded-Uri": "/public"}, id="row-51-forwarded-uri"),
        pytest.param("GET", "/admin", {"X-Forwarded-Prefix": "/public"}, id="row-51-forwarded-prefix"),
        pytest.param("GET", "/admin", {"X-Original-URL": "/public"}, id="row-51-original-url"),
        pytest.param("GET", "/admin", {"X-Rewrite-URL": "/public"}, id="row-51-rewrite-url"),
        pytest.param("POST", "/admin", {"X-HTTP-Method-Override": "OPTIONS"}, id="row-51-method-override"),
        pytest.param("GET", "/public/../admin", {}, id="row-52-dots"),
        pytest.param("GET", "/public/%2e%2e/admin", {}, id="row-52-encoded-dots"),
        pytest.param("GET", "//admin", {}, id="row-52-two-slashes"),
        pytest.param("GET", "/PUBLIC", {}, id="row-52-case"),
        pytest.param("GET", "/public;x/../admin", {}, id="row-52-parameter"),
        pytest.param("GET", "/public%2f..%2fadmin", {}, id="row-52-encoded-slash"),
        pytest.param("GET", "/public%00/admin", {}, id="row-52-nul"),
        pytest.param("GET", "/public\\..\\admin", {}, id="row-52-backslash"),
        pytest.param("GET", "/%c0%ae%c0%ae/admin", {}, id="row-52-overlong"),
        pytest.param("GET", "/publicity", {}, id="row-53-unanchored"),
        pytest.param("GET", "/" + "a" * 5000 + "!", {}, id="row-53-backtracking"),
        pytest.param("GET", "/admin", {"User-Agent": "GoogleHC/1.0"}, id="row-54-user-agent"),
        pytest.param("GET", "/healthz", {"User-Agent": "kube-probe/1.30"}, id="row-54-health-path"),
        pytest.param("OPTIONS", "/admin", {}, id="row-55-options"),
        pytest.param("OPTIONS", "/admin", {"Origin": "https://evil.example"}, id="row-55-origin-only"),
        pytest.param(
            "OPTIONS",
            "/admin",
            {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"},
            id="row-55-preflight",
        ),
        pytest.param("PROPFIND", "/admin", {}, id="row-55-unusual-method"),
        pytest.param("GET", "/admin?prompt=none&login_hint=x&acr_values=0", {}, id="row-58-login-parameters"),
    ],
)
def test_nothing_in_a_request_is_a_bypass(method, target, fields):
    """Rows 49, 50, 51, 52, 54, 55, 58."""
    verdict = asked(OIDC, head(method, target, PLAIN | fields))
    assert verdict == Unauthorized(RequestKind.OTHER)
