"""`tunnel api` as people run it, against an API in this process."""

import io
import json

import pytest

from tests.cli.fake_api import FakeApi, fake_api, problem
from tunnelctl.cli.api import format_json
from tunnelctl.cli.main import run

KEY = "ta_sesamesesamesesame"


@pytest.fixture
def relay(tmp_path, monkeypatch):
    monkeypatch.setattr("platformdirs.user_config_path", lambda name: tmp_path)
    for name in ("CONFIG", "RELAY_CA", "API_URL"):
        monkeypatch.delenv(f"TUNNELCTL_{name}", raising=False)
    with fake_api() as api:
        monkeypatch.setenv("TUNNELCTL_RELAY", api.url)
        monkeypatch.setenv("TUNNELCTL_API_KEY", KEY)
        yield api


def asked(relay: FakeApi, *arguments: str) -> tuple[str, str, object]:
    """What one command asks for."""
    before = len(relay.asked)
    assert run(["api", *arguments]) == 0
    (one,) = relay.asked[before:]
    return one


def refused(*arguments: str, capsys) -> tuple[int, list[str]]:
    """The exit code of a command that fails, and what it said."""
    code = run(["api", *arguments])
    out, err = capsys.readouterr()
    assert out == ""
    assert KEY not in err
    assert "Traceback" not in err
    return code, err.splitlines()


# What is asked


def test_an_answer_is_json_on_stdout_and_nothing_else(relay, capsys):
    relay.answers = [(200, {"edges": [{"id": "edghts_1", "description": "büro"}], "next_page_uri": None})]
    assert run(["api", "edges", "https", "list"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["edges"][0] == {"id": "edghts_1", "description": "büro"}
    assert err == ""
    assert relay.asked == [("GET", "/edges/https", None)]
    assert relay.keys == [f"Bearer {KEY}"]


def test_what_has_no_content_prints_nothing(relay, capsys):
    relay.answers = [(204, None)]
    assert asked(relay, "api-keys", "delete", "ak_1") == ("DELETE", "/api_keys/ak_1", None)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "method", "target", "body"),
    [
        (["edges", "https", "create"], "POST", "/edges/https", {}),
        (
            ["edges", "https", "create", "--hostports", "a.example:443", "--hostports=b.example:443", "--description="],
            "POST",
            "/edges/https",
            {"hostports": ["a.example:443", "b.example:443"], "description": ""},
        ),
        (["edges", "https", "update", "edghts_1", "--hostports="], "PATCH", "/edges/https/edghts_1", {"hostports": []}),
        (
            [
                *("edges", "https-routes", "create", "edghts_1", "--match=/", "--match-type=path_prefix"),
                *("--backend.backend-id=bkdtg_1", "--backend.enabled=true", "--oidc.client-id=id", "--oidc.scopes=a"),
            ],
            "POST",
            "/edges/https/edghts_1/routes",
            {
                "match": "/",
                "match_type": "path_prefix",
                "backend": {"backend_id": "bkdtg_1", "enabled": True},
                "oidc": {"client_id": "id", "scopes": ["a"]},
            },
        ),
        (
            [
                *("edge-modules", "https-edge-route-oidc", "replace", "edghts_1", "edghtsrt_2", "--issuer=https://i"),
                *("--client-id=id", "--client-secret=s", "--allow-claims=dept=it", "--maximum-duration=60"),
                *("--request-params=max_age=5", "--options-passthrough", "false"),
            ],
            "PUT",
            "/edges/https/edghts_1/routes/edghtsrt_2/oidc",
            {
                "issuer": "https://i",
                "client_id": "id",
                "client_secret": "s",
                "allow_claims": [{"name": "dept", "value": "it"}],
                "maximum_duration": 60,
                "request_params": {"max_age": "5"},
                "options_passthrough": False,
            },
        ),
        (
            ["edge-modules", "https-edge-route-request-headers", "replace", "e", "r", "--add=A=1", "--remove=B"],
            "PUT",
            "/edges/https/e/routes/r/request_headers",
            {"add": {"A": "1"}, "remove": ["B"]},
        ),
        (["edge-modules", "https-edge-route-ip-restriction", "delete", "e", "r"],
            "DELETE", "/edges/https/e/routes/r/ip_restriction", None),
        (
            ["backends", "tunnel-group", "create", "--labels=app=shop", "--labels", "b=2"],
            "POST",
            "/backends/tunnel_group",
            {"labels": {"app": "shop", "b": "2"}},
        ),
        (
            ["credentials", "create", "--acl=bind:pr-*", "--expires-at=2027-01-31T12:00:00Z"],
            "POST",
            "/credentials",
            {"acl": ["bind:pr-*"], "expires_at": "2027-01-31T12:00:00Z"},
        ),
        (
            [
                *("edge-modules", "https-edge-route-backend", "replace", "e", "r"),
                *("--module.enabled", "--module.backend-id=b"),
            ],
            "PUT",
            "/edges/https/e/routes/r/backend",
            {"enabled": True, "backend_id": "b"},
        ),
        (["users", "update", "usr_1", "--disabled"], "PATCH", "/users/usr_1", {"disabled": True}),
        (["credentials", "update", "cr_1", "--expires-at="], "PATCH", "/credentials/cr_1", {"expires_at": None}),
        (["tunnel-sessions", "stop", "ts_1"], "POST", "/tunnel_sessions/ts_1/stop", None),
        (["users", "me"], "GET", "/me", None),
        (["application-sessions", "list", "--host=a.example"], "GET", "/app/sessions?host=a.example", None),
        (["application-sessions", "delete", "s_1"], "DELETE", "/app/sessions/s_1", None),
        (["audit", "list", "--limit=5", "--before-id=9"], "GET", "/audit?before_id=9&limit=5", None),
        (["traffic", "list", "--verdict=kept out"], "GET", "/traffic?verdict=kept+out", None),
    ],
)  # fmt: skip
def test_what_was_typed_is_what_is_asked_for(relay, arguments, method, target, body):
    assert asked(relay, *arguments) == (method, target, body)


