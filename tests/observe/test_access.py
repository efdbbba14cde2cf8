"""One line per exchange: cheap to add, honest to read, never a secret."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnelrelay.observe.access import (
    FLUSH_SECONDS,
    MAX_PATH,
    MAX_RECORDS,
    AccessLog,
    ExchangeRecord,
    json_line,
    text_line,
)


def exchange(**changed: object) -> ExchangeRecord:
    values: dict[str, object] = {
        "at": 1763895622.1234,
        "request_id": "r1",
        "peer": "192.0.2.7",
        "method": "GET",
        "host": "demo.localhost",
        "path": "/a/b",
        "status": 200,
        "seconds": 0.01234,
    }
    return ExchangeRecord(**{**values, **changed})


class Clock:
    """Notes what was put off, and does it when told."""

    def __init__(self) -> None:
        self.waiting: list[tuple[float, Callable[[], object]]] = []

    def call_later(self, delay: float, callback: Callable[[], object], /) -> None:
        self.waiting.append((delay, callback))

    def strike(self) -> None:
        waiting, self.waiting = self.waiting, []
        for _, callback in waiting:
            callback()


def log(clock: Clock, form: str = "text", **more: bool) -> tuple[AccessLog, list[bytes]]:
    written: list[bytes] = []
    return AccessLog(written.append, form, call_later=clock.call_later, **more), written


def test_a_line_for_people() -> None:
    line = text_line(exchange(bytes_in=3, bytes_out=1200, user="sub-1", email="ann@example.com", agent="ann/web"))
    assert line == (
        b"2025-11-23T11:00:22.123Z info GET demo.localhost/a/b 200 12.3ms in=3 out=1200 peer=192.0.2.7"
        b" user=sub-1 email=ann@example.com agent=ann/web id=r1\n"
    )


def test_a_line_for_programs_leaves_out_what_is_empty() -> None:
    assert json.loads(json_line(exchange(error="upstream_unreachable", source="upstream", status=502))) == {
        "time": "2025-11-23T11:00:22.123Z",
        "level": "info",
        "msg": "exchange",
        "request_id": "r1",
        "peer": "192.0.2.7",
        "method": "GET",
        "host": "demo.localhost",
        "path": "/a/b",
        "status": 502,
        "seconds": 0.01234,
        "error": "upstream_unreachable",
        "source": "upstream",
    }


def test_records_are_written_together_after_a_moment() -> None:
    clock = Clock()
    access, written = log(clock)
    for number in range(3):
        access.add(exchange(request_id=str(number)))
    assert written == []
    assert [delay for delay, _ in clock.waiting] == [FLUSH_SECONDS]
    clock.strike()
    assert [line.rpartition(b"id=")[2] for line in written[0].splitlines()] == [b"0", b"1", b"2"]
    access.add(exchange())
    assert len(clock.waiting) == 1


def test_memory_is_bounded_when_the_clock_never_strikes() -> None:
    access, written = log(Clock())
    for _ in range(MAX_RECORDS * 3):
        access.add(exchange())
    assert [batch.count(b"\n") for batch in written] == [MAX_RECORDS] * 3


def test_a_stopping_relay_writes_what_is_left_once() -> None:
    clock = Clock()
    access, written = log(clock)
    access.add(exchange())
    access.flush()
    clock.strike()
    access.flush()
    assert len(written) == 1


def test_a_log_that_is_off_keeps_nothing() -> None:
    clock = Clock()
    access, written = log(clock, is_on=False)
    access.add(exchange())
    access.flush()
    assert (written, clock.waiting) == ([], [])


async def test_the_running_loop_is_the_clock_by_default() -> None:
    written: list[bytes] = []
    access = AccessLog(written.append)
    access.add(exchange())
    access.flush()
    assert len(written) == 1


@pytest.mark.parametrize("line", [text_line, json_line])
def test_a_query_never_gets_into_the_log(line: Callable[[ExchangeRecord], bytes]) -> None:
    """Row 158."""
    assert b"canary" not in line(exchange(path="/_tunnel/oidc/cb?code=canary&state=canary"))


@pytest.mark.parametrize("line", [text_line, json_line])
@pytest.mark.parametrize(
    "secret",
    [
        *(f"{kind}_" + "canary0" * 6 + "c" for kind in ("tt", "ta", "tc")),
        "eyJhbGciOiJub25lIn0.canaryCanary.canary",
        "v1.0123abcd." + "canary" * 4,
    ],
)
def test_secrets_in_a_path_are_redacted(line: Callable[[ExchangeRecord], bytes], secret: str) -> None:
    written = line(exchange(path=f"/reset/{secret}"))
    assert b"canary" not in written.lower()
    assert b"/reset/[redacted]" in written


@pytest.mark.parametrize("line", [text_line, json_line])
def test_a_path_without_end_is_cut(line: Callable[[ExchangeRecord], bytes]) -> None:
    """Row 129."""
    assert len(line(exchange(path="/" + "a" * 1_000_000))) < MAX_PATH + 400


def test_a_value_cannot_pretend_to_be_another_field() -> None:
    line = text_line(exchange(user='x" status=200 y="', email="a b=c"))
    assert b'user="x\\" status=200 y=\\""' in line
    assert b'email="a b=c"' in line


HOSTILE = st.text(
    st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zp", "L"]) | st.sampled_from('\\"= \x9b\x7f\u202e')
)


@given(HOSTILE, HOSTILE, HOSTILE)
def test_no_visitor_can_steer_a_terminal_or_forge_a_line(path: str, user: str, host: str) -> None:
    for line in (text_line, json_line):
        shown = line(exchange(path=path, user=user, host=host)).decode()
        assert shown.endswith("\n")
        assert shown[:-1].isprintable()


@given(HOSTILE)
def test_programs_read_back_what_was_there(user: str) -> None:
    encodable = user.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert json.loads(json_line(exchange(user=encodable))).get("user", "") == encodable
