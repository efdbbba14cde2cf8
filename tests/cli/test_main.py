import re
import subprocess
import sys

import pytest

from tests.support.every import every
from tunnelctl import __version__
from tunnelctl.cli import http
from tunnelctl.cli.main import COMMANDS, run
from tunnelctl.cli.ngrok import NGROK
from tunnelctl.wire.messages import JwtSpec, RateLimitSpec


@pytest.fixture(autouse=True)
def _own_home(tmp_path, monkeypatch):
    monkeypatch.setattr("platformdirs.user_config_path", lambda name: tmp_path)
    for name in (
        "TUNNELCTL_RELAY",
        "TUNNELCTL_OIDC",
        "TUNNELCTL_OIDC_CLIENT_ID",
        "TUNNELCTL_OIDC_CLIENT_SECRET",
        "TUNNELCTL_CONFIG",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def never_runs(monkeypatch):
    """The agent must not be started."""
    import tunnelctl.cli.run

    monkeypatch.setattr(tunnelctl.cli.run, "run_agent", lambda *_: pytest.fail("the agent was started"))


@pytest.mark.parametrize("arguments", [["--version"], ["-v"], ["version"]])
def test_the_version_stands_behind_the_word_version(arguments, capsys):
    assert run(arguments) == 0
    assert capsys.readouterr().out == f"tunnel version {__version__}\n"


@pytest.mark.parametrize("argument", ["--version", "--help"])
def test_the_version_and_the_help_import_nothing_heavy(argument):
    script = (
        f"from tunnelctl.cli.main import run; run(['{argument}']); import sys\n"
        "heavy = {'asyncio', 'msgspec', 'platformdirs', 'rich', 'ssl', 'websockets', 'yaml'}\n"
        "print('imported:', *sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "imported:"


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["http", "--help"], ["config", "--help"]])
def test_help_is_data_and_goes_to_stdout(arguments, capsys):
    assert run(arguments) == 0
    out, err = capsys.readouterr()
    assert out.startswith("Usage: tunnel")
    assert not err


def test_every_command_in_the_help_exists(capsys):
    run([])
    listed = capsys.readouterr().out
    for name in COMMANDS:
        assert f"  {name} " in listed
        assert run([name, "--help"]) == 0


@pytest.mark.usefixtures("never_runs")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["http"], "Missing argument"),
        (["http", "3000", "--no-such-flag"], "No such option"),
        (["http", "3000", "4000"], "unexpected extra argument"),
        (["nonsense"], "No such command"),
        (["--nonsense"], "No such option"),
        (["http", "3000", "--log-format=xml"], "Invalid value"),
        (["http", "not a port"], "not an address"),
        (["http", "3000", "--relay=http://tun.example"], "in the clear"),
        (["http", "3000", "--cidr-allow="], "--cidr-allow"),
        (["http", "3000", "--oidc="], "--oidc: its value is empty"),
        (["http", "3000", "--config=/no/such.yml"], "no such file"),
        (["http", "3000", "--edge=shop", "--cidr-deny=10.0.0.0/8"], "an edge's rules are kept at the relay"),
        (["http", "3000", "--edge="], "--edge: its value is empty"),
        (["http", "3000", "--pooling-enabled", "--weight=0"], "Invalid value"),
        (["http", "3000", "--oidc=@work", "--oidc-client-id=id"], "the relay knows it"),
        (["tcp"], "Missing argument"),
        (["tcp", "22", "--oidc=https://acme.okta.com"], "--oidc: not for tcp"),
        (["tcp", "22", "--basic-auth=ann:long-enough"], "--basic-auth: not for tcp"),
        (["tcp", "22", "--subdomain=a"], "No such option"),
        (["tcp", "https://localhost:443"], "a tcp service is named by its port"),
        (["tcp", "22", "--cidr-allow="], "--cidr-allow"),
        (["tunnel", "3000"], "Missing option '--label'"),
        (["tunnel", "--label=edge=x"], "Missing argument"),
        (["tunnel", "--label=edge", "3000"], "is not NAME=VALUE"),
        (["tunnel", "--label=edge=x", "--oidc=https://acme.okta.com", "3000"], "No such option"),
    ],
)
def test_a_wrong_command_line_is_exit_code_2_with_an_error_on_stderr(arguments, said, capsys):
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert err.startswith("error: ")
    assert said in err
    assert not out


