"""`tunnel oidc check` and the look before a start, as far as they need no network."""

import json

import pytest

from tunnelctl.agent import preflight
from tunnelctl.cli import main as cli
from tunnelctl.cli import oidc
from tunnelctl.cli.exits import Failure
from tunnelctl.cli.oidc import checked_before_start
from tunnelctl.oidc.findings import Finding, error, ok, warning
from tunnelctl.wire.messages import JwtSpec, OidcSpec

ENTRA = "https://login.microsoftonline.com/common/v2.0"
ACME = "https://idp.acme.example"


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch, tmp_path):
    for name in ("TUNNELCTL_OIDC_CLIENT_ID", "TUNNELCTL_OIDC_CLIENT_SECRET", "TUNNELCTL_RELAY", "TUNNELCTL_RELAY_CA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch):
    """What is found at every provider, for a test to fill."""
    findings: list[Finding] = []

    async def check_provider(issuer, client=None, **_):
        return findings

    monkeypatch.setattr(preflight, "check_provider", check_provider)
    return findings


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--client-secret=env:X"], "--client-secret: needs --client-id"),
        (["--client-id=a", "--client-secret=env:NOT_SET"], "the environment variable NOT_SET is not set"),
        (["--client-id=a", "--relay=http://tun.example"], "--relay: "),
        (["--client-id=a", "--redirect-uri=https://["], "--redirect-uri: "),
        (["--client-id=a", "--redirect-uri=idp.tun.example"], "--redirect-uri: "),
        (["--for-tokens", "--client-id=a"], "--for-tokens: not together with --client-id"),
        (["--issuer-ca=/no/such/file"], "--issuer-ca: cannot read /no/such/file"),
        ([f"--issuer-ca={__file__}"], "holds no certificate in PEM form"),
        (["--wrong"], "No such option"),
    ],
)
def test_a_wrong_command_line_is_exit_code_2(arguments, said, provider, capsys):
    assert cli.run(["oidc", "check", ACME, *arguments]) == 2
    assert said in capsys.readouterr().err


def test_an_error_is_exit_code_1_with_its_hint_on_stdout(capsys):
    assert cli.run(["oidc", "check", ENTRA]) == 1
    out = capsys.readouterr().out
    assert "`common` of Microsoft Entra stands for every organisation's accounts" in out
    assert "hint: use https://login.microsoftonline.com/TENANT-ID/v2.0" in out
    assert "1 error\n" in out


def test_off_a_terminal_no_line_is_cut_or_folded(provider, capsys):
    finding = error("keys", "found " * 30 + "end", why="why " * 60 + "end", fix="fix " * 60 + "end")
    provider.append(finding)
    assert cli.run(["oidc", "check", ACME]) == 1
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert lines[1:4] == [f"✗ {finding.found}", finding.why, f"hint: {finding.fix}"]


def test_warnings_are_exit_code_0(provider, capsys):
    provider += [warning("pkce", "no S256", why="logins use it", fix="switch it on"), ok("keys", "2 keys")]
    assert cli.run(["oidc", "check", ACME]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.strip()[-len(words) :] for line, words in zip(lines[1:], ["2 keys", "no S256"], strict=False)] == [
        "2 keys",
        "no S256",
    ]
    assert lines[-1] == "1 warning"


def test_good_news_alone_says_so(provider, capsys):
    provider.append(ok("keys", "2 keys"))
    assert cli.run(["oidc", "check", ACME]) == 0
    assert "Nothing stands in the way" in capsys.readouterr().out