def test_a_whole_body_comes_from_a_file_or_from_standard_input(relay, tmp_path, monkeypatch):
    (tmp_path / "body.json").write_text('{"labels": {"a": "1"}}')
    create = ("backends", "tunnel-group", "create")
    assert asked(relay, *create, f"--data={tmp_path / 'body.json'}")[2] == {"labels": {"a": "1"}}
    monkeypatch.setattr("sys.stdin", io.StringIO('{"labels": {"b": "2"}}'))
    assert asked(relay, *create, "--data", "-")[2] == {"labels": {"b": "2"}}


def test_row156_a_secret_is_read_from_where_it_is_kept(relay, tmp_path, monkeypatch):
    (tmp_path / "secret").write_text("from-file\n")
    monkeypatch.setenv("SECRET", "from-env")
    replace = ("edge-modules", "https-edge-route-oidc", "replace", "e", "r", "--issuer=https://i", "--client-secret")
    assert asked(relay, *replace, "env:SECRET")[2] == {"issuer": "https://i", "client_secret": "from-env"}
    assert asked(relay, *replace, f"file:{tmp_path / 'secret'}")[2]["client_secret"] == "from-file"
    monkeypatch.setattr("sys.stdin", io.StringIO("from-stdin\n"))
    assert asked(relay, *replace, "-")[2]["client_secret"] == "from-stdin"
    passwords = ("edge-modules", "https-edge-route-basic-auth", "replace", "e", "r", "--credentials=env:SECRET")
    assert asked(relay, *passwords)[2] == {"credentials": ["from-env"]}


def test_a_list_is_followed_to_its_end_and_printed_as_one(relay, capsys):
    elsewhere = "https://evil.example/edges/https?limit=2&before_id="
    relay.answers = [
        (200, {"edges": [1, 2], "uri": "u", "next_page_uri": f"{elsewhere}b"}),
        (200, {"edges": [3, 4], "uri": "u", "next_page_uri": f"{elsewhere}d"}),
        (200, {"edges": [5], "uri": "u", "next_page_uri": None}),
    ]
    assert run(["api", "edges", "https", "list", "--all", "--limit=2"]) == 0
    assert json.loads(capsys.readouterr().out) == {"edges": [1, 2, 3, 4, 5], "uri": "u", "next_page_uri": None}
    assert [target for _, target, _ in relay.asked] == [
        "/edges/https?limit=2", "/edges/https?limit=2&before_id=b", "/edges/https?limit=2&before_id=d",
    ]  # fmt: skip


def test_a_list_that_leads_in_a_circle_is_left(relay, capsys):
    relay.answers = [(200, {"edges": [1], "next_page_uri": "https://a/edges?before_id=x"})] * 3
    code, said = refused("edges", "https", "list", "--all", capsys=capsys)
    assert (code, said[0]) == (4, "error: the list does not come to an end")


def test_row158_what_an_answer_holds_does_not_reach_the_terminal_as_a_command():
    assert format_json({"a": "\x1b]0;x\x07\u202e\x9bq"}) == '{\n  "a": "\\u001b]0;x\\u0007\\u202e\\u009bq"\n}'
    assert format_json({"a": "\U000e0001é"}) == '{\n  "a": "\\udb40\\udc01é"\n}'


# Which API, and with which key


