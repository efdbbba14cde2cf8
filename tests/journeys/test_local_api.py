"""The agent as wrappers of `ngrok` drive it: a process with a pipe on stdout, and the API that its log names."""

import json
import shlex
import socket
import urllib.error
import urllib.request

import pytest

from tests.support.processes import Child
from tests.support.stack import stacked
from tunnelctl.cli.main import run

LOGFMT = "--log-format=logfmt"


def parsed(line: str) -> dict[str, str]:
    """A record as pyngrok reads it."""
    return dict(pair.split("=", 1) for pair in shlex.split(line))


def call(url: str, method: str = "GET", body: object = None) -> tuple[int, dict]:
    """Status and JSON, as pyngrok asks: urllib, and a Content-Type on every request."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request) as answer:
            return answer.status, json.loads(answer.read() or "{}")
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def api_of(child: Child) -> str:
    return f"http://{parsed(child.wait_for(lambda line: 'starting web service' in line))['addr']}"


def test_a_wrapper_finds_the_api_in_the_log_and_drives_the_agent(app, tmp_path):
    with stacked(tmp_path / "relay") as stack:
        child = stack.agent("--none", LOGFMT, command="start")
        api = api_of(child)
        child.wait_for(lambda line: "client session established" in line)
        child.wait_for(lambda line: "tunnel session started" in line)
        assert call(f"{api}/api/tunnels") == (200, {"tunnels": [], "uri": "/api/tunnels"})
        status, made = call(f"{api}/api/tunnels", "POST", {"name": "a b", "addr": str(app.port), "proto": "http"})
        assert status == 201
        started = parsed(child.wait_for(lambda line: "started tunnel" in line))
        assert (started["name"], started["url"]) == ("a b", made["public_url"])
        host = made["public_url"].partition("://")[2]
        visit = urllib.request.Request(f"http://127.0.0.1:{stack.port}/", headers={"Host": host})
        assert urllib.request.build_opener(urllib.request.ProxyHandler({})).open(visit).status == 200
        joined = parsed(child.wait_for(lambda line: "join connections" in line))
        assert (joined["obj"], joined["l"], joined["r"]) == ("join", f"localhost:{app.port}", "127.0.0.1")
        assert call(f"{api}/api/tunnels", "POST", {"name": "b", "addr": 1, "proto": "bogus"})[1]["error_code"] == 102
        assert call(f"{api}{made['uri']}", "DELETE", {})[0] == 204
        child.wait_for(lambda line: "msg=end" in line and "status=204" in line)
        child.stop()
        assert child.err == []
        assert all({"t", "lvl", "msg"} <= parsed(line).keys() for line in child.out)
        assert child.returncode == 0


def test_an_address_that_was_asked_for_and_is_taken_ends_the_start_with_goes_words(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken, stacked(tmp_path / "relay") as stack:
        port = taken.getsockname()[1]
        config = tmp_path / "tunnel.yml"
        config.write_text(f"version: 3\nagent:\n  web_addr: 127.0.0.1:{port}\n")
        child = stack.agent("--none", LOGFMT, f"--config={config}", command="start")
        said = f"listen tcp 127.0.0.1:{port}: bind: address already in use"
        assert child.wait() == 1
        record, bare = child.out
        assert (parsed(record)["lvl"], parsed(record)["msg"], parsed(record)["err"]) == ("crit", "command failed", said)
        assert bare == said
        config.write_text("version: 3\nagent:\n  web_addr: false\n")
        child = stack.agent("--none", LOGFMT, f"--config={config}", command="start")
        child.wait_for(lambda line: "tunnel session started" in line)
        assert not any("starting web service" in line for line in child.out)


@pytest.mark.parametrize("style", ["logfmt", "json"])
def test_a_second_agent_takes_the_next_port(tmp_path, style):
    with stacked(tmp_path / "relay") as stack:
        first, second = (stack.agent("--none", f"--log-format={style}", command="start") for _ in range(2))
        lines = [child.wait_for(lambda line: "starting web service" in line) for child in (first, second)]
        read = parsed if style == "logfmt" else json.loads
        addresses = [read(line)["addr"] for line in lines]
        assert len({*addresses}) == 2
        assert all(call(f"http://{address}/api/tunnels")[0] == 200 for address in addresses)


def test_what_visitors_sent_is_listed_replayed_and_forgotten(app, tmp_path, capsys):
    with stacked(tmp_path / "relay") as stack:
        child = stack.agent(str(app.port), "--subdomain=demo", LOGFMT)
        api = api_of(child)
        child.wait_for(lambda line: "started tunnel" in line)
        host = f"demo.localhost:{stack.port}"
        visit = urllib.request.Request(f"http://127.0.0.1:{stack.port}/echo?token=abc", b"hello", {"Host": host})
        assert urllib.request.build_opener(urllib.request.ProxyHandler({})).open(visit).status == 200
        child.wait_for(lambda line: "exchange" in line and "path=/echo" in line)
        (one,) = call(f"{api}/api/requests/http")[1]["requests"]
        assert (one["tunnel_name"], one["request"]["uri"]) == ("command_line", "/echo?token=***")
        assert (one["visitor"]["address"], one["visitor"]["how"]) == ("127.0.0.1", "open")
        assert one["timing"]["gate"] > 0
        assert run(["replay", one["id"], "--set-header", "X-Again: 1", f"--web-addr={api[7:]}"]) == 0
        assert app.seen("/echo")[-1].get("x-again") == "1"
        capsys.readouterr()
        assert run(["requests", "--json", f"--web-addr={api[7:]}"]) == 0
        listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [each["replay_of"] for each in listed] == ["", one["id"]]
        assert call(f"{api}/api/requests/http", "DELETE", {}) == (204, {})
        assert call(f"{api}/api/requests/http")[1]["requests"] == []
        assert not any("abc" in line or "hello" in line for line in (*child.out, *child.err))
        child.stop()


def test_an_agent_that_is_told_to_keeps_nothing(app, tmp_path):
    config = tmp_path / "tunnel.yml"
    config.write_text("version: 3\nagent:\n  inspect_db_size: -1\n")
    with stacked(tmp_path / "relay") as stack:
        child = stack.agent(str(app.port), "--subdomain=demo", LOGFMT, f"--config={config}")
        api = api_of(child)
        child.wait_for(lambda line: "started tunnel" in line)
        visit = urllib.request.Request(
            f"http://127.0.0.1:{stack.port}/", headers={"Host": f"demo.localhost:{stack.port}"}
        )
        assert urllib.request.build_opener(urllib.request.ProxyHandler({})).open(visit).status == 200
        child.wait_for(lambda line: "exchange" in line)
        assert call(f"{api}/api/requests/http") == (200, {"uri": "/api/requests/http", "requests": []})
        assert call(f"{api}/api/tunnels/command_line")[1]["config"]["inspect"] is False
        child.stop()
