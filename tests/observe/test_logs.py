"""The structured log: readable, safe, and never in the way."""

import asyncio
import io
import json
import logging
import sys
import threading
import warnings
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnelctl.eventlog import Event, EventLog
from tunnelctl.line_writer import LineWriter
from tunnelrelay.observe.access import ExchangeRecord
from tunnelrelay.observe.logs import JsonFormatter, LogHandler, Logs, TextFormatter
from tunnelrelay.observe.text import printable

log = EventLog("tunnelrelay.test")


def written(form: str, level: str = "info") -> tuple[Logs, io.BytesIO]:
    sink = io.BytesIO()
    return Logs(form, level, sink=sink), sink


def test_text_is_one_readable_line_with_fields() -> None:
    logs, sink = written("text")
    log.info("endpoint opened", host="demo.localhost", owner="ann", reason="two words")
    logs.close()
    assert sink.getvalue().decode().partition(" ")[2] == (
        'info endpoint opened host=demo.localhost owner=ann reason="two words"\n'
    )


def test_json_is_one_object_a_line_with_numbers_as_numbers() -> None:
    logs, sink = written("json")
    log.warning("slow", seconds=1.5, host="ü.example", name="web")
    logs.close()
    record = json.loads(sink.getvalue())
    assert (record["level"], record["logger"], record["msg"]) == ("warning", "tunnelrelay.test", "slow")
    assert (record["seconds"], record["host"], record["name"]) == (1.5, "ü.example", "web")
    assert record["time"].endswith("Z")


@pytest.mark.parametrize(("level", "expected"), [("info", 2), ("warning", 0)])
async def test_a_level_hides_what_is_less_severe_and_access_lines_are_info(level: str, expected: int) -> None:
    logs, sink = written("text", level)
    log.info("said")
    logs.access.add(
        ExchangeRecord(at=0, request_id="r", peer="p", method="GET", host="h", path="/", status=200, seconds=0)
    )
    logs.close()
    assert sink.getvalue().count(b"\n") == expected


def test_libraries_are_heard_from_warnings_on_even_when_we_debug() -> None:
    logs, sink = written("text", "debug")
    logging.getLogger("httpx").info("HTTP Request: GET https://op.example/?code=canary")
    logging.getLogger("httpcore").debug("headers canary")
    logging.getLogger("asyncio").warning("slow callback")
    log.debug("ours")
    logs.close()
    assert [line.partition(b" ")[2] for line in sink.getvalue().splitlines()] == [
        b"warning slow callback",
        b"debug ours",
    ]


def test_closing_gives_logging_back_as_it_was() -> None:
    def state() -> list[object]:
        return [*logging.getLogger().handlers, logging.getLogger().level, logging.getLogger("tunnelrelay").level]

    before = state()
    written("text")[0].close()
    assert state() == before


def test_a_traceback_stays_with_its_record_and_is_redacted() -> None:
    for form in ("text", "json"):
        logs, sink = written(form)
        try:
            raise ValueError("client_secret=canary\x1b[2J")
        except ValueError:
            log.exception("failed")
        logs.close()
        shown = sink.getvalue()
        assert b"ValueError" in shown
        assert b"canary" not in shown
        assert b"\x1b" not in shown
        assert form == "text" or shown.count(b"\n") == 1


@pytest.mark.parametrize("text", ["client_secret=canary", "Cookie: a=canary", "Authorization: Bearer canary"])
def test_known_shapes_of_secrets_never_reach_the_log(text: str) -> None:
    """Row 158."""
    for formatter in (TextFormatter(), JsonFormatter()):
        in_message = logging.makeLogRecord({"msg": f"before {text} after", "levelname": "INFO"})
        in_argument = logging.makeLogRecord({"msg": "before %s", "args": (text,), "levelname": "INFO"})
        in_field = logging.makeLogRecord({"msg": Event("x", {"detail": text}), "levelname": "INFO"})
        for record in (in_message, in_argument, in_field):
            shown = formatter.format(record).lower()
            assert "canary" not in shown
            assert "[redacted]" in shown


@pytest.mark.parametrize("name", ["cookie", "proxy_authorization", "client_secret", "refresh_token"])
@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()], ids=["text", "json"])
def test_a_field_named_like_a_secret_shows_no_value(name: str, formatter: logging.Formatter) -> None:
    """Row 158."""
    record = logging.makeLogRecord({"msg": Event("x", {name: "canary 1", "host": "h"}), "levelname": "INFO"})
    shown = formatter.format(record)
    assert "canary" not in shown
    assert name in shown


def outcome_of(action: Callable[[], object]) -> str:
    """What the log has of something that happens while it is in force."""
    logs, sink = written("text")
    action()
    logs.close()
    return sink.getvalue().decode()


def raise_in_thread() -> None:
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()


def fail() -> None:
    raise ValueError("client_secret=canary")


class FailsLate:
    """Cannot even be thrown away."""

    def __del__(self) -> None:
        fail()


def throw_away() -> None:
    FailsLate()


def call_hook() -> None:
    try:
        fail()
    except ValueError:
        sys.excepthook(*sys.exc_info())


def fail_in_loop() -> None:
    loop = asyncio.new_event_loop()
    loop.call_exception_handler({"message": "lost", "exception": ValueError("client_secret=canary")})
    loop.close()


def warn() -> None:
    warnings.warn("client_secret=canary", ResourceWarning, stacklevel=1)


@pytest.mark.parametrize("action", [raise_in_thread, throw_away, call_hook, fail_in_loop, warn])
def test_whatever_python_would_print_by_itself_passes_the_redactor(
    action: Callable[[], object], capfd: pytest.CaptureFixture[str]
) -> None:
    """Row 158."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        shown = outcome_of(action)
    assert "[redacted]" in shown
    assert "canary" not in shown + "".join(capfd.readouterr())


def test_a_record_that_cannot_be_formatted_is_counted_and_shown_nowhere(capfd: pytest.CaptureFixture[str]) -> None:
    """Row 158."""
    sink = io.BytesIO()
    writer = LineWriter(sink.write)
    handler = LogHandler(writer)
    handler.setFormatter(TextFormatter())
    handler.handle(logging.makeLogRecord({"msg": "%d items", "args": ("client_secret=canary",), "levelname": "INFO"}))
    writer.close()
    assert writer.dropped == 1
    assert "canary" not in sink.getvalue().decode() + "".join(capfd.readouterr())


@given(st.text())
def test_any_message_is_one_printable_line(text: str) -> None:
    record = logging.makeLogRecord({"msg": Event(text, {"field": text}), "levelname": "INFO"})
    for formatter in (TextFormatter(), JsonFormatter()):
        assert formatter.format(record).isprintable()
    assert printable(text).isprintable()
