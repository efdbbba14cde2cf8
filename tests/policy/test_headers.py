"""What goes on to the upstream and back to the visitor (rows 70, 71, 79 and 104 to 112 at the level of fields)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.policy.making import head, oidc, policy
from tests.support.every import every
from tunnelctl.http1.fields import loose_name
from tunnelctl.http1.head import parse_request
from tunnelctl.wire.messages import HeaderEdit
from tunnelrelay.policy.headers import make_private, request_block, response_block
from tunnelrelay.policy.rules import Policy

OPEN = policy()
LOGIN = policy(oidc=oidc())
FORWARDED = b"X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: app.tun.example\r\n"
WHO = b"X-Tunnel-User: 00u1\r\nX-Tunnel-Email: alice@acme.com\r\n"


def sent(request, *, policy: Policy = OPEN, identity: bytes = b"", upgrade: bytes = b"") -> bytes:
    return request_block(request, forwarded=FORWARDED, identity=identity, policy=policy, upgrade=upgrade)


def visitors_part(request, **options) -> bytes:
    """The field lines that came from the visitor, apart from Host."""
    return sent(request, **options).partition(b"Host: app.tun.example\r\n")[2].replace(FORWARDED, b"")


def answered(*fields: tuple[bytes, bytes], policy: Policy = OPEN, upgrade: bytes = b"") -> bytes:
    return response_block(
        list(fields), policy=policy, host=b"app.tun.example", origin=b"https://app.tun.example", upgrade=upgrade
    )


class TestRequests:
    def test_plain_fields_go_on_as_they_are_and_the_relay_adds_its_own(self):
        request = head("PUT", "/a?b", [("Accept", "*/*"), ("X-Two", "1"), ("x-two", "2"), ("Empty", "")])
        assert sent(request, identity=WHO) == (
            b"PUT /a?b HTTP/1.1\r\nHost: app.tun.example\r\nAccept: */*\r\nX-Two: 1\r\nx-two: 2\r\nEmpty: \r\n"
            + FORWARDED
            + WHO
        )

    @pytest.mark.parametrize(
        ("target", "expected"),
        [
            ("http://app.tun.example/a?b", b"/a?b"),
            ("https://app.tun.example", b"/"),
            ("http://app.tun.example?x=/y", b"/?x=/y"),
            ("//evil/x", b"//evil/x"),
            ("/x?u=http://y", b"/x?u=http://y"),
        ],
    )
    def test_an_upstream_is_asked_in_origin_form(self, target, expected):
        assert sent(head(target=target)).startswith(b"GET %b HTTP/1.1\r\n" % expected)

    @every(
        "name",
        [
            "X-Auth-Request-Email",
            "X_Auth_Request_Email",
            "x-AUTH-request_email",
            "X-Forwarded-Groups",
            "X-Forwarded-User",
            "X_Forwarded_Email",
            "Remote-User",
            "REMOTE_USER",
            "Remote-Groups",
            "X-Remote-User",
            "X-Tunnel-User",
            "X_Tunnel_Assertion",
            "x-tunnel-anything-new",
            "Ngrok-Auth-User-Email",
            "ngrok_auth_user_id",
            "Cf-Access-Authenticated-User-Email",
            "X-Webauth-User",
        ],
    )
    @every("identity", [b"", WHO])
    @every("method", ["GET", "OPTIONS"])
    def test_row_106_identity_in_any_spelling_is_removed_also_when_there_is_none_to_set(self, name, identity, method):
        block = visitors_part(head(method, fields={name: "boss"}), identity=identity)
        assert block == identity

    @pytest.mark.parametrize(
        "connection",
        [
            "close, X-Tunnel-Email",
            "x-tunnel-email, x-tunnel-user, x-forwarded-for",
            "keep-alive,X_Tunnel_Email",
            "host",
        ],
    )
    def test_row_107_connection_takes_nothing_of_ours_away(self, connection):
        block = sent(head(fields={"Connection": connection, "X-Tunnel-Email": "evil"}), identity=WHO)
        assert block == b"GET / HTTP/1.1\r\nHost: app.tun.example\r\n" + FORWARDED + WHO

    def test_row_107_what_connection_names_concerns_one_hop(self):
        fields = [("X-Hop", "1"), ("Connection", "keep-alive, x-hop"), ("X_Hop", "2"), ("X-End", "3")]
        assert visitors_part(head(fields=fields)) == b"X-End: 3\r\n"

    @pytest.mark.parametrize(
        "name",
        [
            "X-Forwarded-For",
            "Forwarded",
            "X-Real-IP",
            "X-Forwarded-Proto",
            "X-Forwarded-Port",
            "X-Forwarded-Prefix",
            "X-Forwarded-Host",
            "x_forwarded_for",
            "True-Client-IP",
        ],
    )
    def test_row_108_where_a_request_comes_from_is_the_relays_to_say(self, name):
        assert visitors_part(head(fields={name: "127.0.0.1"})) == b""

    @pytest.mark.parametrize("name", ["X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method-Override", "X-Forwarded-Uri"])
    def test_row_51_what_a_request_really_asks_for_is_in_its_first_line(self, name):
        assert visitors_part(head(fields={name: "/public"})) == b""

    @pytest.mark.parametrize(
        "fields",
        [
            {"Connection": "keep-alive", "Keep-Alive": "timeout=5"},
            {"Proxy-Connection": "keep-alive", "Proxy-Authorization": "Basic eDp5"},
            {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMA"},
            {"Content-Length": "0"},
            {"Transfer-Encoding": "chunked"},
            {"Connection": "TE", "TE": "gzip"},
        ],
    )
    def test_framing_and_hop_by_hop_fields_stay_here(self, fields):
        assert visitors_part(head("GET", fields=fields)) == b""

    def test_trailers_and_expectations_are_passed_on(self):
        request = head("POST", fields={"TE": "trailers, deflate", "Connection": "TE", "Expect": "100-continue"})
        assert visitors_part(request) == b"TE: trailers\r\nExpect: 100-continue\r\n"

    def test_an_upgrade_is_asked_for_anew(self):
        fields = {"Connection": "Upgrade", "Upgrade": "WebSocket", "Sec-WebSocket-Key": "x"}
        block = sent(head(fields=fields), upgrade=b"websocket")
        assert block.endswith(FORWARDED + b"Connection: Upgrade\r\nUpgrade: websocket\r\n")
        assert b"Sec-WebSocket-Key: x\r\n" in block
        assert block.lower().count(b"upgrade: ") == 1

    def test_row_71_our_cookies_stay_here_and_the_others_go_on(self):
        fields = [("Cookie", "a=1; __Host-tunnel=S; b=2"), ("cookie", "__Host-tunnel-tx-1=x"), ("Cookie", "c=3")]
        assert visitors_part(head(fields=fields)) == b"Cookie: a=1; b=2\r\nCookie: c=3\r\n"

    def test_row_111_the_password_of_the_endpoint_is_not_the_upstreams_to_see(self):
        request = head(fields={"Authorization": "Basic YTpi"})
        assert visitors_part(request, policy=policy(basic_auth=("ann:long-enough",))) == b""
        assert visitors_part(request, policy=OPEN) == b"Authorization: Basic YTpi\r\n"
        assert visitors_part(request, policy=LOGIN) == b"Authorization: Basic YTpi\r\n"

    @pytest.mark.parametrize(("asked", "host"), [("rewrite", b"localhost:3000"), ("app.internal", b"app.internal")])
    def test_the_owner_chooses_the_host_the_upstream_sees(self, asked, host):
        block = sent(head(), policy=policy(host_header=asked))
        assert block == b"GET / HTTP/1.1\r\nHost: %b\r\n" % host + FORWARDED

    def test_the_owner_removes_in_every_spelling_and_then_adds(self):
        edit = HeaderEdit(add=(("X-Env", "dev"),), remove=("X_Env", "referer"))
        fields = [("x-env", "prod"), ("Referer", "https://x"), ("Accept", "*/*")]
        assert (
            visitors_part(head(fields=fields), policy=policy(request_headers=edit)) == b"Accept: */*\r\nX-Env: dev\r\n"
        )

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["X-Tunnel-User", "x_tunnel-EMAIL", "Remote_User", "X-Forwarded-For", "Accept", "X-A"]),
                st.sampled_from(["x", "X-Tunnel-User", "a, b"]),
            ),
            max_size=8,
        ),
        st.lists(st.sampled_from(["close", "X-Tunnel-User", "x_tunnel_email", "host", "x-a", "X-Forwarded-For"])),
    )
    def test_whatever_a_visitor_sends_ours_arrive_once_and_whole(self, fields, named):
        request = head(fields=[*fields, ("Connection", ", ".join(named))])
        block = sent(request, identity=WHO)
        assert block.endswith(FORWARDED + WHO)
        assert block.startswith(b"GET / HTTP/1.1\r\nHost: app.tun.example\r\n")
        names = [loose_name(line.partition(b":")[0]) for line in block.split(b"\r\n")[1:-1]]
        assert names.count(b"x-tunnel-user") == names.count(b"x-tunnel-email") == names.count(b"x-forwarded-for") == 1
        assert b"remote-user" not in names
        assert b"connection" not in names
        parse_request(block + b"\r\n")


class TestResponses:
    def test_plain_fields_go_on_as_they_are(self):
        fields = ((b"Content-Type", b"text/html"), (b"ETag", b'"x"'), (b"X-Empty", b""))
        assert answered(*fields) == b'Content-Type: text/html\r\nETag: "x"\r\nX-Empty: \r\n'

    @pytest.mark.parametrize(
        "name",
        [
            b"Connection",
            b"Keep-Alive",
            b"Proxy-Connection",
            b"Transfer-Encoding",
            b"Upgrade",
            b"Content-Length",
            b"Content_Length",
            b"Tunnel-Error",
            b"tunnel_error",
            b"Alt-Svc",
            b"X-Accel-Redirect",
            b"X-Sendfile",
        ],
    )
    def test_what_is_not_the_upstreams_to_say_stays_here(self, name):
        assert answered((name, b"close")) == b""

    def test_row_104_what_an_upstream_names_in_connection_is_dropped(self):
        fields = ((b"X-Hop", b"1"), (b"Connection", b"keep-alive, X-Hop"), (b"connection", b"x_b"), (b"X-B", b"2"))
        assert answered(*fields, (b"X-End", b"3")) == b"X-End: 3\r\n"

    def test_row_70_upstream_cookies_are_host_only_and_never_ours(self):
        fields = (
            (b"Set-Cookie", b"__Host-tunnel=x"),
            (b"Set-Cookie", b"a=1; Domain=tun.example"),
            (b"set-cookie", b"\xa0__Host-tunnel=x"),
        )
        assert answered(*fields) == b"Set-Cookie: a=1\r\n"

    def test_row_70_hundreds_of_cookies_are_capped(self):
        assert answered(*[(b"Set-Cookie", b"c%d=1" % n) for n in range(300)]).count(b"Set-Cookie") == 64

    def test_row_79_pages_behind_a_login_are_never_for_shared_caches(self):
        block = answered((b"Cache-Control", b"public, max-age=600"), (b"CDN-Cache-Control", b"max-age=9"), policy=LOGIN)
        assert block == b"Cache-Control: private, max-age=600\r\nVary: Cookie\r\n"

    def test_row_79_pages_behind_a_login_that_say_nothing_are_private(self):
        assert answered(policy=LOGIN) == b"Vary: Cookie\r\nCache-Control: private, no-cache\r\n"

    def test_caching_of_open_endpoints_is_the_upstreams_business(self):
        fields = ((b"Cache-Control", b"public, s-maxage=9"), (b"Surrogate-Control", b"max-age=9"))
        assert answered(*fields) == b"Cache-Control: public, s-maxage=9\r\nSurrogate-Control: max-age=9\r\n"

    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (b"public", b"private"),
            (b"PUBLIC, S-MaxAge=60, max-age=5", b"private, max-age=5"),
            (b"max-age=5", b"private, max-age=5"),
            (b"no-store", b"no-store"),
            (b"Private, max-age=5", b"Private, max-age=5"),
            (b'private="Set-Cookie", max-age=5', b"private, max-age=5"),
            (b'no-cache="a, public", public', b'private, no-cache="a, public"'),
            (b"", b"private"),
            (b",,public,,", b"private"),
            (b'x="unclosed, public', b'private, x="unclosed, public'),
        ],
    )
    def test_row_79_a_cache_control_is_made_private(self, value, expected):
        assert make_private(value) == expected

    @pytest.mark.parametrize(
        ("location", "expected"),
        [
            (b"http://localhost:3000/login?x", b"https://app.tun.example/login?x"),
            (b"http://localhost:3000", b"https://app.tun.example"),
            (b"http://localhost:30001/x", b"http://localhost:30001/x"),
            (b"http://localhost:3000.evil/x", b"http://localhost:3000.evil/x"),
            (b"http://localhost:3000@evil/x", b"http://localhost:3000@evil/x"),
            (b"/x", b"/x"),
            (b"https://other.example/", b"https://other.example/"),
        ],
    )
    def test_redirects_of_an_upstream_that_sees_its_own_host_become_public(self, location, expected):
        assert answered((b"Location", location), policy=policy(host_header="rewrite")) == b"Location: %b\r\n" % expected

    def test_redirects_are_left_alone_otherwise(self):
        location = (b"Location", b"http://localhost:3000/")
        assert answered(location) == b"Location: http://localhost:3000/\r\n"

    def test_an_upgrade_is_confirmed_anew(self):
        fields = ((b"Connection", b"upgrade"), (b"Upgrade", b"websocket"), (b"Sec-WebSocket-Accept", b"x"))
        block = answered(*fields, upgrade=b"websocket")
        assert block == b"Sec-WebSocket-Accept: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"

    def test_the_owner_removes_and_then_adds(self):
        edit = HeaderEdit(add=(("Server", "mine"),), remove=("server", "X-Powered-By"))
        fields = ((b"Server", b"theirs"), (b"X-Powered-By", b"x"), (b"A", b"b"))
        assert answered(*fields, policy=policy(response_headers=edit)) == b"A: b\r\nServer: mine\r\n"

    def test_row_79_an_owner_who_adds_caching_cannot_make_it_shared(self):
        edit = HeaderEdit(add=(("Cache-Control", "public, max-age=60"),), remove=("Cache-Control",))
        block = answered((b"Cache-Control", b"no-store"), policy=policy(oidc=oidc(), response_headers=edit))
        assert block == b"Cache-Control: private, max-age=60\r\nVary: Cookie\r\n"


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (b'"cache", "storage"', b'Clear-Site-Data: "cache", "storage"\r\n'),
        (b'"cookies"', b""),
        (b'"storage" , "cookies"', b'Clear-Site-Data: "storage"\r\n'),
        (b'"COOKIES"', b""),
        (b'"cookies","*"', b'Clear-Site-Data: "cache", "clientHints", "executionContexts", "storage"\r\n'),
    ],
)
def test_an_app_cannot_empty_the_cookies_of_its_neighbours(sent: bytes, kept: bytes):
    """Row 69. One sibling's Clear-Site-Data reaches the cookies of the whole registrable domain."""
    assert answered((b"Clear-Site-Data", sent)) == kept
