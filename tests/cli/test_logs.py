import json
import logging
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cli.fakes import exchange
from tunnelctl.agent.watcher import Started, Waiting
from tunnelctl.cli.log_formats import as_json, as_logfmt
from tunnelctl.cli.logs import REPEAT_SECONDS, ApiLog, LibraryHandler, Log, LogWatcher
from tunnelctl.wire.errors import Code


class Heard:
    """A log watcher, and the records it wrote without their times."""

    def __init__(self, level="info"):
        self.lines = []
        self.now = 0.0
        self.log = Log(self.lines.append, as_json, level, now=lambda: 0.0)
        self.watcher = LogWatcher(self.log, clock=lambda: self.now)

    @property
    def records(self):
        return [{key: value for key, value in json.loads(line).items() if key != "t"} for line in self.lines]

    @property
    def messages(self):
        return [record["msg"] for record in self.records]


def test_a_started_tunnel_is_logged_as_scripts_expect():
    heard = Heard()
    heard.watcher.started(
        Started(name="command_line", upstream="http://localhost:80", url="https://a.example", let_in="anyone")
    )
    assert heard.records == [
        {
            "lvl": "info", "msg": "started tunnel", "obj": "tunnels", "name": "command_line",
            "addr": "http://localhost:80", "url": "https://a.example", "let_in": "anyone",
        }
    ]  # fmt: skip


def test_a_tunnel_that_serves_edges_is_logged_with_its_labels_and_where_it_has_none_says_so():
    heard = Heard()
    labels = (("edge", "edghts_1"), ("b", "2"))
    heard.watcher.started(Started(name="n", upstream="u", url="https://a.example", labels=labels))
    heard.watcher.waiting(Waiting(name="n", upstream="u", owner="ann", labels=labels, reason="no edge of owner ann"))
    heard.watcher.left("n", "https://a.example")
    first, waiting, left = heard.records
    assert (first["msg"], first["url"], first["labels"]) == ("started tunnel", "https://a.example", "edge=edghts_1,b=2")
    assert (waiting["lvl"], waiting["msg"]) == ("warn", "waiting for an edge")
    assert (waiting["owner"], waiting["labels"]) == ("ann", "edge=edghts_1,b=2")
    assert waiting["err"] == "no edge of owner ann"
    assert (left["msg"], left["url"]) == ("stopped serving an edge", "https://a.example")


def test_a_tunnel_that_is_removed_and_one_that_is_refused_are_logged_by_name():
    heard = Heard()
    heard.watcher.removed("one")
    heard.watcher.ended("two", "another owner has it")
    assert heard.records == [
        {"lvl": "info", "msg": "stopped tunnel", "obj": "tunnels", "name": "one"},
        {"lvl": "eror", "msg": "tunnel ended", "obj": "tunnels", "name": "two", "err": "another owner has it"},
    ]


def test_the_redirect_uri_to_register_goes_with_it():
    heard = Heard()
    heard.watcher.started(Started(name="n", upstream="u", url="https://a", redirect_uri="https://idp/cb"))
    assert heard.records[0]["redirect_uri"] == "https://idp/cb"


def test_a_session_is_announced_in_the_words_that_are_parsed():
    heard = Heard()
    heard.watcher.connecting("http://r")
    heard.watcher.connected("http://r", "ann")
    assert heard.messages == ["client session established", "tunnel session started"]


def test_an_exchange_is_one_line_without_its_query():
    heard = Heard()
    heard.watcher.exchange("n", exchange(target=b"/login?token=secret"))
    heard.watcher.exchange("n", exchange(status=0, code=Code.UPSTREAM_UNREACHABLE, reason="connection refused"))
    assert "secret" not in heard.lines[0]
    assert heard.records[0] | {"seconds": 0.25} == {
        "lvl": "info", "msg": "exchange", "obj": "http", "peer": "192.0.2.9", "method": "GET", "path": "/login",
        "status": 200, "seconds": 0.25,
    }  # fmt: skip
    assert (heard.records[1]["status"], heard.records[1]["err"]) == (502, "connection refused")


