import io
from dataclasses import replace

import pytest

from tests.policy.making import typed
from tunnelctl.agent.address import AddressInvalid
from tunnelctl.agent.configfile import ConfigFiles
from tunnelctl.agent.hostnames import host_name, label, parse_public_url
from tunnelctl.agent.job_identity import GITLAB_TOKEN, REQUEST_TOKEN, REQUEST_URL, JobIdentity
from tunnelctl.cli.flag_values import StartFlags, TunnelFlags
from tunnelctl.cli.settings import SettingsInvalid, resolve
from tunnelctl.policy.check import OF_CONNECTIONS
from tunnelctl.policy.fields import FIELDS
from tunnelctl.policy.parse import PolicyTexts


@pytest.fixture
def given(tmp_path):
    """Resolve flags over an environment and a file of the test's own."""

    def settings(file="version: 3\n", environ=None, stdin="", **flags):
        path = tmp_path / "tunnel.yml"
        path.write_text(file)
        return resolve(
            TunnelFlags(**{"address": "3000", "config": ConfigFiles((path,)), **flags}),
            environ=environ or {},
            stdin=io.StringIO(stdin),
        )

    return settings


def problems(given, **flags):
    with pytest.raises(SettingsInvalid) as caught:
        given(**flags)
    return caught.value.problems


def test_without_flags_it_dials_the_relay_of_this_machine(given):
    agent = given().agent
    assert (agent.relay.url, agent.token, agent.relay_ca) == ("http://127.0.0.1:8080", "", None)
    assert agent.tunnels[0].upstream.url == "http://localhost:3000"
    assert agent.tunnels[0].name == "command_line"


def test_the_file_gives_what_flags_do_not(given):
    file = "version: 3\nagent: {authtoken: from-file, connect_url: https://file.example}\n"
    assert given(file).agent.token == "from-file"
    agent = given(file, relay="https://flag.example", authtoken="env:T", environ={"T": "from-env"}).agent
    assert (agent.relay.url, agent.token) == ("https://flag.example", "from-env")


GITHUB = {"GITHUB_ACTIONS": "true", REQUEST_URL: "https://t.example/", REQUEST_TOKEN: "request-secret"}


def test_oidc_as_authtoken_is_the_ci_jobs_own_identity(given):
    typed = given(authtoken="oidc", typed=frozenset({"authtoken"}), environ=GITHUB)
    by_file = given("version: 3\nagent: {authtoken: oidc}\n", environ={GITLAB_TOKEN: "a.b.c"})
    assert (typed.agent.token, typed.notices) == ("", ())
    assert typed.agent.job == JobIdentity(
        system="GitHub", request_url="https://t.example/", request_token="request-secret"
    )
    assert by_file.agent.job == JobIdentity(system="GitLab", given="a.b.c")
    assert "request-secret" not in repr(typed.agent)


def test_oidc_as_authtoken_outside_of_a_ci_job_is_a_mistake(given):
    assert problems(given, authtoken="oidc", environ={"CI": "true"}) == [
        "--authtoken: oidc stands for a CI job's ID token, and this is no job"
    ]


def test_every_mistake_is_reported_at_once(given):
    said = problems(
        given,
        address="nowhere",
        relay="http://tun.example",
        relay_ca="/no/such.pem",
        subdomain="a_b",
        authtoken="env:NOPE",
        policy=typed(oidc_allow_email=("a@x.org",)),
    )
    assert [text.partition(":")[0] for text in said] == [
        "--relay", "--authtoken", "--relay-ca", "nowhere", "--subdomain", "--oidc-allow-email",
    ]  # fmt: skip


def test_a_mistake_in_the_file_names_its_line(given, tmp_path):
    assert problems(given, file="version: 3\nagent:\n  colour: red\n") == [
        f"{tmp_path / 'tunnel.yml'}:3: unknown key agent.colour"
    ]


def test_a_client_secret_that_cannot_be_read_is_not_also_missing(given):
    rules = typed(oidc="https://acme.okta.com", oidc_client_id="id", oidc_client_secret="env:NOPE")
    assert problems(given, policy=rules) == ["--oidc-client-secret: the environment variable NOPE is not set"]


def test_a_flag_given_as_nothing_is_a_mistake_and_not_a_flag_left_out(given):
    assert problems(given, emptied=frozenset({"oidc"})) == ["--oidc: its value is empty"]