@pytest.mark.usefixtures("never_runs")
def test_everything_that_is_missing_is_listed_at_once_with_a_hint(capsys):
    assert run(["http", "3000", "--oidc=https://acme.okta.com", "--subdomain=a_b"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: --subdomain: 'a_b' is not a name of letters, digits and inner hyphens, at most 63 long",
        "error: --oidc-client-id: missing, --oidc needs it",
        "error: --oidc-client-secret: missing, --oidc needs it",
        "hint: tunnel http --help lists what it takes",
    ]


def test_the_environment_stands_in_for_flags_and_flags_win(monkeypatch, capsys):
    from tunnelctl.agent.outcome import Stopped

    configs = []
    monkeypatch.setenv("TUNNELCTL_RELAY", "https://env.example")
    monkeypatch.setenv("TUNNELCTL_AUTHTOKEN", "from-env")
    monkeypatch.setattr("tunnelctl.cli.run.run_agent", lambda config, output, api: configs.append(config) or Stopped())
    assert run(["http", "3000", "--log=false"]) == 0
    assert run(["http", "3000", "--log=false", "--relay=https://flag.example"]) == 0
    assert [config.relay.url for config in configs] == ["https://env.example", "https://flag.example"]
    assert {config.token for config in configs} == {"from-env"}


@pytest.mark.parametrize(
    ("arguments", "audiences"),
    [
        (["--oidc-bearer", "3000"], ("",)),
        (["3000", "--oidc-bearer"], ("",)),
        (["--oidc-bearer=https://api", "3000", "--oidc-bearer"], ("https://api", "")),
        (["--oidc-bearer", "--oidc-bearer=a", "--", "3000"], ("", "a")),
    ],
)
def test_an_audience_stands_behind_an_equals_sign_and_never_swallows_the_port(arguments, audiences, monkeypatch):
    from tunnelctl.agent.outcome import Stopped

    configs = []
    login = ["--oidc=https://acme.okta.com", "--oidc-client-id=id", "--oidc-client-secret=s", "--log=false"]
    login.append("--no-oidc-check")
    monkeypatch.setattr("tunnelctl.cli.run.run_agent", lambda config, output, api: configs.append(config) or Stopped())

    assert run(["http", *login, *arguments]) == 0
    (tunnel,) = configs[0].tunnels
    assert tunnel.upstream.port == 3000
    assert tunnel.policy.oidc.bearer == audiences


@pytest.mark.parametrize("outcome_name", ["NotAllowed", "NameTaken", "Invalid", "NoRelay", "Failed"])
def test_every_bad_end_has_its_exit_code_and_its_hint(outcome_name, monkeypatch, capsys):
    from tunnelctl.agent import outcome

    end = getattr(outcome, outcome_name)("it said \x1b[31mno", "do this")
    monkeypatch.setattr("tunnelctl.cli.run.run_agent", lambda *_: end)
    code = run(["http", "3000", "--log=false"])
    err = capsys.readouterr().err
    assert code == {"NotAllowed": 3, "NameTaken": 5, "Invalid": 2, "NoRelay": 4, "Failed": 1}[outcome_name]
    assert err.splitlines()[1] == "hint: do this"
    assert "\x1b" not in err
    assert "it said \\x1b[31mno" in err


def test_a_log_file_that_cannot_be_written_is_said_before_anything_is_dialled(capsys):
    assert run(["http", "3000", "--log=/no/such/dir/log"]) == 2
    assert "cannot write /no/such/dir/log" in capsys.readouterr().err


def test_a_bad_log_format_in_the_file_is_a_mistake(tmp_path, capsys):
    (tmp_path / "tunnel.yml").write_text("version: 3\nagent: {log_format: xml}\n")
    assert run(["http", "3000"]) == 2
    assert "log_format is one of term, logfmt, json" in capsys.readouterr().err


def test_a_variable_that_asks_for_a_login_is_not_lost_beside_an_edge(monkeypatch, capsys):
    """Row 159."""
    monkeypatch.setenv("TUNNELCTL_OIDC", "https://acme.okta.com")
    assert run(["http", "3000", "--edge=shop"]) == 2
    assert "--oidc: not together with --edge" in capsys.readouterr().err


def test_a_labelled_tunnel_and_one_for_an_edge_reach_the_agent(monkeypatch):
    from tunnelctl.agent.outcome import Stopped

    configs = []
    monkeypatch.setattr("tunnelctl.cli.run.run_agent", lambda config, output, api: configs.append(config) or Stopped())
    assert run(["tunnel", "--label", "edge=edghts_1", "--label=b=2", "http://localhost:80", "--log=false"]) == 0
    assert run(["http", "80", "--edge", "shop", "--weight=9", "--metadata=", "--log=false"]) == 0
    assert run(["http", "80", "--pooling-enabled", "--weight=9", "--log=false"]) == 0
    labelled, edge, pooled = (config.tunnels[0] for config in configs)
    assert labelled.labels == (("edge", "edghts_1"), ("b", "2"))
    assert (edge.edge, edge.weight, edge.upstream.url) == ("shop", 9, "http://localhost:80")
    assert (pooled.pooling, pooled.weight) == (True, 9)


def test_a_provider_the_relay_knows_is_not_looked_at_from_here(monkeypatch):
    from tunnelctl.agent.outcome import Stopped

    configs = []
    monkeypatch.setattr("tunnelctl.cli.run.run_agent", lambda config, output, api: configs.append(config) or Stopped())
    monkeypatch.setattr("tunnelctl.cli.oidc.checked_before_start", lambda *_: pytest.fail("a provider was asked"))
    assert run(["http", "3000", "--oidc=@work", "--oidc-allow-group=ops", "--log=false"]) == 0
    assert configs[0].tunnels[0].policy.oidc.issuer == "@work"


# tunnel config


def test_a_token_is_saved_before_it_is_said_and_checked_afterwards(tmp_path, capsys):
    path = tmp_path / "tunnel.yml"
    assert run(["config", "add-authtoken", "tok"]) == 0
    assert capsys.readouterr().out == f"Authtoken saved to configuration file: {path}\n"
    assert run(["config", "check"]) == 0
    assert capsys.readouterr().out == f"Valid configuration file at {path}\n"


def test_a_token_can_come_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("T", "tok")
    assert run(["config", "add-authtoken", "env:T", "--config", str(tmp_path / "other.yml")]) == 0
    assert '"tok"' in (tmp_path / "other.yml").read_text()


def test_a_file_that_is_not_there_or_not_right_fails_the_check(tmp_path, capsys):
    assert run(["config", "check"]) == 2
    assert "no such file" in capsys.readouterr().err
    (tmp_path / "tunnel.yml").write_text("version: 3\nfoo: 1\nbar: 2\n")
    assert run(["config", "check"]) == 2
    assert capsys.readouterr().err.count("error: ") == 2


def test_a_file_that_others_can_read_is_warned_of(tmp_path, capsys):
    path = tmp_path / "tunnel.yml"
    path.write_text("version: 3\nagent: {authtoken: tok}\n")
    path.chmod(0o644)
    assert run(["config", "check"]) == 0
    assert "other users" in capsys.readouterr().err


def test_a_broken_file_is_not_overwritten(tmp_path, capsys):
    (tmp_path / "tunnel.yml").write_text("a: b: c\n")
    assert run(["config", "add-authtoken", "tok"]) == 2
    assert "hint: put the file right" in capsys.readouterr().err


def test_every_flag_that_keeps_visitors_out_reaches_the_rules(tmp_path, monkeypatch):
    """A flag that is read and then forgotten would publish an app more open than asked."""
    from tunnelctl.agent.outcome import Stopped

    configs = []
    monkeypatch.setattr("tunnelctl.cli.run.run_agent", lambda config, output, api: configs.append(config) or Stopped())
    arguments = [
        "--oidc=https://acme.okta.com", "--oidc-client-id=id", "--oidc-client-secret=sec", "--oidc-scope=groups",
        "--oidc-allow-email=a@x.org", "--oidc-allow-domain=acme.com", "--oidc-allow-group=ops",
        "--oidc-allow-claim=dept=it", "--oidc-idle-session-duration=5m", "--oidc-max-session-duration=2h",
        "--cidr-allow=10.0.0.0/8", "--cidr-deny=10.1.0.0/16", "--host-header=rewrite",
        "--rate-limit=100/1m:20", "--rate-limit-by=address",
        "--request-header-add=A: 1", "--request-header-remove=B",
        "--response-header-add=C: 3", "--response-header-remove=D",
        "--oidc-bearer=https://api", "--jwt-issuer=https://ci", "--jwt-audience=demo", "--jwt-claim=repo=acme/app",
        "--jwt-issuer", "https://two", "--jwt-claim", "a=1", "--jwt-claim=b=2", "--jwt-audience", "too",
        "--no-oidc-check",
    ]  # fmt: skip
    assert run(["http", "3000", "--log=false", *arguments]) == 0
    policy = configs[0].tunnels[0].policy
    assert policy.jwt == (
        JwtSpec(issuer="https://ci", audience="demo", claims=(("repo", "acme/app"),)),
        JwtSpec(issuer="https://two", audience="too", claims=(("a", "1"), ("b", "2"))),
    )
    assert policy.oidc.bearer == ("https://api",)
    oidc = policy.oidc
    assert (oidc.issuer, oidc.client_id, oidc.client_secret, oidc.scopes) == (
        "https://acme.okta.com", "id", "sec", ("groups",),
    )  # fmt: skip
    assert (oidc.allow_emails, oidc.allow_domains, oidc.allow_groups) == (("a@x.org",), ("acme.com",), ("ops",))
    assert (oidc.allow_claims, oidc.idle_seconds, oidc.max_seconds) == ((("dept", "it"),), 300, 7200)
    assert (policy.cidr_allow, policy.cidr_deny, policy.host_header) == (("10.0.0.0/8",), ("10.1.0.0/16",), "rewrite")
    assert policy.rate_limit == RateLimitSpec(limit="100/1m:20", by="address")
    assert (policy.request_headers.add, policy.request_headers.remove) == ((("A", "1"),), ("B",))
    assert (policy.response_headers.add, policy.response_headers.remove) == ((("C", "3"),), ("D",))
    assert run(["http", "3000", "--log=false", "--basic-auth=ann:long-enough", "--basic-auth=bob:long-enough"]) == 0
    assert configs[1].tunnels[0].policy.basic_auth == ("ann:long-enough", "bob:long-enough")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--jwt-audience=a", "--jwt-issuer=https://ci"],
            ["--jwt-audience: needs --jwt-issuer", "--jwt-audience: missing"],
        ),
        (
            ["--jwt-issuer=https://a", "--jwt-issuer=https://b", "--jwt-audience=x"],
            ["missing, --jwt-issuer https://a "],
        ),
        (["--jwt-issuer=", "--jwt-audience=x"], ["--jwt-issuer: '' is not an issuer's URL"]),
    ],
)
def test_which_issuer_an_option_belongs_to_goes_by_the_order_on_the_command_line(arguments, said, capsys):
    assert run(["http", "3000", *arguments]) == 2
    told = capsys.readouterr().err
    assert [part for part in said if part not in told] == []
    assert told.count("error: ") == len(said)