def test_the_same_trouble_is_not_logged_five_times_a_second():
    heard = Heard()
    for _ in range(10):
        heard.watcher.lost("connection refused", 0.1, "")
    heard.watcher.lost("no answer in 5 s", 0.1, "")
    heard.now += REPEAT_SECONDS
    heard.watcher.lost("no answer in 5 s", 0.1, "")
    assert [record["err"] for record in heard.records] == ["connection refused", "no answer in 5 s", "no answer in 5 s"]


def test_under_ngroks_name_a_limit_of_sessions_is_an_error_with_its_number():
    heard = Heard()
    as_ngrok = LogWatcher(heard.log, speaks_ngrok=True)
    heard.watcher.lost("too many", 1.0, "too_many_agents")
    as_ngrok.lost("too many", 1.0, "too_many_agents")
    as_ngrok.lost("the relay is busy", 1.0, "relay_busy")
    assert [(one["lvl"], one["msg"], one["err"]) for one in heard.records] == [
        ("warn", "failed to reconnect session", "too many"),
        ("eror", "failed to reconnect session", "too many\r\n\r\nERR_NGROK_108\r\n"),
        ("warn", "failed to reconnect session", "the relay is busy"),
    ]


def test_a_lost_session_is_told_apart_from_one_that_never_was():
    heard = Heard()
    heard.watcher.lost("gone", 0.1, "")
    heard.watcher.connected("r", "ann")
    heard.watcher.lost("gone", 0.1, "")
    assert heard.messages[0] == "failed to reconnect session"
    assert heard.messages[-1] == "session closed, starting reconnect loop"


@pytest.mark.parametrize(("level", "count"), [("debug", 5), ("info", 3), ("warn", 1), ("error", 0), ("crit", 0)])
def test_only_what_is_heavy_enough_is_written(level, count):
    heard = Heard(level)
    heard.watcher.connecting("r")
    heard.watcher.latency(0.1)
    heard.watcher.draining(0)
    heard.watcher.moving("x")
    heard.watcher.unready("https://a", "no answer")
    assert len(heard.lines) == count


def test_what_libraries_log_comes_out_in_the_same_form():
    heard = Heard()
    record = logging.LogRecord("websockets", logging.WARNING, "f", 1, "odd %s", ("frame",), None)
    LibraryHandler(heard.log).emit(record)
    assert heard.records == [{"lvl": "warn", "msg": "odd frame", "obj": "websockets"}]


def test_a_library_record_that_cannot_be_formatted_is_told_without_it():
    """Row 158."""
    heard = Heard()
    LibraryHandler(heard.log).emit(logging.LogRecord("x", logging.WARNING, "f", 1, "%d", ("canary",), None))
    assert heard.records == [
        {"lvl": "warn", "msg": "log record not formatted", "obj": "x", "err": "TypeError"},
    ]


SECRETS = ["tt_canarycanarycanarycanary", "Authorization: Bearer canary", "client_secret=canary"]


@pytest.mark.parametrize("text", SECRETS)
def test_what_is_shaped_like_a_secret_never_reaches_the_log(text):
    """Row 158."""
    heard = Heard("debug")
    heard.watcher.lost(f"the relay said {text}", 0.1, "")
    heard.watcher.moving(text)
    heard.watcher.unready("https://a", text)
    heard.watcher.exchange("n", exchange(status=0, code=Code.UPSTREAM_BROKEN, reason=text))
    error = ValueError(text)
    record = logging.LogRecord("websockets", logging.ERROR, "f", 1, "odd %s", (text,), (ValueError, error, None))
    LibraryHandler(heard.log).emit(record)
    assert len(heard.lines) == 5
    assert "canary" not in "".join(heard.lines)


