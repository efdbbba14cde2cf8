"""The command lines that programs which drive ngrok run, and what they read."""

import contextlib
import http.server
import json
import os
import shlex
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import click
import pytest

from tests.support.every import every
from tunnelctl import __version__
from tunnelctl.agent.outcome import Failed, NameTaken, NotAllowed, Stopped
from tunnelctl.cli.about import SHELLS, update_command
from tunnelctl.cli.main import run, tunnel
from tunnelctl.cli.persona import AS_NGROK, NGROK_VARIABLES, NGROK_VERSION, adopt_variables

FLAGS = {"--config", "--log", "--log-format", "--log-level"}
SAVED, SAVED_X = (f"Authtoken saved to configuration file: {where}\n" for where in ("{default}", "{x}"))
KEY_SAVED = "API key saved to configuration file: {x}\n"
VALID, VALID_X = (f"Valid configuration file at {where}\n" for where in ("{default}", "{x}"))


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    for name in ("CONFIG", "RELAY", "AUTHTOKEN", "OIDC", "API_KEY"):
        monkeypatch.delenv(f"TUNNELCTL_{name}", raising=False)
    monkeypatch.setattr("platformdirs.user_config_path", lambda name: tmp_path / name)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    return tmp_path


@pytest.fixture
def started(monkeypatch):
    configs = []
    monkeypatch.setattr("tunnelctl.cli.run.run_agent", lambda config, output, api: configs.append(config) or Stopped())
    return configs


def commands(command, path="tunnel"):
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        yield from commands(command.get_command(context, name), f"{path} {name}")


@every("path, command", [*commands(tunnel), ("tunnel", tunnel)])
def test_every_command_takes_the_flags_that_programs_give_to_every_command(path, command):
    assert set(FLAGS) <= {name for option in command.params for name in option.opts}


# What pyngrok and npm's wrappers run


@every(
    "arguments, out",
    [
        (["--version"], f"ngrok version {NGROK_VERSION}\n"),
        (["version"], f"ngrok version {NGROK_VERSION}\n"),
        (["-v"], f"ngrok version {NGROK_VERSION}\n"),
        (["config", "add-authtoken", "TOK", "--log", "stdout"], SAVED),
        (["config", "add-authtoken", "TOK", "--log", "stdout", "--config", "{x}"], SAVED_X),
        (["config", "add-authtoken", "TOK", "--config={x}"], SAVED_X),
        (["authtoken", "TOK", "--config={x}"], SAVED_X),
        (["authtoken", "TOK"], SAVED),
        (["config", "add-api-key", "KEY", "--log", "stdout", "--config", "{x}"], KEY_SAVED),
        (["config", "check", "--log=false", "--log-format=json", "--log-level=debug"], VALID),
        (["config", "check", "--config", "{x}"], VALID_X),
        (["--config", "{x}", "config", "check"], VALID_X),
        (["-config", "{x}", "config", "check"], VALID_X),
        (["config", "check", "-config={x}"], VALID_X),
        (["--config={x},{default}", "config", "check"], VALID_X + VALID),
        (["config", "upgrade", "--relocate", "--config={x}"], "Configuration file is up to date: {x}\n"),
    ],
)  # fmt: skip
def test_what_drivers_run_prints_what_they_read_and_nothing_on_stderr(arguments, out, home, capsys):
    names = {"x": str(home / "x.yml"), "default": str(home / "ngrok" / "ngrok.yml")}
    assert run(["config", "add-connect-url", "tun.example"], AS_NGROK) == 0
    assert run(["config", "add-connect-url", "tun.example", "--config", names["x"]], AS_NGROK) == 0
    capsys.readouterr()
    assert run([argument.format(**names) for argument in arguments], AS_NGROK) == 0
    told, err = capsys.readouterr()
    assert told == out.format(**names)
    assert err.replace("Relay: https://tun.example (connect_url)\n", "") == ""


def test_an_unknown_flag_is_told_in_ngroks_words(capsys):
    assert run(["http", "80", "--no-such-flag"], AS_NGROK) == 2
    assert (
        capsys.readouterr().err
        == "ERROR:  unknown flag: --no-such-flag\nERROR:  ngrok http --help lists what it takes\n"
    )
    assert run(["http", "80", "--no-such-flag"]) == 2
    assert "unknown flag" not in capsys.readouterr().err


def test_the_file_is_ngroks_own_and_only_its_owner_reads_it(home, started):
    assert run(["config", "add-authtoken", "TOK"], AS_NGROK) == 0
    path = home / "ngrok" / "ngrok.yml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert run(["start", "--none", "--log=false"], AS_NGROK) == 0
    assert run(["start", "--none", "--log=false"]) == 0
    assert [config.token for config in started] == ["TOK", ""]