def test_the_key_may_stand_before_the_group_and_behind_the_command_which_wins(relay):
    asked(relay, "--api-key", "ta_before", "tunnels", "list")
    asked(relay, "tunnels", "list", "--api-key=ta_behind")
    asked(relay, "--api-key=ta_before", "tunnels", "list", "--api-key=ta_behind")
    assert relay.keys == ["Bearer ta_before", "Bearer ta_behind", "Bearer ta_behind"]


def test_key_and_address_come_from_the_file_when_nothing_else_says_them(relay, tmp_path, monkeypatch):
    monkeypatch.delenv("TUNNELCTL_API_KEY")
    monkeypatch.delenv("TUNNELCTL_RELAY")
    assert run(["config", "add-api-key", "ta_saved"]) == 0
    with (tmp_path / "tunnel.yml").open("a") as file:
        file.write(f"  api_url: {relay.url}/_tunnel/api/\n")
    asked(relay, "tunnels", "list")
    assert relay.keys == ["Bearer ta_saved"]


def test_a_saved_key_is_said_in_ngroks_words(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("platformdirs.user_config_path", lambda name: tmp_path)
    monkeypatch.delenv("TUNNELCTL_CONFIG", raising=False)
    monkeypatch.setenv("K", KEY)
    assert run(["config", "add-authtoken", "tok"]) == 0
    assert run(["config", "add-api-key", "env:K"]) == 0
    path = tmp_path / "tunnel.yml"
    assert capsys.readouterr().out.splitlines()[1] == f"API key saved to configuration file: {path}"
    assert path.read_text() == f'version: 3\nagent:\n  api_key: "{KEY}"\n  authtoken: "tok"\n'
    assert path.stat().st_mode & 0o777 == 0o600


def test_without_a_key_nothing_is_asked(relay, monkeypatch, capsys):
    monkeypatch.delenv("TUNNELCTL_API_KEY")
    code, said = refused("tunnels", "list", capsys=capsys)
    assert (code, said[0]) == (2, "error: there is no API key")
    assert "tunnel config add-api-key" in said[1]
    assert relay.asked == []


def test_an_api_url_is_taken_as_it_is_and_names_under_localhost_without_asking_a_resolver(relay):
    port = relay.url.rpartition(":")[2]
    for url in (f"http://api.localhost:{port}", f"http://127.0.0.1:{port}", f"http://localhost:{port}/_tunnel/api/"):
        asked(relay, "tunnels", "list", "--api-url", url)


@pytest.mark.parametrize(
    "url",
    ["http://api.tun.example", "api.tun.example", "ftp://a", "https://", "https://a:b", "https://u@a", "https://a/?q"],
)
def test_row156_a_key_is_sent_to_no_address_that_cannot_keep_it(relay, url, capsys):
    code, said = refused("tunnels", "list", f"--api-url={url}", capsys=capsys)
    assert (code, said[0][:17]) == (2, "error: --api-url:")


@pytest.mark.parametrize(
    "info", [{}, {"api_url": 5}, {"api_url": "http://tun.example"}, {"api_url": "javascript:x"}, {"api_url": None}]
)
def test_a_relay_that_tells_of_no_api_is_said_so(relay, info, capsys):
    relay.info = info
    code, said = refused("tunnels", "list", capsys=capsys)
    assert code == 4
    assert said[0].startswith("error: ")
    assert said[1] == "hint: name the relay with --relay, or its API with --api-url"
    assert relay.asked == []


def test_nobody_at_the_address_is_said_so(relay, unused_port, capsys):
    for flag in (f"--relay=http://127.0.0.1:{unused_port}", f"--api-url=http://127.0.0.1:{unused_port}"):
        code, said = refused("tunnels", "list", flag, capsys=capsys)
        assert code == 4
        assert "refused" in said[0]


@pytest.fixture
def unused_port():
    from tests.support.ports import free_port

    return free_port()


# When it says no


def test_a_refusal_is_told_with_its_code_and_its_exit_code_is_1(relay, capsys):
    relay.answers = [problem(404, "not_found", "There is no such edge.")]
    code, said = refused("edges", "https", "get", "edghts_1", capsys=capsys)
    assert (code, said) == (1, ["error: the API refused: There is no such edge. (not_found, HTTP 404)"])


def test_a_key_that_is_not_good_is_exit_code_3_with_a_hint(relay, capsys):
    relay.answers = [problem(401, "key_unknown", "This API key is unknown, revoked or expired.")]
    code, said = refused("tunnels", "list", capsys=capsys)
    assert code == 3
    assert said[1].startswith("hint: make a key")


def test_a_key_that_does_not_reach_that_far_says_how_far_it_does(relay, capsys):
    relay.answers = [problem(403, "forbidden", "Only administrators do that.")]
    code, said = refused("providers", "list", capsys=capsys)
    assert (code, "users me" in said[1]) == (1, True)


def test_a_failure_of_the_relay_names_the_request(relay, capsys):
    relay.answers = [problem(500, "internal_error", "The relay failed; its log says why.")]
    code, said = refused("tunnels", "list", capsys=capsys)
    assert code == 1
    assert said[1] == "error: the relay's log tells more, under the request req_1"


@pytest.mark.parametrize(
    ("answer", "code"),
    [((200, "<html>"), 4), ((502, "Bad Gateway"), 4), ((200, [1]), 4), ((302, ""), 4), ((400, {"x": 1}), 1),
     ((404, {"detail": {"a": "\x1b"}, "type": 3, "details": []}), 1), ((400, {"detail": "\x1b[2J no"}), 1)],
)  # fmt: skip
def test_whatever_answers_there_is_an_error_in_words(relay, answer, code, capsys):
    relay.answers = [answer]
    got, said = refused("tunnels", "list", capsys=capsys)
    assert got == code
    assert "\x1b" not in "".join(said)


# What cannot be


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonsense"], "No such command"),
        (["edges", "nonsense"], "No such command"),
        (["edges", "https", "nonsense"], "No such command"),
        (["edges", "https", "get"], "Missing argument 'ID'"),
        (["edges", "https", "get", ".."], "ID: '..' is no id"),
        (["edges", "https", "get", "a/b"], "ID: 'a/b' is no id"),
        (["edges", "https", "get", ""], "ID: '' is no id"),
        (["edges", "https", "create", "--colour=red"], "No such option"),
        (["edges", "https", "list", "--limit=x"], "not a valid integer"),
        (["edges", "https-routes", "create", "e", "--backend.enabled=perhaps"], "not a valid boolean"),
        (["backends", "tunnel-group", "create", "--labels=a"], "--labels: 'a' is not NAME=VALUE"),
        (["backends", "tunnel-group", "create", "--labels=a=1", "--labels=a=2"], "--labels: a has more than one value"),
        (["backends", "tunnel-group", "create", "--data=/no/such"], "--data: cannot read /no/such"),
        (["backends", "tunnel-group", "create", "--data=/dev/null"], "--data: not JSON"),
        (["edge-modules", "https-edge-route-jwt", "replace", "e", "r", "--issuers=[]"], "a JSON object is needed"),
        (["edge-modules", "https-edge-route-oidc", "replace", "e", "r", "--client-secret=env:NOPE"], "NOPE is not set"),
        (["tunnels", "list", "--api-key=env:NOPE"], "--api-key: the environment variable NOPE is not set"),
        (["tunnels", "list", "--relay-ca=/no/such"], "--relay-ca: cannot read"),
        (["tunnels", "list", "--relay=http://tun.example"], "--relay: http://tun.example"),
        (["tunnels", "list", "--config=/no/such.yml"], "no such file"),
    ],
)  # fmt: skip
def test_a_wrong_command_line_is_exit_code_2_and_nothing_is_asked(relay, arguments, said, capsys):
    code, told = refused(*arguments, capsys=capsys)
    assert code == 2
    assert said in told[0]
    assert relay.asked == []