@pytest.mark.parametrize("path", [b"/tt_canarycanarycanarycanary", b"/reset/password=canary"])
def test_a_path_that_holds_one_is_logged_without_it(path):
    """Row 158."""
    heard = Heard()
    heard.watcher.exchange("n", exchange(target=path))
    assert heard.messages == ["exchange"]
    assert "canary" not in heard.lines[0]


def api_lines(render, *, names_taken=True):
    lines = []
    return lines, ApiLog(Log(lines.append, render, "info", now=lambda: 0.0), names_taken=names_taken)


def test_the_local_apis_lines_are_those_that_programs_look_for():
    lines, watcher = api_lines(as_logfmt)
    watcher.taken("127.0.0.1:4040")
    watcher.serving("127.0.0.1:4041")
    watcher.began("0a1b2c3d4e5f6071", "/api/tunnels/web%20%281%29")
    watcher.ended("0a1b2c3d4e5f6071", "/api/tunnels/web%20%281%29", 200, 0.0012345)
    assert [line.partition(" ")[2] for line in lines] == [
        'lvl=warn msg="can\'t bind default web address, trying alternatives" obj=web addr=127.0.0.1:4040\n',
        'lvl=info msg="starting web service" obj=web addr=127.0.0.1:4041 allow_hosts=[]\n',
        "lvl=info msg=start pg=/api/tunnels/web%20%281%29 id=0a1b2c3d4e5f6071\n",
        "lvl=info msg=end pg=/api/tunnels/web%20%281%29 id=0a1b2c3d4e5f6071 status=200 dur=1.234ms\n",
    ]


def test_the_first_address_in_a_json_log_is_the_apis():
    """npm's `ngrok` takes the first record with a key `addr`, whatever its message."""
    lines, watcher = api_lines(as_json, names_taken=False)
    watcher.taken("127.0.0.1:4040")
    watcher.serving("127.0.0.1:4041")
    assert [json.loads(line).get("addr") for line in lines] == [None, "127.0.0.1:4041"]


HOSTILE = st.text() | st.sampled_from(["a\nlvl=crit msg=forged", '"', "\\", "a b", "'", "\r\n", "$(x)", "\x1b[31m"])


@given(HOSTILE, HOSTILE)
def test_whatever_is_asked_and_named_is_one_record_a_line_without_a_key_called_line(name, path):
    for render in (as_logfmt, as_json):
        lines = []
        log = Log(lines.append, render, "info", now=lambda: 0.0)
        api, watcher = ApiLog(log, names_taken=True), LogWatcher(log)
        api.began("1", path)
        api.ended("1", path, 404, 0.0)
        watcher.started(Started(name=name, upstream=path, url="https://a.example", let_in=name, redirect_uri=path))
        watcher.removed(name)
        watcher.ended(name, path)
        watcher.lost(path, 1.0, "")
        watcher.joined(
            name, path, exchange(head=b"GET / HTTP/1.1\r\nX-Forwarded-For: " + path.encode("utf-8", "ignore"))
        )
        assert all(line.count("\n") == 1 and line.endswith("\n") for line in lines)
        read = json.loads if render is as_json else lambda line: dict(pair.split("=", 1) for pair in shlex.split(line))
        records = [read(line) for line in lines]
        assert all({"t", "lvl", "msg"} <= record.keys() and "line" not in record for record in records)
        assert [record["msg"] for record in records] == [
            "start", "end", "started tunnel", "stopped tunnel", "tunnel ended", "failed to reconnect session",
            "join connections",
        ]  # fmt: skip


def test_a_visitor_that_is_connected_to_the_service_is_logged():
    heard = Heard()
    heard.watcher.joined("web", "localhost:3000", exchange())
    (record,) = heard.records
    assert len(bytes.fromhex(record.pop("id"))) == 6
    assert record == {"lvl": "info", "msg": "join connections", "obj": "join", "l": "localhost:3000", "r": "192.0.2.9"}
