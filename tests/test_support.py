"""The tests' own tools are held to their claims: a broken tool would make other tests pass for nothing."""

import asyncio
import hashlib
import inspect
import json
import signal
import subprocess

import pytest
from websockets.asyncio.client import connect as websocket

from tests.support import ports, processes, raw_http
from tests.support.app_routes import SECRET, blocks_of, digest_of, sample_app
from tests.support.every import every


def test_a_free_port_can_be_bound_and_two_of_them_differ():
    first, second = ports.free_ports(2)

    assert ports.is_free(first)
    assert first != second


async def test_the_app_answers_twice_on_one_connection():
    with sample_app() as app:
        async with raw_http.connect(app.port) as visitor:
            first = await visitor.request("GET", "/", host="app")
            second = await visitor.request("POST", "/upload", host="app", body=b"abc")

    assert SECRET in first.text
    assert json.loads(second.body)["sha256"] == hashlib.sha256(b"abc").hexdigest()
    assert app.connections == 1


@pytest.mark.parametrize("route", ["bytes", "chunked", "until-close"])
async def test_a_download_is_the_same_in_every_framing(route):
    with sample_app() as app:
        response = await raw_http.fetch(app.port, "GET", f"/{route}/200000", host="app")

    assert hashlib.sha256(response.body).hexdigest() == digest_of(200_000)
    assert len(set(blocks_of(200_000))) == 4


async def test_trailers_and_informational_answers_are_seen():
    with sample_app() as app:
        trailers = await raw_http.fetch(app.port, "GET", "/trailers", host="app")
        hinted = await raw_http.fetch(app.port, "GET", "/early-hints", host="app")

    assert trailers.trailers == [("checksum", "abc"), ("took", "1ms")]
    assert [head.status for head in hinted.informational] == [103]


async def test_a_chunked_upload_arrives_with_its_trailers():
    with sample_app() as app:
        response = await raw_http.fetch(
            app.port,
            "POST",
            "/upload",
            host="app",
            fields=[("Transfer-Encoding", "chunked")],
            body=b"3\r\nabc\r\n0\r\nSum: 1\r\n\r\n",
        )

    assert json.loads(response.body) == {
        "bytes": 3,
        "sha256": hashlib.sha256(b"abc").hexdigest(),
        "trailers": [["sum", "1"]],
    }


async def test_the_first_event_comes_before_the_gate_opens():
    with sample_app() as app:
        async with raw_http.connect(app.port) as visitor:
            await visitor.send(raw_http.request_bytes("GET", "/events", host="app"))
            chunks = visitor.chunks(await visitor.head())
            first = await anext(chunks)
            app.open_gate("events")
            second = await anext(chunks)

    assert (first, second) == (b"data: first\n\n", b"data: second\n\n")


async def test_the_websocket_echoes():
    with sample_app() as app:
        async with websocket(f"ws://127.0.0.1:{app.port}/ws") as socket:
            await socket.send("hello")
            await socket.send(b"\x00\xff")

            assert await socket.recv() == "hello"
            assert await socket.recv() == b"\x00\xff"


async def test_a_raw_upgrade_echoes_and_survives_half_close():
    with sample_app() as app:
        async with raw_http.connect(app.port) as visitor:
            upgraded = await visitor.request(
                "GET", "/upgrade", host="app", fields=[("Connection", "Upgrade"), ("Upgrade", "echo")]
            )
            await visitor.send(b"ping")
            visitor.send_eof()

            assert upgraded.status == 101
            assert await visitor.rest() == b"pinggoodbye"


def test_a_child_is_waited_for_by_its_json_line_and_stops_on_a_signal():
    script = "import json,signal;print(json.dumps({'msg':'ready','port':1}),flush=True);signal.pause()"
    child = processes.Child("script", [processes.sys.executable, "-c", script])

    assert child.wait_for_record("ready")["port"] == 1
    assert child.rss() > 1_000_000
    assert child.stop(signal.SIGTERM) == -signal.SIGTERM


def test_a_child_that_dies_before_its_line_is_reported_with_its_output():
    child = processes.Child("script", [processes.sys.executable, "-c", "raise SystemExit('no luck')"])

    with pytest.raises(AssertionError, match="no luck"):
        child.wait_for_record("ready")


@pytest.mark.parametrize("is_async", [True, False])
def test_a_table_of_cases_is_run_to_its_end_and_fails_with_each_case_that_fails(is_async):
    seen = []

    @every("number, least", [(1, 2), (3, 2), (0, 2)])
    def plain(fixture, number, least):
        seen.append((fixture, number))
        assert number >= least

    @every("number, least", [(1, 2), (3, 2), (0, 2)])
    async def waiting(fixture, number, least):
        seen.append((fixture, number))
        assert number >= least

    with pytest.raises(ExceptionGroup, match="2 of 3 cases") as told:
        asyncio.run(waiting("f")) if is_async else plain("f")

    assert seen == [("f", 1), ("f", 3), ("f", 0)]
    assert [error.__notes__ for error in told.value.exceptions] == [
        ["case: number=1, least=2"],
        ["case: number=0, least=2"],
    ]
    assert list(inspect.signature(waiting if is_async else plain).parameters) == ["fixture"]


def test_a_table_of_cases_is_not_empty():
    with pytest.raises(AssertionError):
        every("number", [])


def test_a_command_that_is_forked_off_has_its_callers_streams_folder_and_exit_code(tmp_path):
    tunnel = processes.commands() / "tunnel"
    saved = subprocess.run(
        [tunnel, "config", "add-authtoken", "-", "--config", "here.yml"], input="from stdin", cwd=tmp_path, text=True
    )
    refused = subprocess.run([tunnel, "nope"], capture_output=True, text=True)

    assert saved.returncode == 0
    assert "from stdin" in (tmp_path / "here.yml").read_text()
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "No such command 'nope'" in refused.stderr


def test_a_program_that_was_forked_off_is_killed_with_its_command(tmp_path):
    line = [
        processes.commands() / "tunnelrelay",
        "serve",
        "--http=127.0.0.1:0",
        "--admin=off",
        f"--data-dir={tmp_path}",
    ]
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True) as command:
        assert command.stderr is not None
        assert any("relay ready" in line for line in command.stderr)
        command.kill()
        command.stderr.read()  # to its end: the program has it open