def test_a_whole_body_and_single_fields_are_one_too_many(relay, tmp_path, capsys):
    (tmp_path / "body.json").write_text("{}")
    data = f"--data={tmp_path / 'body.json'}"
    code, said = refused("edges", "https", "create", data, "--description=x", capsys=capsys)
    assert (code, said[0]) == (2, "error: --data: not together with the flags of single fields")
    assert said[1].startswith("hint: put that flag right")


@pytest.mark.parametrize("arguments", [[], ["edges"], ["edges", "https"], ["edge-modules"]])
def test_a_group_without_a_command_shows_what_there_is(relay, arguments, capsys):
    code, said = refused(*arguments, capsys=capsys)
    assert code == 2
    assert said[0].startswith("Usage: tunnel api")


@pytest.mark.parametrize("arguments", [["--help"], ["edges", "--help"], ["edges", "https-routes", "create", "--help"]])
def test_help_says_what_there_is_without_a_key(arguments, capsys):
    assert run(["api", *arguments]) == 0
    assert capsys.readouterr().out.startswith("Usage: tunnel api")


def test_row156_a_secret_typed_on_the_command_line_is_warned_of_on_a_terminal(relay, monkeypatch, capsys):
    monkeypatch.setattr("tunnelctl.cli.output_mode.can_draw", lambda stream: True)
    replace = ("api", "edge-modules", "https-edge-route-oidc", "replace", "e", "r", "--client-secret", "sesame")
    assert run([*replace, "--api-key", KEY]) == 0
    err = capsys.readouterr().err
    assert [line.split()[1] for line in err.splitlines()] == ["--client-secret", "--api-key"]
    assert "sesame" not in err
    assert run(["api", "tunnels", "list"]) == 0
    assert capsys.readouterr().err == ""
