"""What goes wrong around an agent that a program drives by ngrok's name: warnings, odd names, and processes killed."""

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from tests.journeys.test_local_api import api_of, call, parsed
from tests.support import processes
from tests.support.processes import Child
from tests.support.raw_http import fetch
from tests.support.stack import Stack, stacked

NOT_READY = {
    "error_code": 104,
    "status_code": 503,
    "msg": "ngrok is not yet ready to start tunnels",
    "details": {"err": "a successful ngrok tunnel session has not yet been established"},
}


def ngrok(stack: Stack, *arguments: str, home: Path) -> Child:
    """`ngrok …`, as the shim runs it."""
    env = {
        "TUNNELCTL_RELAY": f"http://127.0.0.1:{stack.port}",
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
    }
    child = processes.python("ngrok", "tunnelctl.cli.shim", *arguments, env=env)
    stack.children.append(child)
    return child


def test_nothing_is_on_stderr_however_much_there_is_to_warn_of(tmp_path):
    """npm's wrappers take the first word on stderr for a failed start."""
    config = tmp_path / ".ngrok2" / "ngrok.yml"
    config.parent.mkdir()
    config.write_text(
        "authtoken: sesame\nregion: eu\nno_such_key: 1\nconsole_ui_color: black\n"
        "tunnels:\n  bad: {addr: 80, proto: tls}\n  worse: {addr: nowhere}\n"
    )
    config.chmod(0o644)
    with stacked(tmp_path / "relay") as stack:
        child = ngrok(stack, "start", "--none", "--log=stdout", "--authtoken=typed", "--region=eu", home=tmp_path)
        child.wait_for(lambda line: "tunnel session started" in line)
        assert child.err == []
        warned = [parsed(line)["msg"] for line in child.out if parsed(line)["lvl"] == "warn"]
        assert any("no_such_key" in text for text in warned)
        assert any("on the command line" in text for text in warned)
        assert call(f"{api_of(child)}/api/status")[0] == 200
        child.stop()
        assert (child.returncode, child.err) == (0, [])


async def test_whatever_a_visitor_or_a_program_writes_each_record_is_one_that_wrappers_can_read(app, tmp_path):
    name = "a \"quoted\" \\ 'name' = x"
    targets = ["/'%22%0a%0d\\", "/line=1%20lvl=crit%20err=x", "/%7B%22addr%22:%22evil:1%22%7D", "/\\n\\\"'"]
    for style in ("logfmt", "json"):
        with stacked(tmp_path / style) as stack:
            child = ngrok(stack, "start", "--none", "--log=stdout", f"--log-format={style}", home=tmp_path)
            child.wait_for(lambda line: "tunnel session started" in line)
            started = child.wait_for(lambda line: "starting web service" in line)
            api = f"http://{(parsed if style == 'logfmt' else json.loads)(started)['addr']}"
            status, made = call(f"{api}/api/tunnels", "POST", {"name": name, "addr": app.port, "proto": "http"})
            assert (status, made["name"]) == (201, name)
            host = made["public_url"].partition("://")[2]
            for target in targets:
                await fetch(stack.port, "GET", target, host=host)
            assert call(f"{api}/api/tunnels/a%22%0Ab%27")[0] == 404
            assert call(f"{api}/api/tunnels", "POST", {"name": "b\"'\n", "addr": 1})[0] == 400
            assert call(f"{api}{made['uri']}", "DELETE")[0] == 204
            child.wait_for(lambda line: "stopped tunnel" in line)
            child.stop()
            read = [dict(word.split("=", 1) for word in shlex.split(line)) for line in child.out if style == "logfmt"]
            records = read or [json.loads(line) for line in child.out]
            assert all({"t", "lvl", "msg"} <= record.keys() and "line" not in record for record in records)
            if style == "json":  # npm takes the first one for the API's
                assert next(record["addr"] for record in records if "addr" in record) == api.partition("://")[2]
            assert {record["lvl"] for record in records} <= {"info", "warn"}
            assert sum(record["msg"] == "exchange" for record in records) == len(targets)
            assert [record["name"] for record in records if record["msg"] == "stopped tunnel"] == [name]
            assert child.err == []


def test_a_relay_that_is_away_at_the_start_and_is_killed_later_is_waited_for(stack, app, tmp_path):
    stack.relay.kill()
    child = ngrok(stack, "start", "--none", "--log=stdout", home=tmp_path)
    api, tunnel = api_of(child), {"name": "web", "addr": app.port, "proto": "http", "subdomain": "demo"}
    child.wait_for(lambda line: "failed to reconnect session" in line)
    for _ in range(2):  # the first try keeps no name
        assert call(f"{api}/api/tunnels", "POST", tunnel) == (503, NOT_READY)
    assert call(f"{api}/api/tunnels") == (200, {"tunnels": [], "uri": "/api/tunnels"})
    stack.start_relay()
    child.wait_for(lambda line: "tunnel session started" in line)
    assert call(f"{api}/api/tunnels", "POST", tunnel)[0] == 201
    child.wait_for(lambda line: "started tunnel" in line)
    mark = len(child.lines)
    stack.relay.kill()
    child.wait_for(lambda line: "session closed, starting reconnect loop" in line)
    assert call(f"{api}/api/tunnels", "POST", {**tunnel, "name": "more", "subdomain": "more"}) == (503, NOT_READY)
    stack.start_relay()
    child.wait_for(lambda line: "started tunnel" in line and "name=web" in line, after=mark)
    assert call(f"{api}/api/tunnels", "POST", {**tunnel, "name": "more", "subdomain": "more"})[0] == 201
    assert child.err == []


def test_a_client_that_is_killed_in_the_middle_of_its_request_leaves_nothing(stack, app, tmp_path):
    child = ngrok(stack, "start", "--none", "--log=stdout", home=tmp_path)
    api = api_of(child)
    child.wait_for(lambda line: "tunnel session started" in line)
    host, _, port = api.partition("://")[2].partition(":")
    body = json.dumps({"name": "web", "addr": app.port, "proto": "http"})
    request = (
        f"POST /api/tunnels HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body[:9]}"
    )
    script = (
        f"import socket; s = socket.create_connection(({host!r}, {port})); s.sendall({request.encode()!r}); "
        "print(flush=True); s.recv(1)"
    )
    client = subprocess.Popen([sys.executable, "-S", "-c", script], stdout=subprocess.PIPE)
    assert client.stdout is not None
    client.stdout.readline()
    os.kill(client.pid, signal.SIGKILL)
    client.communicate()
    assert call(f"{api}/api/tunnels")[1]["tunnels"] == []
    assert call(f"{api}/api/tunnels", "POST", json.loads(body))[0] == 201


def test_an_agent_that_is_killed_gives_its_name_up(stack, app, tmp_path):
    arguments = ["http", str(app.port), "--log=stdout", "--subdomain=demo"]
    child = ngrok(stack, *arguments, home=tmp_path)
    child.wait_for(lambda line: "started tunnel" in line)
    child.kill()
    again = ngrok(stack, *arguments, home=tmp_path)
    assert "http://demo.localhost" in again.wait_for(lambda line: "started tunnel" in line)
