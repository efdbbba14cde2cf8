"""`tunnel start`: the file's tunnels, as the agent gets them."""

import json

import pytest

from tunnelctl.agent.outcome import Stopped
from tunnelctl.cli.main import run

FILE = """\
version: 3
agent: {authtoken: env:TOKEN, connect_url: https://tun.example}
tunnels:
  app:
    addr: 3000
    subdomain: demo
    oidc: {issuer_url: "@work", allow_groups: [ops]}
  shop:
    addr: http://localhost:80
    labels: [edge=edghts_1]
    weight: 5
"""


@pytest.fixture
def started(tmp_path, monkeypatch):
    """What the agent is started with; the file's text can be given."""
    monkeypatch.setattr("platformdirs.user_config_path", lambda name: tmp_path)
    for name in ("CONFIG", "RELAY", "AUTHTOKEN", "OIDC"):
        monkeypatch.delenv(f"TUNNELCTL_{name}", raising=False)
    monkeypatch.setenv("TOKEN", "tok")
    configs = []
    monkeypatch.setattr("tunnelctl.cli.run.run_agent", lambda config, output, api: configs.append(config) or Stopped())
    monkeypatch.setattr("tunnelctl.cli.oidc.checked_before_start", lambda *_: pytest.fail("a provider was asked"))

    def start(*arguments, file=FILE):
        (tmp_path / "tunnel.yml").write_text(file)
        code = run(["start", "--log=false", *arguments])
        return code, configs[-1] if configs else None

    return start


def test_all_tunnels_of_the_file_go_over_one_link(started):
    code, config = started("--all")
    assert (code, config.relay.url, config.token) == (0, "https://tun.example", "tok")
    app, shop = config.tunnels
    assert (app.name, app.subdomain, app.policy.oidc.issuer, app.policy.oidc.allow_groups) == (
        "app", "demo", "@work", ("ops",),
    )  # fmt: skip
    assert (shop.name, shop.labels, shop.weight, shop.upstream.url) == (
        "shop", (("edge", "edghts_1"),), 5, "http://localhost:80",
    )  # fmt: skip
    assert [one.who_may_visit for one in config.tunnels] == [
        "people who log in at @work and are in the group ops",
        "whom each edge's rules let in; they are kept at the relay",
    ]


def test_those_that_are_named_are_started_and_no_others(started):
    _, config = started("shop", "shop")
    assert [one.name for one in config.tunnels] == ["shop"]


@pytest.mark.parametrize(
    ("arguments", "file", "said"),
    [
        ((), FILE, "name the tunnels to start, or give --all or --none"),
        (("shop", "--all"), FILE, "name the tunnels to start, or give --all or --none"),
        (("--none", "--all"), FILE, "name the tunnels to start, or give --all or --none"),
        (("--none", "shop"), FILE, "name the tunnels to start, or give --all or --none"),
        (("nope",), FILE, "no tunnel is called nope; there are app, shop"),
        (("--all",), "version: 3\n", "there are no tunnels in it"),
        (("--all", "--config=/no/such.yml"), FILE, "no such file"),
        (
            ("shop",),
            FILE + "    basic_auth: ['ann:long-enough']\n",
            "tunnels.shop: --basic-auth: not together with --label",
        ),
        (("app",), FILE.replace("3000", "nowhere"), "tunnels.app: nowhere: no port"),
        (
            ("app",),
            FILE.replace("addr: 3000", "proto: tls\n    addr: 22"),
            "proto: invalid protocol name 'tls'",
        ),
        (("app",), FILE.replace("addr: 3000", "proto: tcp\n    addr: 22"), "not for tcp"),
        (("--all",), FILE.replace("3000", "no").replace("http://localhost:80", "ftp://x"), "tunnels.shop: ftp://x: "),
        (("--all",), FILE.replace("subdomain", "subdomian"), "did you mean `subdomain`?"),
        (("shop",), FILE.replace("oidc: {", "oidc: {allow_email: [a],"), "restricts access"),
        (("--all",), FILE.replace("env:TOKEN", "env:NOPE"), "authtoken: the environment variable NOPE is not set"),
    ],
)
def test_row159_what_cannot_be_started_is_exit_code_2(started, arguments, file, said, capsys):
    code, config = started(*arguments, file=file)
    assert (code, config) == (2, None)
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("file", [FILE, "version: 3\nagent: {connect_url: https://tun.example}\n"])
def test_none_is_a_session_without_tunnels(started, file):
    code, config = started("--none", file=file)
    assert (code, config.tunnels, config.relay.url) == (0, (), "https://tun.example")


BROKEN = {
    "address": FILE.replace("3000", "nowhere"),
    "protocol": FILE.replace("addr: 3000", "proto: tcp\n    addr: 22"),
    "no address": FILE.replace("addr: 3000", "metadata: x"),
    "name": FILE.replace("demo", "de_mo!"),
    "login": FILE.replace('"@work"', "ftp://work"),
    "secret": FILE.replace("subdomain: demo", "basic_auth: [env:NOPE]"),
    "login of ngrok's": FILE.replace("subdomain: demo", "oauth: {provider: google}"),
    "traffic policy": FILE.replace("subdomain: demo", "traffic_policy: {on_http_request: []}"),
    "client certificates": FILE.replace("subdomain: demo", "mutual_tls_cas: ca.pem"),
    "empty restriction": FILE.replace("subdomain: demo", "basic_auth: []"),
}


@pytest.mark.parametrize("file", BROKEN.values(), ids=BROKEN.keys())
@pytest.mark.parametrize("arguments", [("--all",), ("shop",), ("app", "shop")])
def test_a_tunnel_that_cannot_be_started_keeps_no_other_from_starting(started, arguments, file):
    code, config = started(*arguments, file=file)
    assert (code, [one.name for one in config.tunnels]) == (0, ["shop"])


@pytest.mark.parametrize("file", BROKEN.values(), ids=BROKEN.keys())
def test_a_tunnel_that_cannot_be_started_does_not_keep_none_from_starting(started, file):
    code, config = started("--none", file=file)
    assert (code, config.tunnels) == (0, ())


@pytest.mark.parametrize("file", BROKEN.values(), ids=BROKEN.keys())
def test_a_tunnel_that_is_left_out_is_in_the_log_with_its_reason(started, tmp_path, file):
    started("--all", f"--log={tmp_path / 'log'}", "--log-format=json", file=file)
    records = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert {one["lvl"] for one in records} == {"warn"}
    assert records[0]["msg"].startswith(f"not started: {tmp_path / 'tunnel.yml'}:")


@pytest.mark.parametrize("file", BROKEN.values(), ids=BROKEN.keys())
def test_config_check_warns_of_a_tunnel_that_cannot_be_started(started, tmp_path, file, capsys):
    started("shop", file=file)
    capsys.readouterr()
    assert run(["config", "check"]) == 0
    said = capsys.readouterr().err
    assert f"warning: {tmp_path / 'tunnel.yml'}:" in said
    assert "leaves these tunnels out" in said


@pytest.mark.parametrize("file", BROKEN.values(), ids=BROKEN.keys())
def test_tunnel_http_starts_beside_a_definition_that_cannot_be_started(started, monkeypatch, file):
    started("shop", file=file)
    seen = []
    monkeypatch.setattr("tunnelctl.cli.run.run_agent", lambda config, output, api: seen.append(config) or Stopped())
    assert run(["http", "3000", "--log=false"]) == 0
    assert seen[0].relay.url == "https://tun.example"
