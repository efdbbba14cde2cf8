import contextlib
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.policy.making import typed
from tests.support.every import every
from tunnelctl.agent.configfile import RESTRICTING, ConfigFiles, default_path, load
from tunnelctl.agent.tunnelfile import FileTunnel
from tunnelctl.agent.unsupported import IN_A_DEFINITION, IN_A_TUNNEL, INSTEAD, MAY_BE_OFF, OF_THE_AGENT, WITHOUT_EFFECT
from tunnelctl.agent.yamlfile import MAX_FILE, FileInvalid, parse

TUNNEL = "tunnels:\n  web:\n    addr: 80\n"


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "tunnel.yml"
        path.write_text(text)
        return path

    return write


def problems(path):
    with pytest.raises(FileInvalid) as caught:
        load(path)
    return [problem.removeprefix(f"{path}:") for problem in caught.value.problems]


def test_a_file_in_ngroks_third_schema_is_read(file):
    config = load(
        file(
            "version: 3\nagent:\n  authtoken: tok\n  connect_url: https://tun.example\n  connect_cas: /ca.pem\n"
            "  log: stdout\n  log_format: json\n  log_level: debug\n  console_ui: false\n"
        )
    )
    assert (config.authtoken, config.connect_url, config.connect_cas) == ("tok", "https://tun.example", "/ca.pem")
    assert (config.log, config.log_format, config.log_level, config.console_ui) == ("stdout", "json", "debug", "false")
    assert config.exists


def test_the_file_that_pyngrok_writes_is_enough(file):
    assert load(file("version: '3'\n")).authtoken == ""


def test_an_empty_file_says_nothing(file):
    assert load(file("# nothing yet\n")).authtoken == ""


def test_the_default_file_need_not_be_there_but_a_named_one_must(tmp_path):
    assert not load(tmp_path / "no.yml").exists
    with pytest.raises(FileInvalid, match="no such file"):
        load(tmp_path / "no.yml", must_exist=True)


def test_every_unknown_key_is_named_with_its_line(file):
    text = "version: 3\nagent:\n  authtoken: t\n  authtokn: t\n  colour: red\n  crt: x\nlog: x\ntunnel: {}\n"
    assert problems(file(text)) == [
        "4: unknown key agent.authtokn; did you mean `authtoken`?",
        "5: unknown key agent.colour",
        f"6: unknown key agent.crt; {INSTEAD['crt']}",
        "7: unknown key log; it stands below `agent:`",
        "8: unknown key tunnel; did you mean `tunnels`?",
    ]


def test_a_key_that_restricts_access_is_refused_in_every_version(file):
    assert "restricts access" in problems(file("version: 3\nagent:\n  traffic_policy: x\n"))[0]
    assert "restricts access" in problems(file("version: 2\nbasic_auth: [a:b]\n"))[0]
    assert "oauth" in RESTRICTING


@pytest.mark.parametrize("key", sorted(RESTRICTING))
def test_a_key_that_restricts_access_is_refused_with_another_way(file, key):
    (said,) = problems(file(f"version: 3\nagent:\n  {key}: x\n"))
    assert said.startswith(f"3: agent.{key} restricts access and is not implemented here; ")
    assert (INSTEAD | IN_A_TUNNEL)[key] in said


ENDPOINTS = """\
version: 3
endpoints:
  - name: web
    url: https://demo.tun.example
    description: the shop
    metadata: blue
    pooling_enabled: true
    bindings: [public]
    inspect: false
    upstream: {url: http://localhost:8080, protocol: http1}
    basic_auth: ["ann:long-enough"]
  - name: ssh
    url: tcp://tun.example:20022
    upstream:
      url: 22
  - name: any
    url: tcp://
    upstream: {url: "localhost:22"}
  - name: random
    url: ""
    upstream: {url: 80}
"""


def test_endpoints_of_a_third_version_file_are_read_as_they_are(file):
    web, ssh, any_port, random = load(file(ENDPOINTS)).tunnels
    assert web == FileTunnel(
        name="web", addr="http://localhost:8080", url="https://demo.tun.example", description="the shop",
        metadata="blue", pooling=True, inspect=False, policy=typed(basic_auth=("ann:long-enough",)),
    )  # fmt: skip
    assert ssh == FileTunnel(name="ssh", addr="22", is_tcp=True, remote_addr="tun.example:20022")
    assert any_port == FileTunnel(name="any", addr="localhost:22", is_tcp=True)
    assert random == FileTunnel(name="random", addr="80")
    assert ssh.where.endswith(":12: endpoints.ssh")