def test_the_file_that_pyngrok_writes_is_enough(home, started, tmp_path):
    (tmp_path / "x.yml").write_text("version: '3'")
    assert run(["start", "--none", "--log", "stdout", "--config", f"{tmp_path}/x.yml", "--region", "us"], AS_NGROK) == 0
    assert started[0].tunnels == ()


def test_ngroks_variables_stand_in_for_ours(monkeypatch, started, home):
    assert run(["config", "add-authtoken", "of-the-file"], AS_NGROK) == 0
    environ = {"NGROK_AUTHTOKEN": "of-ngrok", "NGROK_API_KEY": "", "TUNNELCTL_CONFIG": "ours", "NGROK_CONFIG": "theirs"}
    adopt_variables(environ)
    assert environ["TUNNELCTL_AUTHTOKEN"] == "of-ngrok"
    assert "TUNNELCTL_API_KEY" not in environ
    assert environ["TUNNELCTL_CONFIG"] == "ours"
    monkeypatch.setenv("TUNNELCTL_AUTHTOKEN", environ["TUNNELCTL_AUTHTOKEN"])
    assert run(["start", "--none", "--log=false"], AS_NGROK) == 0
    assert started[0].token == "of-ngrok"


@every("name", NGROK_VARIABLES)
def test_under_our_own_name_ngroks_variables_are_not_read(name, monkeypatch, started):
    monkeypatch.setenv(name, "x")
    assert run(["start", "--none", "--log=false"]) == 0
    assert started[-1].token == ""


# Flags before the command's name


def test_a_flag_before_the_command_means_the_same_and_one_behind_it_wins(home, started, capsys):
    one, two = home / "one.yml", home / "two.yml"
    one.write_text("version: 3\nagent: {authtoken: one, connect_url: https://one.example}\n")
    two.write_text("version: 3\nagent: {authtoken: two}\n")
    assert run([f"--config={one}", "--log=false", "start", "--none"]) == 0
    assert run([f"--config={one}", "--log=false", "start", "--none", "--config", str(two)]) == 0
    assert run(["start", "--none", "--log=false", f"--config={two},{one}"]) == 0
    assert [config.token for config in started] == ["one", "two", "one"]
    assert {config.relay.url for config in started} == {"https://one.example"}
    assert run([f"--log={home}/a.log", "http", "3000", f"--log={home}/b.log", "--authtoken=x"]) == 0
    assert (home / "b.log").exists()
    assert not (home / "a.log").exists()


@every("at", [0, 1, 3])
def test_a_file_is_named_before_api_and_behind_each_of_its_names(at, home, capsys):
    words = ["api", "users", "me"]
    words.insert(at, f"--config={home}/none.yml")
    assert run(words) == 2
    assert f"{home}/none.yml: there is no such file" in capsys.readouterr().err


def test_a_file_named_on_the_command_line_wins_over_the_variables(home, started, monkeypatch):
    for name in ("typed", "a b"):
        (home / f"{name}.yml").write_text(f"version: 3\nagent: {{authtoken: {name[0]}}}\n")
    monkeypatch.setenv("TUNNELCTL_CONFIG", f"{home}/a b.yml")
    assert run(["start", "--none", "--log=false"]) == 0
    assert run([f"--config={home}/typed.yml", "start", "--none", "--log=false"]) == 0
    assert [config.token for config in started] == ["a", "t"]


@every(
    "arguments", [["--config=", "start", "--none"], ["start", "--none", "--config=a,,b"], ["--log-level=x", "version"]]
)
def test_a_flag_without_a_value_that_can_be_is_a_mistake(arguments, capsys, started):
    assert run(arguments) == 2
    assert not started
    assert capsys.readouterr().err.startswith("error: Invalid value for ")


# Errors, as programs look for them