def test_json_is_for_scripts(provider, capsys):
    provider += [error("keys", "no key", fix="make one")]
    assert cli.run(["oidc", "check", ACME, "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {
        "issuer": ACME,
        "ok": False,
        "findings": [{"topic": "keys", "level": "error", "found": "no key", "why": "", "fix": "make one"}],
    }


def test_what_a_provider_says_cannot_write_to_the_terminal(provider, capsys):
    provider += [error("issuer_mismatch", "it calls itself \x1b[2J", why="\x07", fix="[red]use[/red] \r it")]
    cli.run(["oidc", "check", "https://\x1b[2J"])
    out = capsys.readouterr().out
    assert out.replace("\n", "").isprintable()
    assert "[red]use[/red]" in out


def test_a_secret_on_the_command_line_is_warned_of_on_a_terminal(provider, capsys, monkeypatch):
    monkeypatch.setattr(oidc, "can_draw", lambda _: True)
    cli.run(["oidc", "check", ACME, "--client-id=a", "--client-secret=canary"])
    told = capsys.readouterr()
    assert "warning: --client-secret is on the command line" in told.err
    assert "canary" not in told.err + told.out


def test_the_way_to_check_more_is_shown(provider, capsys):
    cli.run(["oidc", "check", ACME, "--client-id=a"])
    assert "hint: with --redirect-uri" in capsys.readouterr().err


def test_an_issuer_without_logins_may_be_meant_for_tokens(provider, capsys):
    provider += [error("code_flow", "no code"), ok("keys", "2 keys")]
    assert cli.run(["oidc", "check", ACME]) == 1
    assert "hint: if only programs' tokens come from there (--jwt-issuer), ask with --for-tokens" in (
        capsys.readouterr().err
    )


def test_the_client_that_the_environment_names_does_not_keep_anybody_from_asking_about_tokens(
    provider, capsys, monkeypatch
):
    monkeypatch.setenv("TUNNELCTL_OIDC_CLIENT_ID", "a")
    monkeypatch.setenv("TUNNELCTL_OIDC_CLIENT_SECRET", "env:NOT_SET")
    provider.append(ok("keys", "2 keys"))
    assert cli.run(["oidc", "check", ACME, "--for-tokens"]) == 0
    told = capsys.readouterr()
    assert told.out.splitlines()[-1].startswith("Nothing stands in the way of its tokens")
    assert told.err == ""


# Before a start


def login(**changes) -> OidcSpec:
    return OidcSpec(**{"issuer": ACME, "client_id": "a", "client_secret": "canary-secret", **changes})


def test_a_definite_mistake_stops_the_start_before_anything_is_dialled(capsys):
    flags = ["--oidc-client-id=a", "--oidc-client-secret=canary-secret", "--relay=http://127.0.0.1:1"]
    document = f"{ACME}/.well-known/openid-configuration"
    assert cli.run(["http", "3000", f"--oidc={document}", *flags]) == 2
    told = capsys.readouterr()
    assert told.err.startswith(f"error: --oidc {document}: ")
    assert f"use {ACME}" in told.err
    assert "--no-oidc-check" in told.err
    assert "canary" not in told.err + told.out


@pytest.mark.parametrize("topic", ["dns", "tls", "unreachable", "slow", "server_error"])
def test_a_provider_that_is_merely_not_reached_from_here_is_a_warning(topic, provider):
    provider.append(error(topic, "not there", fix="look"))
    assert checked_before_start([login(), login()]) == (f"--oidc {ACME}: not there (look)",)


def test_every_mistake_is_told_at_once(provider):
    provider += [error("keys", "no key", fix="make one"), error("issuer_mismatch", "it is another", fix="use it")]
    with pytest.raises(Failure) as caught:
        checked_before_start([login()])
    assert caught.value.problems == [f"--oidc {ACME}: no key", f"--oidc {ACME}: it is another"]
    assert caught.value.hint.startswith("make one; use it; ")


def test_of_an_issuer_of_tokens_only_errors_matter(provider):
    tokens = [JwtSpec(issuer=ACME, audience="a")]
    provider.append(warning("slow", "it took 1.5 s"))
    assert checked_before_start([], tokens) == ()

    provider.append(error("dns", "not known", fix="look"))
    assert checked_before_start([], tokens) == (f"--jwt-issuer {ACME}: not known (look)",)

    provider.append(error("issuer_mismatch", "it is another"))
    with pytest.raises(Failure) as caught:
        checked_before_start([], tokens)
    assert caught.value.problems == [f"--jwt-issuer {ACME}: it is another"]


def test_each_issuer_is_looked_at_for_what_it_is_there_for(monkeypatch):
    asked = []

    async def check_provider(issuer, client=None, *, for_tokens=False, **_):
        asked.append((issuer, for_tokens))
        return []

    monkeypatch.setattr(preflight, "check_provider", check_provider)
    ci, both = "https://ci.acme.example", [JwtSpec(issuer=ACME, audience="a"), JwtSpec(issuer=ACME, audience="b")]
    assert checked_before_start([login()], [*both, JwtSpec(issuer=ci, audience="a")]) == ()
    assert sorted(asked) == [(ci, True), (ACME, False), (ACME, True)]


@pytest.mark.parametrize(
    ("changes", "warns"),
    [
        ({}, False),
        ({"allow_domains": ("acme.com",)}, True),
        ({"allow_emails": ("a@acme.com",), "email_verified": "assumed"}, False),
    ],
)
def test_verified_addresses_are_no_worry_where_no_rule_needs_them(changes, warns, provider):
    provider.append(warning("email_verified", "it lists no email_verified"))
    assert bool(checked_before_start([login(**changes)])) is warns