def test_only_one_flag_names_the_address(given):
    assert problems(given, subdomain="a", url="https://b.example") == [
        "--subdomain and --url: only one of them names the address"
    ]


@pytest.mark.parametrize(
    ("flags", "subdomain", "host"),
    [
        ({}, None, None),
        ({"subdomain": "Demo"}, "demo", None),
        ({"domain": "demo.tun.example"}, None, "demo.tun.example"),
        ({"url": "https://demo.tun.example"}, None, "demo.tun.example"),
        ({"url": "http://demo.localhost:8080"}, None, "demo.localhost"),
        ({"url": "https://"}, None, None),
    ],
)
def test_the_address_is_asked_for(given, flags, subdomain, host):
    tunnel = given(**flags).agent.tunnels[0]
    assert (tunnel.subdomain, tunnel.host) == (subdomain, host)


@pytest.mark.parametrize(
    "text", ["tcp://a.example", "https://a.example/path", "https://a:b", "u@a.example", "a b", "[::1"]
)
def test_what_is_no_public_address(text):
    with pytest.raises(AddressInvalid):
        parse_public_url(text)


@pytest.mark.parametrize("text", ["", "-a", "a-", "a_b", "a.b", "é", "a" * 64])
def test_what_is_no_label(text):
    with pytest.raises(AddressInvalid):
        label(text)


@pytest.mark.parametrize("text", ["", ".", "a..b", "a_b.example", "a" * 254])
def test_what_is_no_host_name(text):
    with pytest.raises(AddressInvalid):
        host_name(text)


def test_a_secret_typed_on_the_command_line_is_warned_of_without_being_repeated(given):
    """Row 156."""
    settings = given(authtoken="sesame", typed=frozenset({"authtoken"}))
    assert len(settings.notices) == 1
    assert "sesame" not in settings.notices[0]
    assert not given(authtoken="sesame").notices
    assert not given(authtoken="-", stdin="sesame\n", typed=frozenset({"authtoken"})).notices


def test_a_password_for_visitors_may_come_from_a_variable_or_a_file(given, tmp_path):
    """Row 156."""
    (tmp_path / "pair").write_text("bob:hush-hush\n")
    rules = typed(basic_auth=("env:PAIR", f"file:{tmp_path / 'pair'}"))
    settings = given(policy=rules, environ={"PAIR": "ann:open-sesame"})

    assert settings.agent.tunnels[0].policy.basic_auth == ("ann:open-sesame", "bob:hush-hush")
    assert not settings.notices


def test_a_password_typed_on_the_command_line_is_warned_of_without_being_repeated(given):
    """Row 156."""
    settings = given(policy=typed(basic_auth=("ann:open-sesame",)), typed=frozenset({"basic_auth"}))

    assert settings.agent.tunnels[0].policy.basic_auth == ("ann:open-sesame",)
    assert len(settings.notices) == 1
    assert "sesame" not in settings.notices[0]


EVERY_RULE = PolicyTexts(tuple((row.path, "env:NOPE" if row.kind == "secret" else "x") for row in FIELDS))


@pytest.mark.parametrize(("how", "flag"), [({"edge": "shop"}, "--edge"), ({"labels": ("a=b",)}, "--label")])
def test_row159_a_rule_beside_an_edge_is_refused_and_not_lost(given, how, flag):
    with pytest.raises(SettingsInvalid) as caught:
        given(policy=EVERY_RULE, subdomain="a", pooling=True, **how)
    (said,) = caught.value.problems
    assert said.endswith(f": not together with {flag}; an edge's rules are kept at the relay")
    assert said.partition(": ")[0].split(", ") == ["--subdomain", "--pooling-enabled", *(row.flag for row in FIELDS)]
    assert "tunnel api" in caught.value.hint


@pytest.mark.parametrize(
    "flags", [TunnelFlags(address="80", labels=("a=b",)), TunnelFlags(address="80", is_tcp=True), StartFlags()]
)
def test_row159_a_login_that_a_variable_asks_for_is_refused_and_not_lost(flags, tmp_path):
    path = tmp_path / "tunnel.yml"
    path.write_text("version: 3\ntunnels: {web: {addr: 80}}\n")
    environ = {"TUNNELCTL_OIDC": "https://acme.okta.com"}
    with pytest.raises(SettingsInvalid, match="TUNNELCTL_OIDC: this command takes no --oidc") as caught:
        resolve(replace(flags, config=ConfigFiles((path,))), environ=environ, stdin=io.StringIO())
    assert caught.value.hint.startswith("unset it; ")