# Flags of ngrok's


@pytest.fixture
def started(monkeypatch):
    """The configurations that an agent was started with."""
    from tunnelctl.agent.outcome import Stopped

    configs = []
    monkeypatch.setattr("tunnelctl.cli.run.run_agent", lambda config, output, api: configs.append(config) or Stopped())
    return configs


@pytest.mark.parametrize(
    "arguments",
    [
        ["--region=eu"],
        ["--region", "us"],
        ["--inspect"],
        ["--inspect=true"],
        ["--binding", "public"],
        ["--scheme=http"],
        ["--scheme=https,http"],
        ["--scheme=http", "--scheme=https"],
    ],
)
def test_a_flag_of_ngroks_that_says_nothing_here_changes_nothing(arguments, started):
    assert run(["http", "3000", "--log=false", *arguments]) == 0
    assert run(["http", "3000", "--log=false"]) == 0
    assert started[0] == started[1]


@pytest.mark.parametrize(
    ("arguments", "is_inspected"),
    [
        ([], True),
        (["--inspect"], True),
        (["--inspect=true"], True),
        (["--inspect=false"], False),
        (["--no-inspect"], False),
    ],
)
@pytest.mark.parametrize("command", [["http", "3000"], ["tunnel", "3000", "--label", "a=b"]])
def test_exchanges_are_captured_unless_told_otherwise(command, arguments, is_inspected, started):
    assert run([*command, "--log=false", *arguments]) == 0
    assert started[0].tunnels[0].inspect is is_inspected


