"""From what an agent asks for to a policy, or to every reason why not."""

from ipaddress import ip_network

import pytest

from tests.policy.making import head, oidc, policy, problems
from tunnelctl.policy.fields import MAX_NETWORKS
from tunnelctl.wire.messages import HeaderEdit, PolicySpec
from tunnelrelay.policy.compile import PolicyInvalid, compile_policy
from tunnelrelay.policy.headers import request_block


def test_every_problem_is_told_at_once():
    found = problems(
        oidc=oidc(issuer="nonsense", client_id=""),
        basic_auth=("ann:long-enough",),
        cidr_allow=("10.0.0.0/99",),
        host_header="a b",
    )
    assert len(found) == 5


def test_secrets_are_in_no_message_and_no_repr():
    made = policy(oidc=oidc(client_secret="hush-hush"))
    assert "hush-hush" not in repr(made)
    assert "hush-hush" not in str(problems(basic_auth=("hush-hush",)))
    assert "hush-hush" not in repr(policy(basic_auth=("ann:hush-hush",)))


class TestNetworks:
    def test_networks_and_single_addresses_are_taken(self):
        made = policy(cidr_allow=("10.0.0.0/8", "203.0.113.9"), cidr_deny=("2001:db8::/32",))
        assert tuple(made.cidr_allow) == (ip_network("10.0.0.0/8"), ip_network("203.0.113.9/32"))
        assert tuple(made.cidr_deny) == (ip_network("2001:db8::/32"),)

    def test_a_network_with_host_bits_is_refused_with_what_was_meant(self):
        assert "did you mean 10.0.0.0/8?" in problems(cidr_allow=("10.1.2.3/8",))[0]

    @pytest.mark.parametrize("text", ["", "office", "10.0.0", "10.0.0.0/33", "::1/129", "10.0.0.0/8 "])
    def test_what_is_no_network_is_refused(self, text):
        assert problems(cidr_deny=(text,))

    def test_a_rule_that_could_never_match_is_refused(self):
        assert problems(cidr_deny=("::ffff:10.0.0.0/104",))


class TestPasswords:
    @pytest.mark.parametrize("pair", ["", "ann", "ann:", ":secret", ":", "ann:a\nb", "ann:\x00"])
    def test_a_pair_without_both_parts_is_refused(self, pair):
        assert problems(basic_auth=(pair,))

    def test_passwords_are_kept_only_as_digests_that_need_the_relays_key(self):
        one, other = policy(basic_auth=("ann:long-enough",)), policy(basic_auth=("ann:long-enough",), key=b"z" * 32)
        assert one.basic == policy(basic_auth=("ann:long-enough",)).basic
        assert one.basic != other.basic

    def test_a_password_beside_a_login_is_refused(self):
        assert problems(oidc=oidc(), basic_auth=("ann:long-enough",))