@contextlib.contextmanager
def refusing(status, code):
    """A relay that refuses every agent with this error."""

    class Refuses(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            body = json.dumps({"error": {"code": code, "message": "Not you.", "hint": "Ask Ann."}}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refuses) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def records_of(log):
    return [dict(word.split("=", 1) for word in shlex.split(line)) for line in log.splitlines()]


@every("code, number", [("token_refused", 107), ("token_expired", 107), ("token_required", 4018)])
def test_a_refused_authtoken_is_told_in_ngroks_four_records_and_lines(code, number, capfd):
    """pyngrok takes the number out of `err`, and the other wrappers out of stderr."""
    with refusing(401, code) as relay:
        assert run(["start", "--none", "--log", "stdout", "--relay", relay, "--authtoken", "env:HOME"], AS_NGROK) == 3
    out, err = capfd.readouterr()
    told = records_of(out)[-4:]
    assert [(one["lvl"], one["msg"], one["obj"]) for one in told] == [
        ("eror", "failed to reconnect session", "tunnels.session"),
        ("eror", "session closing", "tunnels.session"),
        ("eror", "terminating with error", "app"),
        ("crit", "command failed", "app"),
    ]
    ends = f"\\r\\n\\r\\nERR_NGROK_{number}\\r\\n"
    assert [one["err"].endswith(ends) for one in told] == [True] * 4
    assert told[0]["err"] == f"authentication failed: Not you.{ends}"
    assert err.splitlines() == [
        f"ERROR:  the relay at {relay} does not allow this: Not you.",
        "ERROR:  Ask Ann.",
        "ERROR:  ",
        f"ERROR:  ERR_NGROK_{number}",
    ]


@every(
    "outcome, code, number",
    [
        (NameTaken("demo is taken", "choose another", "name_taken"), 5, 334),
        (NameTaken("demo was taken over", "choose another", "superseded"), 5, 334),
        (Failed("too many tunnels", "choose another", "too_many"), 1, 324),
        (NotAllowed("the token may not bind it", "choose another", "not_allowed"), 3, 308),
    ],
)
def test_a_tunnel_that_is_refused_ends_with_ngroks_number(outcome, code, number, capfd, monkeypatch):
    monkeypatch.setattr("tunnelctl.cli.run.run_agent", lambda config, output, api: outcome)
    assert run(["http", "80", "--subdomain=demo", "--log=stdout"], AS_NGROK) == code
    out, err = capfd.readouterr()
    (told,) = records_of(out)
    assert (told["lvl"], told["msg"]) == ("crit", "command failed")
    assert told["err"].endswith(f"\\r\\n\\r\\nERR_NGROK_{number}\\r\\n")
    assert outcome.message in err
    assert err.endswith(f"ERROR:  choose another\nERROR:  \nERROR:  ERR_NGROK_{number}\n")


def test_under_our_own_name_errors_are_told_in_our_own_words(capfd):
    with refusing(401, "token_refused") as relay:
        assert run(["start", "--none", "--log", "stdout", "--relay", relay, "--authtoken", "env:HOME"]) == 3
    out, err = capfd.readouterr()
    assert "ERR_NGROK" not in out + err
    assert [one["msg"] for one in records_of(out)][-2:] == ["starting web service", "command failed"]
    assert err.splitlines()[1] == "hint: Ask Ann."


# The shim, as a process


@pytest.fixture
def shim(home, monkeypatch, capsys):
    assert run(["install-shim", str(home / "a folder")]) == 0
    path = home / "a folder" / "ngrok"
    assert capsys.readouterr().out == f"Shim installed: {path}\n"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TUNNELCTL_", "NGROK_"))}
    return path, {**kept, "XDG_CONFIG_HOME": str(home), "HOME": str(home), "NGROK_AUTHTOKEN": "tok"}


def test_the_shim_is_ngrok_for_who_runs_it(shim, home):
    path, environ = shim
    (home / "yaml.py").write_text("raise SystemExit(9)")  # a module of the folder it runs in
    done = subprocess.run([path, "version"], env=environ, cwd=home, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"ngrok version {NGROK_VERSION}\n", "")


def test_the_shim_is_one_process_that_ends_on_a_signal(shim, home):
    path, environ = shim
    command = [path, "start", "--none", "--log=stdout", "--log-format=json"]
    process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while "failed to reconnect session" not in process.stdout.readline():  # there is no relay
        assert process.poll() is None
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if children.exists():
        assert children.read_text() == ""
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate()
    assert (process.returncode, err) == (0, "")


def test_another_program_called_ngrok_is_left_alone_and_an_older_shim_is_replaced(shim, home, capsys):
    path, _ = shim
    assert run(["install-shim", str(path.parent)]) == 0
    path.write_bytes(b"\x7fELF")
    assert run(["install-shim", str(path.parent)]) == 2
    assert path.read_bytes() == b"\x7fELF"
    assert "another program" in capsys.readouterr().err


def test_the_saved_token_is_on_the_disk_when_the_first_line_comes(shim, home):
    """npm's wrapper kills the process on it."""
    path, environ = shim
    process = subprocess.Popen([path, "authtoken", "TOK"], env=environ, stdout=subprocess.PIPE, text=True)
    process.stdout.read(1)
    process.kill()
    process.communicate()
    assert "TOK" in (home / "ngrok" / "ngrok.yml").read_text()


# About the program


def test_update_says_how_and_changes_nothing(capsys):
    assert run(["update", "--channel=beta"], AS_NGROK) == 0
    assert capsys.readouterr().out.startswith(f"This is tunnelctl {__version__}. To update it, run: ")


@every(
    "prefix, command",
    [
        ("/opt/pipx/venvs/tunnelctl", "pipx upgrade tunnelctl"),
        ("/opt/uv/tools/tunnelctl", "uv tool upgrade tunnelctl"),
        ("/opt/venv", f"{sys.executable} -m pip install --upgrade tunnelctl"),
    ],
)
def test_it_is_updated_by_what_installed_it(prefix, command):
    assert update_command(Path(prefix)) == command


@every("shell", SHELLS)
def test_a_shell_gets_the_code_that_completes(shell, monkeypatch, capsys):
    monkeypatch.setenv("SHELL", f"/usr/bin/{shell}")
    for arguments in (["completion", shell], ["completion"]):
        assert run(arguments, AS_NGROK) == 0
        assert "_NGROK_COMPLETE" in capsys.readouterr().out


# config upgrade


def test_a_file_is_written_anew_and_kept_as_it_was(home, capsys, started):
    path = home / "tunnelctl" / "tunnel.yml"
    path.parent.mkdir()
    path.write_text("authtoken: sesame\n")
    assert run(["config", "upgrade", "--dry-run"]) == 0
    assert path.read_text() == "authtoken: sesame\n"
    assert run(["config", "upgrade", "3"]) == 0
    out = capsys.readouterr().out
    assert f"Configuration file upgraded to version 3: {path}\n" in out
    assert "sesame" not in out
    kept = path.with_name("tunnel.yml.v0.bak")
    assert kept.read_text() == "authtoken: sesame\n"
    assert {stat.S_IMODE(one.stat().st_mode) for one in (path, kept)} == {0o600}
    assert run(["start", "--none", "--log=false"]) == 0
    assert started[0].token == "sesame"


def test_the_file_of_an_older_ngrok_is_read_while_there_is_no_other(home, started, capsys):
    older, path = home / ".ngrok2" / "ngrok.yml", home / "ngrok" / "ngrok.yml"
    older.parent.mkdir()
    older.write_text("authtoken: a\nserver_addr: tun.example\n")
    assert run(["config", "check"], AS_NGROK) == 0
    out, err = capsys.readouterr()
    assert out == f"Valid configuration file at {older}\n"
    assert f"warning: {older} is read, as there is no {path}; `config upgrade --relocate` moves it\n" in err
    assert run(["start", "--none", f"--log={home}/log"], AS_NGROK) == 0
    assert (started[-1].token, started[-1].relay.url) == ("a", "https://tun.example")
    assert f"{older} is read" in (home / "log").read_text()
    assert run(["start", "--none", "--log=false"]) == 0
    assert started[-1].token == ""
    assert run(["config", "add-authtoken", "b"], AS_NGROK) == 0
    assert older.read_text().startswith("authtoken: a\n")
    assert run(["start", "--none", "--log=false"], AS_NGROK) == 0
    assert (started[-1].token, started[-1].relay.url) == ("b", "http://127.0.0.1:8080")


def test_a_file_without_a_version_is_read_in_the_older_place_alone(home, capsys):
    (home / "x.yml").write_text("authtoken: a\n")
    assert run(["config", "check", f"--config={home}/x.yml"], AS_NGROK) == 2
    assert "ERROR:  " in capsys.readouterr().err


def test_the_file_of_an_older_ngrok_is_taken_over_once(home, capsys):
    older, path = home / ".ngrok2" / "ngrok.yml", home / "ngrok" / "ngrok.yml"
    older.parent.mkdir()
    older.write_text("authtoken: a\n")
    assert run(["config", "upgrade"], AS_NGROK) == 2
    assert run(["config", "upgrade", "--relocate"], AS_NGROK) == 0
    assert path.read_text() == "version: 3\nagent:\n  authtoken: a\n"
    assert older.read_text() == "authtoken: a\n"
    older.write_text("authtoken: b\n")
    capsys.readouterr()
    assert run(["config", "upgrade", "--relocate"], AS_NGROK) == 0
    assert capsys.readouterr().out == f"Configuration file is up to date: {path}\n"