@pytest.mark.parametrize("command", [["tcp", "22"], ["start", "--none"]])
def test_a_command_that_cannot_keep_from_capturing_does_not_take_the_flag(command, started, capsys):
    assert run([*command, "--inspect=false"]) == 2
    assert "--inspect" in capsys.readouterr().err


def test_a_scheme_that_is_asked_for_is_what_the_address_must_have(started, capsys):
    assert run(["http", "3000", "--log=false", "--scheme=https"]) == 0
    assert started[0].tunnels[0].scheme == "https"
    assert run(["http", "3000", "--log=false", "--scheme=ftp,https"]) == 2
    assert "--scheme: ftp is neither http nor https" in capsys.readouterr().err


def test_the_older_name_of_a_host_flag_means_the_same(started, capsys):
    assert run(["http", "3000", "--log=false", "--hostname", "a.example"]) == 0
    assert started[0].tunnels[0].host == "a.example"
    assert run(["http", "3000", "--hostname", "a.example", "--domain=b.example"]) == 2
    assert "two names of one flag" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "pooling", "verify"),
    [
        (["--pooling-enabled=true"], True, None),
        (["--pooling-enabled=T", "--upstream-tls-verify=0"], True, False),
        (["--pooling-enabled=false", "--no-upstream-tls-verify=false"], False, True),
        (["--upstream-tls-verify=TRUE"], False, True),
    ],
)
def test_a_switch_takes_true_and_false(arguments, pooling, verify, started):
    assert run(["http", *arguments, "3000", "--log=false"]) == 0
    (tunnel,) = started[0].tunnels
    assert (tunnel.pooling, tunnel.verify_upstream) == (pooling, verify)