class TestConnection:
    def test_what_a_session_could_not_be_kept_with_is_refused(self):
        assert problems(oidc=oidc(client_id="c" * 1025)) == ["oidc: it has 1025 characters, expected at most 1024"]
        assert "has 2049 characters" in problems(oidc=oidc(issuer="https://" + "i" * 2041))[0]
        policy(oidc=oidc(client_id="c" * 1024))

    def test_the_same_settings_give_the_same_ids_after_a_restart(self):
        assert policy(oidc=oidc()).connection == policy(oidc=oidc()).connection

    def test_ids_are_26_characters_that_tell_nothing(self):
        connection = policy(oidc=oidc()).connection
        assert connection is not None
        for digest in (connection.id, connection.epoch, connection.rules_version):
            assert len(digest) == 26
            assert digest.islower()
        assert len({connection.id, connection.epoch, connection.rules_version}) == 3

    @pytest.mark.parametrize(
        ("change", "other"),
        [
            ({"issuer": "https://other.okta.com"}, {"id", "epoch"}),
            ({"client_id": "0oa2"}, {"id", "epoch"}),
            ({"client_secret": "new"}, {"epoch"}),
            ({"scopes": ("openid", "groups")}, {"epoch"}),
            ({"allow_groups": ("ops",)}, {"rules_version"}),
            ({"allow_claims": (("a", "b"),)}, {"rules_version"}),
            ({"allow_emails": ("a@b.c",)}, {"rules_version"}),
            ({"allow_domains": ("b.c",)}, {"rules_version"}),
            ({"idle_seconds": 60}, set()),
        ],
    )
    def test_each_id_changes_with_just_what_it_stands_for(self, change, other):
        before, after = policy(oidc=oidc()).connection, policy(oidc=oidc(**change)).connection
        changed = {name for name in ("id", "epoch", "rules_version") if getattr(before, name) != getattr(after, name)}
        assert changed == other

    def test_owners_never_share_a_connection(self):
        ids = {policy(oidc=oidc(), owner=owner).connection.id for owner in ("a", "b", "a\x00")}
        assert len(ids) == 3

    def test_rules_that_only_look_alike_have_different_versions(self):
        versions = {
            policy(oidc=oidc(**rules)).connection.rules_version
            for rules in (
                {"allow_claims": (("a b", "c"),)},
                {"allow_claims": (("a", "b c"),)},
                {"allow_groups": ("a", "b")},
                {"allow_groups": ("a b",)},
                {"allow_groups": ("a\ngroup b",)},
            )
        }
        assert len(versions) == 5

    def test_order_and_case_of_rules_do_not_end_anybodys_login(self):
        one = policy(oidc=oidc(allow_emails=("A@b.c", "d@e.f"), allow_domains=("@X.com",))).connection
        other = policy(oidc=oidc(allow_emails=("d@e.f", "a@b.c"), allow_domains=("x.com",))).connection
        assert one.rules_version == other.rules_version

    @pytest.mark.parametrize(
        "issuer",
        [
            "",
            "acme.okta.com",
            "ftp://acme.okta.com",
            "https://",
            "https://a@acme.okta.com",
            "https://acme.okta.com?x",
            "https://acme.okta.com#x",
            "https://acme.okta.com\\@evil",
            "https://acme.okta.com/ x",
            "https://acme.okta.com\n",
            "https://acm\u00e9.example",
            "https://acme.okta.com:99999999",
            "javascript:alert(1)",
        ],
    )
    def test_row_136_an_issuer_that_could_be_read_two_ways_is_refused(self, issuer):
        assert problems(oidc=oidc(issuer=issuer))

    @pytest.mark.parametrize("tenant", ["common", "organizations", "consumers"])
    def test_a_login_open_to_all_of_microsoft_is_refused_with_a_hint(self, tenant):
        assert "TENANT-ID" in problems(oidc=oidc(issuer=f"https://login.microsoftonline.com/{tenant}/v2.0"))[0]

    @pytest.mark.parametrize(
        "change",
        [
            {"client_id": " "},
            {"client_secret": ""},
            {"client_secret": "a\nb"},
            {"allow_emails": ("",)},
            {"allow_emails": ("acme.com",)},
            {"allow_emails": ("*@acme.com",)},
            {"allow_domains": ("",)},
            {"allow_domains": ("*.acme.com",)},
            {"allow_domains": (" ",)},
            {"allow_domains": ("acm\u00e9.com",)},
            {"allow_groups": ("",)},
            {"allow_claims": (("", "x"),)},
            {"allow_claims": (("x", ""),)},
            {"allow_claims": (("email", "boss@acme.com"),)},
            {"scopes": ("openid profile",)},
            {"idle_seconds": 0},
            {"max_seconds": 10**9},
        ],
    )
    def test_row_159_a_rule_that_says_nothing_is_an_error_and_not_an_open_door(self, change):
        assert problems(oidc=oidc(**change))

    @pytest.mark.parametrize(
        ("asked", "scopes"),
        [
            ({}, ("openid", "profile", "email")),
            ({"scopes": ("groups",)}, ("openid", "profile", "email", "groups")),
            ({"scopes": ("groups", "openid")}, ("openid", "profile", "email", "groups")),
        ],
    )
    def test_scopes_that_are_named_come_on_top_of_the_usual_ones(self, asked, scopes):
        assert policy(oidc=oidc(**asked)).connection.scopes == scopes


class TestHostHeader:
    @pytest.mark.parametrize(
        ("upstream", "host"),
        [
            ("http://localhost:3000", b"localhost:3000"),
            ("http://localhost:80", b"localhost"),
            ("http://localhost", b"localhost"),
            ("https://app.internal:443/x", b"app.internal"),
            ("https://app.internal:80", b"app.internal:80"),
            ("http://[::1]:3000", b"[::1]:3000"),
            ("http://user:pw@localhost:3000", b"localhost:3000"),
        ],
    )
    def test_rewrite_sends_what_a_browser_would(self, upstream, host):
        assert policy(host_header="rewrite", upstream=upstream).host_header == host

    @pytest.mark.parametrize("value", ["", "a b", "a\r\nX: y", "a/b", "a@b", "\u00e9.example"])
    def test_row_112_a_host_that_is_none_is_refused(self, value):
        assert problems(host_header=value)


RESERVED = [
    "Host",
    "host",
    "Content-Length",
    "content_length",
    "Transfer-Encoding",
    "Connection",
    "Upgrade",
    "TE",
    "Keep-Alive",
    "Proxy-Authorization",
    "Expect",
    "X-Tunnel-User",
    "X_Tunnel_Email",
    "Ngrok-Auth-User-Id",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "Remote-User",
]


