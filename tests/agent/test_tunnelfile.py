"""Tunnels of the configuration file."""

import pytest

from tests.policy.making import typed
from tunnelctl.agent.configfile import SEE_KEYS, load
from tunnelctl.agent.tunnelfile import INNER, OWN, RULES, FileTunnel
from tunnelctl.agent.unsupported import INSTEAD
from tunnelctl.agent.yamlfile import FileInvalid
from tunnelctl.policy.fields import FIELDS


@pytest.fixture
def tunnels(tmp_path):
    """The tunnels of a file in which one has these lines."""

    def read(lines, version=3):
        path = tmp_path / "tunnel.yml"
        path.write_text(f"version: {version}\ntunnels:\n  web:\n" + "".join(f"    {line}\n" for line in lines))
        return load(path).tunnels

    return read


@pytest.fixture
def problems(tunnels, tmp_path):
    def read(*lines, version=3):
        with pytest.raises(FileInvalid) as caught:
            tunnels(lines, version)
        return [problem.removeprefix(f"{tmp_path / 'tunnel.yml'}:") for problem in caught.value.problems]

    return read


def test_a_labelled_tunnel_is_read_as_ngrok_writes_it(tunnels):
    (one,) = tunnels(["labels:", "  - edge=edghts_1", "  - team=shop", "addr: 8000", "metadata: blue", "weight: 3"])
    assert one == FileTunnel(name="web", addr="8000", labels=("edge=edghts_1", "team=shop"), metadata="blue", weight=3)


def test_a_tunnel_with_an_address_and_rules_of_its_own(tunnels):
    (one,) = tunnels(
        [
            "addr: 8000", "proto: http", "hostname: demo.tun.example", "pooling_enabled: true", "host_header: rewrite",
            "oidc: {issuer_url: '@work', allow_groups: [ops], allow_claims: [a=b]}",
            "ip_restriction: {allow_cidrs: [10.0.0.0/8], deny_cidrs: [10.1.0.0/16]}",
            "request_header: {add: ['A: 1'], remove: [B]}", "response_header: {add: ['C: 1'], remove: [D]}",
        ]
    )  # fmt: skip
    assert (one.domain, one.pooling, one.edge) == ("demo.tun.example", True, "")
    expected = typed(
        oidc="@work", oidc_allow_group=("ops",), oidc_allow_claim=("a=b",), cidr_allow=("10.0.0.0/8",),
        cidr_deny=("10.1.0.0/16",), request_header_add=("A: 1",), request_header_remove=("B",), host_header="rewrite",
        response_header_add=("C: 1",), response_header_remove=("D",),
    )  # fmt: skip
    assert sorted(one.policy.entries) == sorted(expected.entries)


def test_the_audience_of_a_login_is_read_from_the_file(tunnels):
    (one,) = tunnels(["addr: 80", "oidc: {issuer_url: 'https://acme.eu.auth0.com/', audience: 'https://api.acme.com'}"])

    assert one.policy == typed(oidc="https://acme.eu.auth0.com/", oidc_audience="https://api.acme.com")


def test_the_public_paths_of_a_login_are_read_from_the_file(tunnels):
    (one,) = tunnels(["addr: 80", "oidc: {issuer_url: '@work', public_paths: [/health, /webhooks/*]}"])

    assert one.policy == typed(oidc="@work", public_path=("/health", "/webhooks/*"))


def test_a_rate_limit_is_read_from_the_file(tunnels, problems):
    (one,) = tunnels(["addr: 80", "rate_limit: {limit: 100/1m:20, by: address}"])

    assert one.policy == typed(rate_limit="100/1m:20", rate_limit_by="address")
    for line in ("rate_limit: 10/s", "rate_limit: {limit: [10/s]}", "rate_limit: {}"):
        (one,) = tunnels(["addr: 80", line])
        assert "wrong kind" in one.problems[0]
    assert "looks as if it restricted access" in problems("addr: 80", "rate_limits: {limit: 10/s}")[0]


def test_a_second_version_file_has_the_same_tunnels(tunnels):
    (one,) = tunnels(["addr: 8000", "edge: shop"], version=2)
    assert one.edge == "shop"


def test_row159_what_is_not_known_or_says_nothing_is_an_error_with_its_line(problems):
    assert problems(
        "colour: red", "oauth: {provider: google}", "ip_restriction: {allow: [x]}", "oidc:", "basic_auth: []",
        "request_header: yes", "pooling_enabled: perhaps", "weight: 101", "labels: a=b", "proto: tls", "metadata:",
    ) == [
        "4: unknown key tunnels.web.colour",
        f"6: tunnels.web.ip_restriction.allow restricts access and is not implemented here; {SEE_KEYS}",
        f"5: tunnels.web.oauth is not implemented here; {INSTEAD['oauth']}",
        "7: tunnels.web.oidc has no value, or one of the wrong kind",
        "8: basic_auth has no value",
        "9: tunnels.web.request_header has no value, or one of the wrong kind",
        "10: pooling_enabled has a value of the wrong kind",
        "11: weight has a value of the wrong kind",
        "12: labels has a value of the wrong kind",
        "13: proto: invalid protocol name 'tls', only http and tcp can be served",
        "14: metadata has no value",
        "3: tunnels.web: addr is missing",
    ]  # fmt: skip


def test_row159_a_rule_that_is_not_known_is_an_error_in_a_second_version_file_too(problems):
    assert "restricts access" in problems("addr: 80", "oidc: {issuer: https://acme.okta.com}", version=2)[0]


def test_two_keys_for_one_thing_are_one_too_many(tunnels):
    (one,) = tunnels(["addr: 80", "domain: a.example", "hostname: b.example"])
    (said,) = one.problems
    assert said.endswith(":6: hostname says what another key has said already")


@pytest.mark.parametrize("text", ["web: 80", "web: ", "web: [80]"])
def test_a_tunnel_without_keys_cannot_be_started_and_keeps_its_neighbour(text, tmp_path):
    path = tmp_path / "tunnel.yml"
    path.write_text(f"version: 3\ntunnels:\n  {text}\n  shop: {{addr: 80}}\n")
    web, shop = load(path).tunnels
    assert "it needs at least `addr:`" in web.problems[0]
    assert shop.problems == ()


@pytest.mark.parametrize("text", ["tunnels: [a]", "tunnels: text"])
def test_what_is_no_tunnel_is_an_error(text, tmp_path):
    path = tmp_path / "tunnel.yml"
    path.write_text(f"version: 3\n{text}\n")
    with pytest.raises(FileInvalid, match="wrong kind"):
        load(path)


def test_every_key_fills_a_member_that_is_there():
    assert {member for member, _ in OWN.values()} <= set(FileTunnel.__dataclass_fields__)
    assert set(RULES) == {row.key for row in FIELDS if row.key}
    assert {"oidc", "ip_restriction", "rate_limit", "request_header", "response_header"} == INNER


def test_row158_a_secret_in_the_file_does_not_show_in_a_traceback(tunnels):
    (one,) = tunnels(["addr: 80", "oidc: {client_secret: sesame}", "basic_auth: ['a:open-sesame']"])
    assert "sesame" not in repr(one)