def test_row159_a_variable_for_the_login_without_a_value_is_a_mistake_and_no_open_tunnel(given):
    environ = {"TUNNELCTL_OIDC": "", "TUNNELCTL_OIDC_CLIENT_ID": "", "TUNNELCTL_OIDC_CLIENT_SECRET": ""}
    assert problems(given, environ=environ) == [
        "TUNNELCTL_OIDC: its value is empty, and visitors would not have to log in"
    ]
    named = typed(oidc="@work")
    assert given(environ=environ, policy=named, typed=frozenset({"oidc"})).agent.tunnels[0].policy.oidc is not None
    assert given(environ=environ, edge="shop").agent.tunnels[0].edge == "shop"


@pytest.mark.parametrize("name", ["subdomain", "domain", "url"])
def test_an_edge_has_its_address_already(given, name):
    assert problems(given, edge="shop", **{name: "a.example"})[0].startswith(f"--{name}: not together with --edge")


def test_a_tunnel_that_joins_has_what_was_asked_and_no_rules(given):
    texts = {"description": "the shop", "metadata": "blue", "name": "web"}
    tunnel = given(labels=("edge=edghts_1", "b=2"), weight=5, **texts).agent.tunnels[0]
    assert (tunnel.labels, tunnel.weight, tunnel.description, tunnel.metadata, tunnel.name) == (
        (("edge", "edghts_1"), ("b", "2")), 5, "the shop", "blue", "web",
    )  # fmt: skip
    assert tunnel.upstream.url == "http://localhost:3000"
    assert given(edge="shop").agent.tunnels[0].edge == "shop"


def test_a_weight_is_of_use_beside_others_only(given):
    assert problems(given, weight=2) == ["--weight: needs --pooling-enabled, or an edge"]
    assert given(weight=2, pooling=True).agent.tunnels[0].weight == 2
    assert given(edge="shop", weight=2).agent.tunnels[0].weight == 2


NETWORKS = PolicyTexts((("cidr_allow", "192.0.2.0/24"), ("cidr_deny", "192.0.2.7")))


@pytest.mark.parametrize(
    ("wish", "host"),
    [
        ("", "tcp://"),
        ("20022", "tcp://:20022"),
        ("TUN.example:20022", "tcp://tun.example:20022"),
        ("tcp://tun.example:20022", "tcp://tun.example:20022"),
    ],
)
def test_a_tcp_tunnel_asks_for_a_port_with_rules_about_networks(given, wish, host):
    (tunnel,) = given(address="22", is_tcp=True, remote_addr=wish, policy=NETWORKS).agent.tunnels
    assert (tunnel.host, tunnel.upstream.url, tunnel.is_tcp) == (host, "tcp://localhost:22", True)
    assert (tunnel.policy.cidr_allow, tunnel.policy.cidr_deny) == (("192.0.2.0/24",), ("192.0.2.7/32",))


def test_row159_a_rule_about_requests_is_refused_and_not_lost_for_tcp(given):
    with pytest.raises(SettingsInvalid) as caught:
        given(address="22", is_tcp=True, policy=EVERY_RULE, subdomain="a", edge="b")
    (said,) = caught.value.problems
    assert said.endswith(": not for tcp")
    of_requests = [row.flag for row in FIELDS if row.path not in OF_CONNECTIONS]
    assert said.partition(": ")[0].split(", ") == ["--subdomain", "--edge", *of_requests]
    assert "--cidr-allow" in caught.value.hint


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"address": "localhost"}, "localhost: no port"),
        ({"address": "http://localhost:80"}, "a tcp service is named by its port"),
        ({"remote_addr": "tun.example"}, "--remote-addr: tun.example: the address of a tcp tunnel"),
        ({"remote_addr": "0"}, "--remote-addr: 0: a port is a number from 1 to 65535"),
        ({"weight": 2}, "--weight: needs --pooling-enabled"),
    ],
)
def test_what_is_wrong_with_a_tcp_tunnel_is_told(given, flags, said):
    assert any(said in problem for problem in problems(given, **{"address": "22", "is_tcp": True, **flags}))