@every(
    "lines, said",
    [
        ("traffic_policy: {on_http_request: [{actions: [{type: deny}]}]}", "traffic_policy is not implemented here"),
        ("traffic_policy_file: f.yml", "traffic_policy_file is not implemented here"),
        (
            "agent_tls_termination: {mutual_tls_certificate_authorities: [x]}",
            "agent_tls_termination is not implemented",
        ),
        ("bindings: [internal]", "bindings: every endpoint is public"),
        ("url: tls://", "invalid protocol name 'tls'"),
        ("upstream: {url: 80, protocol: http2}", "upstream.protocol is not implemented here"),
        ("upstream: {protocol: http1}", "upstream.url is missing"),
        ("upstream: 80", "upstream has a value of the wrong kind"),
        ("upstream: {url: 80}\n    addr: 81", "upstream.url says what addr has said already"),
        ("metadata: [a]", "metadata has a value of the wrong kind"),
        ("metadata: a", "upstream.url is missing"),
    ],
)
def test_an_endpoint_that_cannot_be_honoured_keeps_no_other_from_starting(file, lines, said):
    config = load(file(f"version: 3\nendpoints:\n  - name: bad\n    {lines}\n  - {{name: a, upstream: {{url: 80}}}}\n"))
    bad, good = config.tunnels
    assert any(said in problem for problem in bad.problems)
    assert good.problems == ()


def test_an_endpoint_without_a_name_is_no_error_of_the_file(file):
    nameless, text, web = load(file("version: 3\nendpoints:\n  - {upstream: {url: 80}}\n  - text\n" + TUNNEL)).tunnels
    assert "an endpoint needs a `name:`" in nameless.problems[0]
    assert "an endpoint needs a `name:`" in text.problems[0]
    assert web.problems == ()
    assert load(file("version: 3\nendpoints: []\ntunnels:\n")).tunnels == ()
    assert "wrong kind" in problems(file("version: 3\nendpoints: text\n"))[0]


@every(
    "key", ["verfy_webhook: x", "trafic_policy: {}", "upstream: {url: 80, deny: x}", "upstrem: {url: 80}", "addres: 80"]
)
def test_a_misspelt_key_of_an_endpoint_is_an_error_of_the_whole_file(file, key):
    assert problems(file("version: 3\nendpoints:\n  - name: a\n    " + key + "\n" + TUNNEL))


@every("key", sorted(IN_A_DEFINITION))
@every("version", ["2", "3"])
def test_what_only_ngrok_has_is_a_problem_of_its_tunnel_with_another_way(file, version, key):
    config = load(file(f"version: {version}\n{TUNNEL}  bad: {{addr: 81, {key}: {{x: 1}}}}\n"))
    web, bad = config.tunnels
    assert web.problems == ()
    assert bad.problems[0].endswith(f": tunnels.bad.{key} is not implemented here; {INSTEAD[key]}")


@every("key", sorted(MAY_BE_OFF))
@every("value", ["false", "0", "''"])
def test_what_only_ngrok_has_may_be_switched_off(file, key, value):
    assert load(file(f"version: 2\n{TUNNEL}    {key}: {value}\n")).tunnels[0] == FileTunnel(name="web", addr="80")


def test_no_proxy_header_may_be_asked_for_in_words(file):
    (web,) = load(file(f"version: 2\n{TUNNEL}    proxy_proto: ''\n")).tunnels
    assert web == FileTunnel(name="web", addr="80")


@every("key", sorted(WITHOUT_EFFECT))
@every("version", ["2", "3"])
def test_a_key_of_a_tunnel_that_says_nothing_here_changes_nothing(file, version, key):
    config = load(file(f"version: {version}\n{TUNNEL}    {key}: x\n"))
    assert (config.tunnels, config.warnings) == ((FileTunnel(name="web", addr="80"),), ())


@every("key", sorted(OF_THE_AGENT))
def test_a_key_about_the_agent_that_has_no_effect_is_told_of(file, key):
    for text in (f"version: 2\n{key}: [x]\n", f"version: 3\nagent: {{{key}: x}}\n"):
        (warning,) = load(file(text)).warnings
        assert warning.endswith(f"{key} has no effect here")


def test_older_keys_of_a_tunnel_mean_the_same(file):
    older = "app_protocol: http1, proxy_proto: '2', auth: 'ann:long-enough', bind_tls: true"
    text = f"version: 2\ntunnels:\n  web: {{addr: 80, proto: http, {older}}}\n"
    (web,) = load(file(text)).tunnels
    assert (web.problems, web.proxy_protocol) == ((), "2")
    assert (web.policy, web.schemes) == (typed(basic_auth=("ann:long-enough",)), ("https",))