@pytest.mark.parametrize(
    ("texts", "pairs"),
    [
        (["a:password,b:questions"], ("a:password", "b:questions")),
        (["a:password", "b:questions"], ("a:password", "b:questions")),
        (["a:password,q"], ("a:password,q",)),
        (['"a:password,b:q"', "c:different"], ("a:password,b:q", "c:different")),
        (["a:password,b:questions,c:remember"], ("a:password", "b:questions", "c:remember")),
    ],
)
def test_a_comma_separates_users_where_a_pair_stands_on_either_side(texts, pairs, started):
    assert run(["http", "3000", "--log=false", *(f"--basic-auth={text}" for text in texts)]) == 0
    assert started[0].tunnels[0].policy.basic_auth == pairs


@pytest.mark.usefixtures("never_runs")
@every("flag", sorted(NGROK.flags.keys() - {"--upstream-protocol", "--app-protocol"}))
def test_a_flag_that_is_not_implemented_is_refused_by_its_name_with_another_way(flag, capsys):
    assert run(["http", "3000", f"{flag}=x"]) == 2
    assert capsys.readouterr().err == (
        f"error: {flag} is not implemented here: it is a flag of ngrok's\nhint: {NGROK.flags[flag]}\n"
    )


@pytest.mark.parametrize("word", sorted(NGROK.commands.keys() - {"edit", "upgrade", "add-server-addr"}))
def test_a_command_that_is_not_implemented_is_refused_by_its_name(word, capsys):
    assert run([word, "x"]) == 2
    assert capsys.readouterr().err.endswith(f"hint: {NGROK.commands[word]}\n")


@pytest.mark.usefixtures("never_runs")
@pytest.mark.parametrize("arguments", [["--binding=internal"]])
def test_an_address_that_would_be_another_is_refused(arguments, capsys):
    assert run(["http", "3000", *arguments]) == 2
    assert "is not implemented here" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["htp", "3000"], "did you mean `http`?"),
        (["http", "3000", "--subdoman=x"], "did you mean `--subdomain`?"),
        (["http", "3000", "--nothing-like-it"], "tunnel http --help lists what it takes"),
        (["config", "chek"], "did you mean `check`?"),
        (["config", "nothing"], "tunnel config --help lists what it takes"),
        (["--relay=x", "http", "3000"], "the flag stands behind the command's name: `tunnel http --relay`"),
    ],
)
def test_what_was_probably_meant_is_named_and_nothing_that_is_far(arguments, hint, capsys):
    assert run(arguments) == 2
    assert capsys.readouterr().err.splitlines()[1] == f"hint: {hint}"