class TestHeaderEdits:
    @pytest.mark.parametrize("name", RESERVED)
    def test_row_112_the_relays_own_request_headers_are_refused(self, name):
        assert problems(request_headers=HeaderEdit(add=((name, "x"),)))
        assert problems(request_headers=HeaderEdit(remove=(name,)))

    @pytest.mark.parametrize("name", ["Content-Length", "transfer_encoding", "Connection", "Tunnel-Error", "Upgrade"])
    def test_row_112_the_relays_own_response_headers_are_refused(self, name):
        assert problems(response_headers=HeaderEdit(add=((name, "x"),)))
        assert problems(response_headers=HeaderEdit(remove=(name,)))

    @pytest.mark.parametrize("value", ["a\r\nX-Tunnel-User: boss", "a\nb", "a\rb", "a\x00b", "a\x7fb", "a\x85b"])
    def test_row_112_line_breaks_and_control_characters_are_refused(self, value):
        assert problems(request_headers=HeaderEdit(add=(("X-A", value),)))

    @pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\nb", "\u00e9", "a" * 300])
    def test_row_112_names_that_are_none_are_refused(self, name):
        assert problems(request_headers=HeaderEdit(add=((name, "x"),)))
        assert problems(response_headers=HeaderEdit(remove=(name,)))

    def test_row_112_templates_are_refused_because_nothing_expands_them(self):
        assert "not expanded" in problems(request_headers=HeaderEdit(add=(("X-A", "${env}"),)))[0]

    @pytest.mark.parametrize("value", ["__Host-tunnel=x", "a=1; Domain=tun.example", "\xa0tunnel=x"])
    def test_row_112_cookies_an_upstream_may_not_set_the_owner_may_not_either(self, value):
        assert problems(response_headers=HeaderEdit(add=(("Set-Cookie", value),)))

    @pytest.mark.parametrize(
        "value", ['"cookies"', '"Cookies"', '"*"', '"cache","cookies"', '"cache", "storage",\t"*"']
    )
    def test_what_would_sign_people_out_of_the_neighbours_the_owner_may_not_add_either(self, value):
        assert problems(response_headers=HeaderEdit(add=(("Clear-Site-Data", value),)))
        assert problems(response_headers=HeaderEdit(add=(("clear_site_data", value),)))

    def test_an_owner_may_have_the_data_of_the_own_host_cleared(self):
        made = policy(response_headers=HeaderEdit(add=(("Clear-Site-Data", '"cache","storage"'),)))
        assert made.response_edit.add == b'Clear-Site-Data: "cache", "storage"\r\n'

    def test_too_much_to_add_is_refused(self):
        assert problems(request_headers=HeaderEdit(add=(("X-A", "x" * 9000),)))

    def test_other_headers_are_taken_and_sent_as_utf8(self):
        made = policy(request_headers=HeaderEdit(add=(("X-Team", "Zoë"), ("X-Team", "two"))))
        block = request_block(head(), forwarded=b"", identity=b"", policy=made)
        assert block.endswith("X-Team: Zoë\r\nX-Team: two\r\n".encode())


class TestWords:
    @pytest.mark.parametrize(
        ("spec", "words"),
        [
            ({}, "anyone who has the address"),
            ({"basic_auth": ("ann:long-enough",)}, "everyone who knows the password of ann"),
            ({"cidr_allow": ("10.0.0.0/8",)}, "anyone who can reach the address, from 10.0.0.0/8 only"),
            (
                {"cidr_deny": ("10.0.0.0/8", "::1/128")},
                "anyone who has the address, not from 10.0.0.0/8 or ::1/128",
            ),
            ({"oidc": oidc()}, "anyone who can log in at https://acme.okta.com"),
            (
                {"oidc": oidc(allow_emails=("alice@acme.com",), allow_domains=("acme.com",))},
                "people who log in at https://acme.okta.com and have the verified e-mail alice@acme.com or "
                "anything@acme.com",
            ),
            (
                {"oidc": oidc(allow_domains=("acme.com",), allow_groups=("ops",), allow_claims=(("dept", "eng"),))},
                "people who log in at https://acme.okta.com and have the verified e-mail anything@acme.com and are in "
                "the group ops and have the claim dept=eng",
            ),
        ],
    )
    def test_who_is_let_in_is_told_in_words(self, spec, words):
        assert policy(**spec).words == words

    def test_rules_that_say_the_same_in_another_order_are_the_same(self):
        one, other = (policy(oidc=oidc(allow_groups=groups)) for groups in (("ops", "dev"), ("dev", "ops")))

        assert one == other


def test_a_policy_that_is_refused_is_never_returned():
    with pytest.raises(PolicyInvalid) as caught:
        compile_policy(PolicySpec(cidr_allow=("x",)), upstream="http://localhost:1", owner="a", key=b"k" * 32)
    assert caught.value.problems


def test_there_are_only_so_many_networks_in_both_lists_together():
    """Every request is compared with all of them, and an owner's thousand endpoints keep them in memory."""
    many = tuple(f"10.{number // 256}.{number % 256}.0/24" for number in range(MAX_NETWORKS))

    assert len(policy(cidr_allow=many).cidr_allow) == MAX_NETWORKS
    with pytest.raises(PolicyInvalid, match=f"{MAX_NETWORKS + 1} networks"):
        policy(cidr_allow=many, cidr_deny=("192.0.2.0/24",))