@every(
    "line",
    [
        "auth: ''",
        "auth:",
        "auth: [a]",
        "bind_tls: perhaps",
        "bind_tls: true, schemes: [http]",
        "auth: a, basic_auth: [b]",
    ],
)
def test_an_older_key_that_says_nothing_is_a_problem(file, line):
    (web,) = load(file(f"version: 2\ntunnels:\n  web: {{addr: 80, {line}}}\n")).tunnels
    assert len(web.problems) == 1


@every("bad", [
        "proto: tls", "proto: udp", "addr:", "addr: [80]", "weight: heavy", "labels: a=b", "basic_auth: []", "oidc:",
        "ip_restriction: yes", "pooling_enabled: maybe", "crt: /c.pem", "metadata: ",
        "upstream: {protocol: http2}", "request_header: {add: x}",
    ])  # fmt: skip
@every("version", ["2", "3"])
def test_what_cannot_be_served_is_a_problem_of_its_tunnel_alone(file, version, bad):
    lines = ("" if bad.startswith("addr") else "    addr: 81\n") + f"    {bad}\n"
    config = load(file(f"version: {version}\n{TUNNEL}  bad:\n{lines}  shop: {{addr: 82}}\n"))
    web, other, shop = config.tunnels
    assert (web.problems, shop.problems, shop.addr) == ((), (), "82")
    assert other.problems
    assert config.warnings == ()


def test_with_an_error_of_the_file_those_of_its_tunnels_are_told_too(file):
    assert problems(file(f"version: 3\n{TUNNEL}    proto: tls\n  shop: {{adr: 80}}\n")) == [
        "6: unknown key tunnels.shop.adr; did you mean `addr`?",
        "5: proto: invalid protocol name 'tls', only http and tcp can be served",
        "6: tunnels.shop: addr is missing",
    ]


def test_an_unknown_key_in_a_second_version_file_is_a_warning(file):
    config = load(file("version: 2\nauthtoken: tok\nserver_addr: tun.example:443\nroot_cas: trusted\nregion: eu\n"))
    assert (config.authtoken, config.connect_url, config.connect_cas) == ("tok", "tun.example:443", "")
    assert [warning.partition(": ")[2] for warning in config.warnings] == ["region has no effect here"]


@pytest.mark.parametrize("text", ["agent: {}\n", "version: 1\n", "version:\n"])
def test_a_file_says_its_version(file, text):
    assert "version" in problems(file(text))[0]


@pytest.mark.parametrize(
    "text", ["- a\n", "a: b: c\n", "\tx: 1\n", "version: 3\nversion: 3\n", "{", "text", "a: &a [*a]"]
)
def test_what_is_no_mapping_is_an_error_with_a_line(file, text):
    assert problems(file(text))


@pytest.mark.parametrize("text", ["version: 3\nagent: text\n", "version: 3\nagent:\n  authtoken: [a]\n"])
def test_a_value_of_the_wrong_kind_is_an_error(file, text):
    assert "wrong kind" in problems(file(text))[0]


def test_a_token_does_not_show_in_a_traceback(file):
    """Row 158."""
    assert "sesame" not in repr(load(file("version: 3\nagent: {authtoken: sesame}\n")))


def test_a_file_that_is_too_large_or_not_text_is_an_error(tmp_path):
    """Row 160."""
    path = tmp_path / "f"
    path.write_bytes(b"#" * (MAX_FILE + 1))
    with pytest.raises(FileInvalid, match="larger than"):
        load(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(FileInvalid, match="UTF-8"):
        load(path)


LAUGHS = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{p: *a{n - 1}, q: *a{n - 1}}}\n" for n in range(1, 30))


@pytest.mark.parametrize("text", [LAUGHS, "a: &a {b: *a}\n", "a: &a [1]\nb: *a\n"])
def test_row160_a_file_that_unfolds_is_an_error_with_its_line(text):
    with pytest.raises(FileInvalid, match=r"f:[12]: .*aliases"):
        parse(text, Path("f"))


def test_row160_a_deep_file_is_an_error():
    with pytest.raises(FileInvalid, match="not YAML"):
        parse("a: " + "{b: " * 20_000 + "}" * 20_000, Path("f"))


def test_row160_a_file_is_data_and_nothing_in_it_runs_or_is_looked_up(monkeypatch):
    monkeypatch.setenv("SECRET", "sesame")
    made = parse("a: !!python/object/apply:os.system ['exit 1']\nb: ${SECRET}\nc: $SECRET\n", Path("f"))

    assert [entry.value for entry in made.values()] == [("exit 1",), "${SECRET}", "$SECRET"]