# The relay's address


@pytest.mark.parametrize("verb", ["add-relay", "add-connect-url"])
def test_a_relay_is_saved_and_dialled_from_then_on(verb, started, capsys):
    assert run(["config", verb, "tun.example"]) == 0
    assert run(["http", "3000", "--log=false"]) == 0
    assert started[0].relay.url == "https://tun.example"
    capsys.readouterr()
    assert run(["config", "check"]) == 0
    assert capsys.readouterr().err == "Relay: https://tun.example (connect_url)\n"


def test_a_relay_is_saved_together_with_its_token(started, tmp_path):
    assert run(["config", "add-authtoken", "tok", "--relay=https://tun.example:8443"]) == 0
    assert run(["config", "add-api-key", "key", "--relay=https://other.example"]) == 0
    assert run(["http", "3000", "--log=false"]) == 0
    assert (started[0].relay.url, started[0].token) == ("https://other.example", "tok")
    assert (tmp_path / "tunnel.yml").read_text().count("connect_url") == 1


def test_where_the_relays_address_comes_from_is_known(tmp_path, started, monkeypatch):
    assert run(["http", "3000", "--log=false"]) == 0
    assert run(["config", "add-relay", "tun.example"]) == 0
    assert run(["http", "3000", "--log=false"]) == 0
    monkeypatch.setenv("TUNNELCTL_RELAY", "https://env.example")
    assert run(["http", "3000", "--log=false"]) == 0
    assert run(["http", "3000", "--log=false", "--relay=https://flag.example"]) == 0
    assert [config.relay_from for config in started] == [
        "", f"{tmp_path / 'tunnel.yml'}: connect_url", "TUNNELCTL_RELAY", "--relay",
    ]  # fmt: skip


@pytest.mark.parametrize("url", ["http://tun.example", "tun.example/path", "ftp://tun.example", ""])
def test_an_address_that_cannot_be_is_not_saved(url, tmp_path, capsys):
    assert run(["config", "add-relay", url]) == 2
    assert run(["config", "add-authtoken", "tok", "--relay", url or " "]) == 2
    assert not (tmp_path / "tunnel.yml").exists()
    assert "hint: give it as https://tun.example" in capsys.readouterr().err


def test_a_relay_in_a_second_version_file_keeps_its_name_there(tmp_path, started):
    (tmp_path / "tunnel.yml").write_text("version: 2\nserver_addr: old.example:443\n")
    assert run(["config", "add-relay", "tun.example"]) == 0
    assert (tmp_path / "tunnel.yml").read_text() == 'version: 2\nserver_addr: "https://tun.example"\n'


def test_the_check_says_which_relay_holds_and_why(tmp_path, monkeypatch, capsys):
    (tmp_path / "tunnel.yml").write_text("version: 3\n")
    assert run(["config", "check"]) == 0
    assert "Relay: http://127.0.0.1:8080 (the default; `tunnel config add-relay URL`" in capsys.readouterr().err
    monkeypatch.setenv("TUNNELCTL_RELAY", "https://env.example")
    assert run(["config", "check"]) == 0
    assert capsys.readouterr().err == "Relay: https://env.example (TUNNELCTL_RELAY)\n"


# Help


@pytest.mark.parametrize("command", [["http"], ["tunnel"], ["start"]])
def test_a_long_list_of_flags_is_in_groups_with_examples(command, capsys):
    assert run([*command, "--help"]) == 0
    out = capsys.readouterr().out
    titles = re.findall(r"(?m)^(\w[\w ]*):$", out)
    assert titles[0] == "Examples"
    assert titles[-2:] == ["Log", "More"]
    assert out.count("\n  tunnel ") >= 2
    assert "--region" not in out


def test_every_flag_of_a_tunnel_stands_in_one_group():
    placed = [param for params in http.http.sections.values() for param in params]
    assert len(placed) == len({id(param) for param in placed}) == len(http.http.params) - 1
    assert list(http.http.sections)[:-1] == ["Relay", "Address", "Login", "Other rules", "Headers", "App", "Log"]


def test_all_flags_are_named_once():
    names = [name for option in http.http.params for name in option.opts + option.secondary_opts]
    assert len(names) == len(set(names))