def test_a_port_is_for_tcp_only(given):
    assert problems(given, remote_addr="20022") == [
        "--remote-addr: only for tcp; a web address is named by --subdomain or --domain"
    ]


def test_a_tcp_tunnel_of_the_file_is_as_one_of_the_command_line(given, tmp_path):
    path = tmp_path / "tcp.yml"
    path.write_text(
        "version: 3\ntunnels:\n  db:\n    proto: tcp\n    addr: 5432\n    remote_addr: 20432\n"
        "    ip_restriction: {allow_cidrs: [192.0.2.0/24]}\n"
    )
    (tunnel,) = resolve(StartFlags(config=ConfigFiles((path,))), environ={}, stdin=io.StringIO()).agent.tunnels
    assert (tunnel.name, tunnel.host, tunnel.upstream.url) == ("db", "tcp://:20432", "tcp://localhost:5432")
    assert tunnel.policy.cidr_allow == ("192.0.2.0/24",)


def test_a_directory_or_a_socket_is_a_local_service(given, tmp_path):
    (tunnel,) = given(address=tmp_path.as_uri()).agent.tunnels
    assert (tunnel.upstream.url, tunnel.is_tcp) == (tmp_path.as_uri(), False)
    (tunnel,) = given(address=f"unix:{tmp_path}/db", is_tcp=True).agent.tunnels
    assert (tunnel.upstream.url, tunnel.is_tcp) == (f"unix:{tmp_path}/db", True)
    file = f"version: 3\nendpoints:\n  - {{name: a, upstream: {{url: 'file://{tmp_path}'}}}}\n"
    (tmp_path / "a.yml").write_text(file)
    files = StartFlags(config=ConfigFiles((tmp_path / "a.yml",)))
    (tunnel,) = resolve(files, environ={}, stdin=io.StringIO()).agent.tunnels
    assert tunnel.upstream.url == tmp_path.as_uri()


def test_a_path_that_cannot_be_used_is_a_mistake(given, tmp_path):
    assert problems(given, address=f"file://{tmp_path}/none") == [f"file://{tmp_path}/none: there is no such directory"]
    assert "it is not a directory" in problems(given, address=f"file://{tmp_path}/tunnel.yml")[0]
    assert "it is not a unix socket" in problems(given, address=f"unix:{tmp_path}/tunnel.yml")[0]
    assert problems(given, address=tmp_path.as_uri(), proxy_protocol="1") == [
        "--upstream-proxy-protocol: not for a directory; no service is there that reads it"
    ]


def test_a_service_without_a_host_gets_localhost_in_its_place(given, tmp_path):
    rewrite = PolicyTexts((("host_header", "rewrite"),))
    for address in (f"unix:{tmp_path}/app.sock", tmp_path.as_uri()):
        assert given(address=address, policy=rewrite).agent.tunnels[0].policy.host_header == "localhost"
    assert given(address="3000", policy=rewrite).agent.tunnels[0].policy.host_header == "rewrite"


def test_that_a_whole_machine_or_home_is_published_is_told(given, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "site").mkdir()
    for address in ("file:///", tmp_path.as_uri()):
        assert given(address=address).notices == (
            f"{address}: publishes all files below it, except those that begin with a dot",
        )
    assert given(address=f"{tmp_path.as_uri()}/site").notices == ()


@pytest.mark.parametrize(
    ("size", "bytes_"),
    [("", 50_000_000), ("0", 50_000_000), ("-1", 0), ("1000000", 1_000_000), ("999999999999", 999_999_999_999)],
)
def test_the_inspectors_memory_is_what_the_file_says(given, size, bytes_):
    file = f"version: 3\nagent: {{inspect_db_size: {size}}}\n" if size else "version: 3\n"
    assert given(file).inspect_bytes == bytes_


@pytest.mark.parametrize("size", ["-2", "50MB", "1e6", "1.5", "9999999999999"])
def test_a_size_that_is_no_number_of_bytes_is_a_mistake(given, size):
    (said,) = problems(given, file=f"version: 3\nagent: {{inspect_db_size: {size}}}\n")
    assert said.endswith("inspect_db_size: a number of bytes, 0 for 50 MB, -1 for none")


def test_a_tunnel_is_inspected_unless_told_otherwise(given):
    assert given().agent.tunnels[0].inspect is True
    assert given(inspect=False).agent.tunnels[0].inspect is False
    assert given(edge="shop", inspect=False).agent.tunnels[0].inspect is False