@given(st.text(max_size=60))
def test_any_text_is_a_mapping_or_a_documented_error(text):
    with contextlib.suppress(FileInvalid):
        assert isinstance(parse(text, Path("f")), dict)


def test_the_file_lies_where_the_platform_keeps_configuration(tmp_path):
    assert default_path().name == "tunnel.yml"
    assert default_path().parent.name == "tunnelctl"


def test_of_several_files_the_later_wins_key_by_key_and_tunnel_by_tunnel(tmp_path):
    one, two = tmp_path / "one.yml", tmp_path / "two.yml"
    one.write_text("version: 3\nagent: {authtoken: first, log: stdout}\ntunnels: {a: {addr: 1}, b: {addr: 2}}\n")
    two.write_text("version: 2\nauthtoken: second\nregion: eu\ntunnels: {c: {addr: 3}}\n")
    config = ConfigFiles((one, two)).load()
    assert (config.authtoken, config.log) == ("second", "stdout")
    assert [(tunnel.name, tunnel.addr) for tunnel in config.tunnels] == [("a", "1"), ("b", "2"), ("c", "3")]
    assert (config.where("authtoken"), config.where("log")) == (f"{two}: authtoken", f"{one}: log")
    assert len(config.warnings) == 1


def test_a_tunnel_that_replaces_one_of_another_file_is_warned_of(tmp_path):
    """Its rules are gone."""
    one, two = tmp_path / "one.yml", tmp_path / "two.yml"
    one.write_text("version: 3\ntunnels:\n  a: {addr: 1, basic_auth: ['ann:long-enough']}\n")
    two.write_text("version: 3\ntunnels:\n  a: {addr: 2}\n")
    config = ConfigFiles((one, two)).load()
    assert config.tunnels[0].policy.given() == []
    assert config.warnings == (f"{two}:3: tunnels.a replaces {one}:3: tunnels.a, with its rules",)


def test_the_mistakes_of_several_files_are_told_at_once(tmp_path):
    one, two = tmp_path / "one.yml", tmp_path / "two.yml"
    one.write_text("version: 3\nagnet: {}\n")
    with pytest.raises(FileInvalid) as caught:
        ConfigFiles((one, two)).load()
    assert [said.rpartition(": ")[0] for said in caught.value.problems] == [f"{one}:2", f"{two}"]


MISSPELT = [
    "basicauth", "basic-auth", "basic_atuh", "basicAuth", "BASIC_AUTH", "httpauth", "oath", "iodc", "odic",
    "oidc_allow_emails", "allow_email", "allowed_emails", "ip_restrictions", "ip_restricton", "iprestriction",
    "cidr_alow", "deny_cidr", "mutual_tls", "mtls_ca", "verify_webhooks", "verfy_webhook", "trafic_policy",
    "traffic-policy", "policies", "user_agent_filters", "jwt_issuer", "password", "passwords", "login", "whitelist",
]  # fmt: skip


@every("key", MISSPELT)
@every("version", ["2", "3"])
def test_what_looks_like_a_restriction_is_an_error_in_every_version_and_place(file, version, key):
    """Published all the same, the app would be open to everybody."""
    (inside,) = problems(file(f"version: {version}\n{TUNNEL}    {key}: [x]\n"))
    assert inside.startswith("5: ")
    assert key in inside
    (outside,) = problems(file(f"version: {version}\n{key}: x\n{TUNNEL}"))
    assert key in outside


@pytest.mark.parametrize(
    "deep",
    [
        "security: {basic_auth: [a:b]}",
        "modules: [{name: x}, {oauth: {provider: google}}]",
        "extra: {a: {b: [{c: {ip_restriction: {}}}]}}",
        "colour: {verfy_webhook: 1}",
        "upstream: {trafic_policy: x}",
    ],
)
@pytest.mark.parametrize("version", ["2", "3"])
def test_a_restriction_inside_a_key_that_is_not_known_is_found(file, version, deep):
    (said,) = problems(file(f"version: {version}\n{TUNNEL}    {deep}\n"))
    assert re.search("restrict(s|ed) access", said)


@pytest.mark.parametrize("key", ["adr: 80", "subdomian: a", "host_heder: x", "labls: [a=b]", "metdata: x"])
def test_a_misspelt_key_is_an_error_in_the_second_version_too(file, key):
    (said,) = problems(file(f"version: 2\n{TUNNEL}    {key}\n"))
    assert "did you mean" in said
