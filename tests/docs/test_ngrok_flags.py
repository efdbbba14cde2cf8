"""docs/reference/ngrok-flags.md says of every flag of ngrok's what the parser does with it."""

import re
from pathlib import Path

import pytest

from tests.support.every import every
from tunnelctl.agent.outcome import Stopped
from tunnelctl.cli.flags import FAMILIAR, FAMILIAR_HTTP
from tunnelctl.cli.http import http
from tunnelctl.cli.main import run
from tunnelctl.cli.ngrok import NGROK
from tunnelctl.cli.tcp import tcp

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "ngrok-flags.md").read_text()
ROWS = [[cell.strip() for cell in line.split("|")[1:-1]] for line in PAGE.splitlines() if line.startswith("| `")]
COMMANDS = {"http": http, "tcp": tcp}
TABLE = [
    (flag.strip("`"), command, state, how) for flag, of, state, how in ROWS for command in re.findall("`(.+?)`", of)
]
NGROKS = {
    "http": "url name description metadata binding pooling-enabled traffic-policy-file traffic-policy-url policy-file "
    "inspect authtoken upstream-protocol app-protocol upstream-proxy-protocol proxy-proto upstream-tls-verify "
    "upstream-tls-verify-cas domain hostname subdomain scheme region host-header basic-auth cidr-allow cidr-deny "
    "circuit-breaker compression mutual-tls-cas oauth oauth-client-id oauth-client-secret oauth-allow-email "
    "oauth-allow-domain oauth-scope oidc oidc-client-id oidc-client-secret oidc-scope request-header-add "
    "request-header-remove response-header-add response-header-remove ua-filter-allow ua-filter-deny verify-webhook "
    "verify-webhook-secret websocket-tcp-converter config log log-format log-level",
    "tcp": "url remote-addr binding name description metadata pooling-enabled traffic-policy-file traffic-policy-url "
    "policy-file cidr-allow cidr-deny upstream-proxy-protocol proxy-proto region authtoken config log log-format "
    "log-level",
}
"""The flags of ngrok's agent 3.39, as its documentation lists them."""
SAMPLES = {
    "--binding": ["--binding=public"],
    "--upstream-protocol": ["--upstream-protocol=http1"],
    "--app-protocol": ["--app-protocol=http1"],
}


@pytest.fixture
def started(tmp_path, monkeypatch):
    """Runs `tunnel` with an agent that ends at once. Gives the exit code and what the agent was started with."""
    monkeypatch.setattr("platformdirs.user_config_path", lambda name: tmp_path)
    for name in ("CONFIG", "RELAY", "AUTHTOKEN", "OIDC"):
        monkeypatch.delenv(f"TUNNELCTL_{name}", raising=False)
    configs = []
    monkeypatch.setattr("tunnelctl.cli.run.run_agent", lambda config, *_: configs.append(config) or Stopped())

    def start(*arguments):
        configs.clear()
        return run([*arguments, "--log=false"]), configs

    return start


def options(command):
    return {name: one for one in COMMANDS[command].params for name in (*one.opts, *one.secondary_opts)}


@every("command", [*COMMANDS])
def test_the_table_has_every_flag_of_ngroks(command):
    assert sorted(flag for flag, of, *_ in TABLE if of == command) == sorted(
        f"--{name}" for name in NGROKS[command].split()
    )


@every("flag, command, state, how", [row for row in TABLE if row[2] == "done"])
def test_a_flag_that_is_done_reaches_the_command(flag, command, state, how):
    option = options(command)[flag]
    assert option.expose_value


@every("flag, command, state, how", [row for row in TABLE if row[2] == "no effect"])
def test_a_flag_without_effect_changes_nothing(flag, command, state, how, started):
    code, plain = started(command, "3000")
    plain = list(plain)
    assert (code, options(command)[flag].hidden) == (0, True)
    assert started(command, "3000", *SAMPLES.get(flag, [flag, "x"])) == (0, plain)


@every("flag, command, state, how", [row for row in TABLE if row[2] == "refused"])
def test_a_flag_that_is_refused_is_refused_with_what_to_use_instead(flag, command, state, how, started, capsys):
    assert started(command, "3000", f"{flag}=x") == (2, [])
    assert capsys.readouterr().err == (f"error: {flag} is not implemented here: it is a flag of ngrok's\nhint: {how}\n")
    assert NGROK.flags[flag] == how


def test_every_state_is_one_of_three_and_each_occurs():
    assert {state for _, _, state, _ in TABLE} == {"done", "no effect", "refused"}


@every("flag", ["--upstream-protocol", "--app-protocol"])
def test_another_protocol_towards_the_service_is_refused(flag, started, capsys):
    assert started("http", "3000", f"{flag}=http2") == (2, [])
    assert f"{flag} http2 is not implemented here" in capsys.readouterr().err


def test_no_flag_that_is_taken_for_ngroks_sake_is_missing_in_the_table():
    known = {flag for flag, *_ in TABLE}
    for declare in (*FAMILIAR, *FAMILIAR_HTTP):
        names = [name for one in declare(lambda: None).__click_params__ for name in one.opts]
        assert known & set(names)
