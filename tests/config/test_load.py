"""Where the relay's settings come from, and what is wrong with them."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.every import every
from tunnelrelay.config.config import SETTINGS, RelayConfig, default_data_dir, load_config, load_data_dir
from tunnelrelay.config.sources import ConfigError, variable_name
from tunnelrelay.config.values import ListenAddress, PublicOrigin


def load(file: Path | None = None, env: dict[str, str] | None = None, **flags: Any) -> RelayConfig:
    return load_config(flags=flags, env=env or {}, file=file)


def mistakes(file: Path | None = None, env: dict[str, str] | None = None, **flags: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(file, env, **flags)
    return [f"{problem.origin}: {problem.message}" for problem in caught.value.problems]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "relay.toml"


@pytest.fixture
def tls(tmp_path: Path) -> dict[str, Any]:
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_text("")
    return {"tls_cert": str(tmp_path / "cert.pem"), "tls_key": str(tmp_path / "key.pem")}


def test_without_any_source_the_relay_is_for_this_machine_and_needs_no_token() -> None:
    config = load()
    assert config.http == ListenAddress("127.0.0.1", 8080)
    assert (config.domain, config.scheme, config.https) == ("localhost", "http", None)
    assert config.is_local
    assert not config.needs_tokens
    assert config.given == frozenset()
    assert config.warnings == ()


def test_a_flag_wins_over_a_variable_over_the_file(file: Path) -> None:
    file.write_text("hold_seconds = 1\ndrain_seconds = 1\nidle_seconds = 1\n")
    env = {"TUNNELRELAY_DRAIN_SECONDS": "2", "TUNNELRELAY_IDLE_SECONDS": "2"}
    config = load(file, env, idle_seconds="3")
    assert (config.hold_seconds, config.drain_seconds, config.idle_seconds) == (1, 2, 3)
    assert config.given == {"hold_seconds", "drain_seconds", "idle_seconds"}


def test_flags_that_were_not_given_hide_nothing() -> None:
    config = load(env={"TUNNELRELAY_DOMAIN": "tun.localhost"}, domain=None, trusted_proxy=())
    assert config.domain == "tun.localhost"


def test_every_mistake_of_every_source_is_reported_at_once(file: Path) -> None:
    file.write_text('domian = "tun.example"\nlog_level = "loud"\ntrusted_proxy = [1]\n')
    found = mistakes(file, {"TUNNELRELAY_HOLD_SECONDS": "soon", "TUNNELRELAY_NOPE": "1"}, http="x", admin="y")
    assert [line.partition(": ")[0] for line in found] == [
        str(file),
        str(file),
        "TUNNELRELAY_NOPE",
        str(file),
        "TUNNELRELAY_HOLD_SECONDS",
        "--http",
        "--admin",
    ]


def test_a_misspelt_key_gets_the_nearest_one_as_a_hint(file: Path) -> None:
    file.write_text('trusted-proxy = "10.0.0.0/8"\n')
    with pytest.raises(ConfigError) as caught:
        load(file, {"TUNNELRELAY_DOMIAN": "x"})
    assert [problem.hint for problem in caught.value.problems] == [
        "did you mean `trusted_proxy`?",
        "did you mean `TUNNELRELAY_DOMAIN`?",
    ]


def test_variables_that_kubernetes_sets_for_a_service_called_tunnelrelay_are_no_mistake() -> None:
    load(env={"TUNNELRELAY_SERVICE_HOST": "10.0.0.1", "TUNNELRELAY_PORT_8080_TCP": "x", "TUNNELRELAY_PORT": "tcp://x"})


def test_variables_of_other_programs_are_none_of_ours() -> None:
    load(env={"TUNNEL_TOKEN": "x", "PATH": "/bin", "TUNNELCTL_RELAY": "x"})


@pytest.mark.parametrize("text", [b"http = ", b"\xff\xfe", b"x" * (2 << 20)])
def test_a_file_that_is_no_toml_is_a_mistake_of_that_file(file: Path, text: bytes) -> None:
    file.write_bytes(text)
    [line] = mistakes(file)
    assert line.startswith(f"{file}: ")


def test_a_missing_file_is_a_mistake(file: Path) -> None:
    [line] = mistakes(file)
    assert "cannot be read" in line


def test_tables_and_mixed_arrays_are_no_values(file: Path) -> None:
    file.write_text("[http]\nport = 1\n")
    assert mistakes(file) == [f"{file}: http: a value is text, a number, or an array of texts"]


RULE = {"owner": "acme", "issuer": "https://gitlab.com", "claims": {"project_id": "42"}, "acl": ["bind:pr-*"]}


def test_trust_rules_are_tables_in_the_file_and_json_elsewhere(file: Path) -> None:
    file.write_text(
        '[[trust_rule]]\nowner = "acme"\nissuer = "https://gitlab.com"\nacl = ["bind:pr-*"]\n'
        '[trust_rule.claims]\nproject_id = "42"\n[[trust_rule]]\nowner = "ops"\nissuer = "https://ci.example"\n'
        'acl = ["*"]\naudience = "a,b"\nclaims = {sub = "x"}\n'
    )
    first, second = load(file).trust_rule
    assert (first.owner, first.issuer, first.claims) == ("acme", "https://gitlab.com", {"project_id": "42"})
    assert (first.acl, first.audience) == (("bind:pr-*",), "")
    assert (second.owner, second.audience) == ("ops", "a,b")
    assert load(trust_rule=(json.dumps(RULE),)).trust_rule == (first,)
    assert load(env={"TUNNELRELAY_TRUST_RULE": json.dumps(RULE)}).trust_rule == (first,)


@every(
    "text, told",
    [
        ('trust_rule = "acme"\n', "write it as a table"),
        ("[trust_rule]\n", "write it as a table"),
        ("[[trust_rule]]\nowners = 1\n", "has no owners"),
        ('[[trust_rule]]\nowner = "acme"\n', "lacks acl, claims, issuer"),
        ('[[trust_rule]]\nowner = 1\nissuer = "x"\nacl = []\nclaims = {}\n', "owner of a trust rule is a text"),
        ('[[trust_rule]]\nowner = "a"\nissuer = "x"\nacl = "*"\nclaims = {}\n', "array of texts"),
        ('[[trust_rule]]\nowner = "a"\nissuer = "x"\nacl = []\nclaims = {project_id = 42}\n', "texts by name"),
    ],
)
def test_a_trust_rule_that_cannot_be_read_is_a_mistake(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "relay.toml"
    file.write_text(text)
    [line] = mistakes(file)
    assert told in line


@every("text", ["", "x", "[]", "7", "[" * 100_000])
def test_a_trust_rule_that_is_no_object_is_a_mistake(text: str) -> None:
    [line] = mistakes(trust_rule=(text,))
    assert "a trust rule is an object like" in line


def test_lists_come_from_repeated_flags_commas_and_arrays(file: Path) -> None:
    flagged = load(trusted_proxy=("10.0.0.0/8, 192.0.2.1", "2001:db8::/32"))
    assert [str(net) for net in flagged.trusted_proxy] == ["10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32"]
    file.write_text('trusted_proxy = ["10.0.0.0/8", "192.0.2.1"]\n')
    assert [str(net) for net in load(file).trusted_proxy] == ["10.0.0.0/8", "192.0.2.1/32"]


def test_ports_of_providers_are_numbers_in_any_source(file: Path) -> None:
    assert load(issuer_port=("443", "9443")).issuer_port == (443, 9443)
    assert load(env={"TUNNELRELAY_ISSUER_PORT": "443, 9443"}).issuer_port == (443, 9443)
    file.write_text("issuer_port = [443, 9443]\n")
    assert load(file).issuer_port == (443, 9443)
    for wrong in ("0", "65536", "https", "-1", "٤٤٣"):
        [line] = mistakes(issuer_port=(wrong,))
        assert "is no port" in line


def test_authorities_for_providers_are_looked_at_before_the_start(file: Path, tls: dict[str, Any]) -> None:
    [line] = mistakes(issuer_ca=str(file.parent / "none.pem"))
    assert "there is no file" in line
    file.write_text("domain = 'localhost'\n")
    [line] = mistakes(issuer_ca=str(file))
    assert "no certificate in PEM form" in line


def test_paths_in_the_file_start_from_the_file(file: Path, tls: dict[str, Any]) -> None:
    file.write_text('https = "127.0.0.1:0"\ntls_cert = "cert.pem"\ntls_key = "key.pem"\ndata_dir = "state"\n')
    config = load(file)
    assert str(config.tls_cert) == tls["tls_cert"]
    assert config.data_dir == file.parent / "state"


def test_under_systemd_data_lies_in_the_units_state_directory(tmp_path: Path) -> None:
    assert load(env={"STATE_DIRECTORY": f"{tmp_path}:/other"}).data_dir == tmp_path
    assert default_data_dir({}).name == "tunnelrelay"


def test_where_the_data_lies_is_known_even_when_the_rest_does_not_fit_together(file: Path) -> None:
    file.write_text('data_dir = "state"\nhttps = ":443"\n')
    assert load_data_dir(flags={}, env={}, file=file) == file.parent / "state"


def test_where_the_data_lies_is_an_error_when_a_source_is_wrong(file: Path) -> None:
    file.write_text('data_dri = "state"\n')
    with pytest.raises(ConfigError):
        load_data_dir(flags={}, env={}, file=file)


# Public and local


@pytest.mark.parametrize(
    "flags",
    [
        {"http": "0.0.0.0:8080"},
        {"http": ":8080"},
        {"http": "[::]:8080"},
        {"http": "192.0.2.1:80"},
        {"http": "somewhere:80"},
        {"http": "127.0.0.1:8080", "domain": "tun.example"},
        {"public_url": "https://*.tun.example"},
        {"public_url": "https://tun.example:8443", "http": "127.0.0.1:0"},
    ],
)
def test_a_relay_that_others_could_reach_needs_tokens(flags: dict[str, Any]) -> None:
    assert load(**flags).needs_tokens


def test_strangers_need_tokens_on_this_machine_too() -> None:
    assert not load(multi_tenant="false").needs_tokens
    config = load(multi_tenant="True", shared_callback_owner=("ann", "bob"))
    assert config.needs_tokens
    assert config.shared_callback_owner == ("ann", "bob")


@pytest.mark.parametrize("flags", [{"multi_tenant": "yes"}, {"shared_callback_owner": ("a b",)}])
def test_what_is_neither_true_nor_an_owner_is_refused(flags: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        load(**flags)


@pytest.mark.parametrize(
    "flags", [{}, {"http": "[::1]:0"}, {"http": "localhost:80"}, {"http": "9000"}, {"domain": "tun.localhost"}]
)
def test_a_relay_on_loopback_with_a_local_domain_needs_none(flags: dict[str, Any]) -> None:
    assert load(**flags).is_local


def test_tls_on_a_public_interface_needs_tokens_even_when_http_is_local(tls: dict[str, Any]) -> None:
    assert load(https=":443", **tls).needs_tokens


def test_plain_http_is_refused_for_a_public_domain() -> None:
    [line] = mistakes(domain="tun.example")
    assert line == (
        "--domain: plain http is refused for the public domain `tun.example`: logins could be read on the way"
    )
    assert "plain http is refused" in mistakes(domain="tun.example", http="0.0.0.0:80")[0]
    assert "plain http is refused" in mistakes(public_url="http://*.tun.example")[0]
    assert "plain http is refused" in mistakes(public_url="http://*.tun.example", http="127.0.0.1:80")[0]


def test_plain_http_is_allowed_behind_something_that_ends_tls() -> None:
    config = load(http="10.0.0.5:8080", public_url="https://*.tun.example")
    assert (config.scheme, config.domain, config.public_port(8080)) == ("https", "tun.example", 443)


def test_plain_http_is_allowed_and_warned_of_on_an_explicit_loopback_address() -> None:
    config = load(domain="tun.test", http="127.0.0.1:8080")
    assert "plain http" in config.warnings[0]
    assert config.needs_tokens


def test_a_public_admin_address_is_warned_of() -> None:
    assert "metrics and health" in load(admin="0.0.0.0:8081").warnings[0]


def test_tls_makes_every_address_https(tls: dict[str, Any]) -> None:
    config = load(domain="tun.example", https=":8443", **tls)
    assert (config.scheme, config.public_port(8443)) == ("https", 8443)


def test_the_public_url_must_be_of_the_domain() -> None:
    [line] = mistakes(public_url="https://*.a.example", domain="b.example")
    assert line == "--public-url: is for `a.example`, and the domain is `b.example`"


def test_tls_needs_both_files_and_files_need_tls(tls: dict[str, Any]) -> None:
    assert mistakes(https=":443") == ["--https: TLS needs --tls-cert", "--https: TLS needs --tls-key"]
    assert mistakes(**tls) == [
        "--tls-cert: is of no use without an https address",
        "--tls-key: is of no use without an https address",
    ]
    assert "there is no file" in mistakes(https=":443", tls_cert="/nowhere.pem", tls_key=tls["tls_key"])[0]


def test_a_relay_that_listens_nowhere_is_a_mistake() -> None:
    assert mistakes(http="off") == ["--http: without http and https the relay cannot be reached"]


def test_the_same_address_twice_is_a_mistake() -> None:
    assert mistakes(http="127.0.0.1:8081") == ["--admin (default): 127.0.0.1:8081 is the address of --http already"]
    assert load(http="127.0.0.1:0", admin="127.0.0.1:0").admin == ListenAddress("127.0.0.1", 0)


@every(
    "name, text",
    [
        ("http", "1.2.3.4"),
        ("http", "::1:80"),
        ("http", "127.0.0.1:99999"),
        ("http", "127.0.0.1:-1"),
        ("http", "127.0.0.1:٣"),
        ("http", ""),
        ("domain", "*.tun.example"),
        ("domain", "tun_x.example"),
        ("domain", "tün.example"),
        ("domain", "a..b"),
        ("domain", "192.0.2.1"),
        ("domain", "a" * 64 + ".example"),
        ("domain", ".".join(["abcdefgh"] * 30)),
        ("domain", "x\n.example"),
        ("domain", "-x.example"),
        ("public_url", "tun.example"),
        ("public_url", "https://tun.example/path"),
        ("public_url", "https://u:p@tun.example"),
        ("public_url", "ftp://tun.example"),
        ("public_url", "https://tun.example:99999"),
        ("public_url", "https://[::1"),
        ("callback_url", "https://idp.tun.example"),
        ("callback_url", "https://idp.tun.example/cb\r\nX: y"),
        ("callback_url", "https://idp.tun.example/cb?x=1"),
        ("callback_url", "https://idp.tun.example/cb#x"),
        ("callback_url", "http://idp.tun.example/cb"),
        ("trusted_proxy", ("10.0.0.1/8",)),
        ("trusted_proxy", ("any",)),
        ("trusted_proxy", ("",)),
        ("hold_seconds", "nan"),
        ("hold_seconds", "-1"),
        ("drain_seconds", "1e9"),
        ("idle_seconds", "0"),
        ("log_format", "xml"),
    ],
)
def test_values_that_make_no_sense_are_mistakes_of_their_flag(name: str, text: Any) -> None:
    [line] = mistakes(None, None, **{name: text})
    assert line.startswith("--" + name.replace("_", "-") + ": ")


@pytest.mark.parametrize(
    "url", ["http://localhost:8080/oauth2/callback", "http://127.0.0.1/cb", "https://idp.tun.example/oauth2/callback"]
)
def test_callback_urls_are_kept_as_they_are_written(url: str) -> None:
    assert load(callback_url=url).callback_url == url


def test_spellings_of_a_public_url() -> None:
    for text in ("https://*.tun.example", "https://tun.example/", "HTTPS://*.TUN.example:443", "https://tun.example."):
        assert load(public_url=text).public_url == PublicOrigin("https", "tun.example", 443)


@example("tls_cert", "x" * 300)
@example("data_dir", "x" * 300)
@example("keys_file", "x" * 300)
@example("tls_cert", "~nobody-of-this-name/x")
@example("data_dir", "~nobody-of-this-name/x")
@given(st.sampled_from(sorted(SETTINGS)), st.text())
def test_any_text_is_a_value_or_a_reported_mistake(name: str, text: str) -> None:
    if "\0" in text:
        return  # no environment can hold it
    try:
        load(env={variable_name(name): text})
    except ConfigError as error:
        assert error.problems  # noqa: PT017 (either outcome is fine, any other exception is not)


def test_a_file_may_name_a_path_below_a_user_who_does_not_exist(tmp_path: Path) -> None:
    file = tmp_path / "relay.toml"
    file.write_text('tls_cert = "~nobody-of-this-name/cert.pem"\n')

    with pytest.raises(ConfigError) as caught:
        load(file=file)

    assert "there is no file" in str(caught.value)
