"""The reference and the code say the same: its bytes are written and read, its tables and its diagram compared."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from tests.wire.pair import Pair
from tunnelctl.wire import frames, scheduler
from tunnelctl.wire.about import MAX_ABOUT_TEXT, About, pack_about, unpack_about
from tunnelctl.wire.errors import Code
from tunnelctl.wire.events import (
    AboutReceived,
    ControlReceived,
    DataReceived,
    Ended,
    GoAwayReceived,
    HeadReceived,
    Opened,
    PongReceived,
    WasReset,
)
from tunnelctl.wire.frames import FIN, frame, pack_head, pack_open, unpack_open
from tunnelctl.wire.limits import Limits
from tunnelctl.wire.messages import SUBPROTOCOL, Message, Unbind
from tunnelctl.wire.session import Session
from tunnelctl.wire.stream import ENDED, FLOWING, HEAD_DUE, INITIAL_WINDOW, INTERIM, NEXT

TEXT = (Path(__file__).parents[2] / "docs/reference/wire-protocol.md").read_text()
GET = pack_open(1, frames.TYPE_EXCHANGE, frames.BODY_NONE, b"GET / HTTP/1.1\r\nHost: demo\r\n")
TCP = pack_open(2, frames.TYPE_TCP, frames.BODY_NONE, b"Peer: 192.0.2.7:50122\r\n")
ABOUT = About(address="192.0.2.7", rule="basic auth", how="basic", gate_ns=310_000)
POST = pack_open(1, frames.TYPE_EXCHANGE, frames.BODY_CHUNKED, b"POST /up HTTP/1.1\r\nHost: demo\r\n")


def examples() -> dict[str, bytes]:
    """The bytes of every block, by name."""
    blocks = re.findall(r"^```frame (\S+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    assert len({name for name, _ in blocks}) == len(blocks)
    return {name: parse(body) for name, body in blocks}


def parse(block: str) -> bytes:
    """Hex pairs and quoted text; `#` begins a remark."""
    data = b""
    for token in re.findall(r'"(?:\\.|[^"\\])*"|#[^\n]*|[0-9a-f]{2}\b|\S+', block):
        if token.startswith('"'):
            data += token[1:-1].encode().decode("unicode_escape").encode()
        elif not token.startswith("#"):
            data += bytes.fromhex(token)
    return data


def table(heading: str) -> list[list[str]]:
    """The rows of the table under these column names, without backticks."""
    rows = TEXT.split(f"| {heading} |\n", 1)[1].split("\n\n", 1)[0].splitlines()[1:]
    return [[cell.strip().replace("`", "") for cell in row.strip("|").split("|")] for row in rows]


EXAMPLES = examples()


def two_streams() -> Pair:
    """Stream 1 whose GET is open, stream 2 whose upload is."""
    pair = Pair()
    pair.relay.open(GET, fin=True)
    pair.relay.open(POST, fin=False)
    pair.settle()
    pair.agent_heard.clear()
    return pair


def written_by_the_relay(pair: Pair) -> dict[str, Callable[[], object]]:
    get, upload = pair.relay.streams
    return {
        "about": lambda: pair.relay.send_about(get, pack_about(ABOUT)),
        "end": lambda: pair.relay.end(upload, b"Digest: x\r\n"),
        "reset": lambda: pair.relay.reset(upload, Code.CANCELLED, "visitor left"),
    }


def written_by_the_agent(pair: Pair) -> dict[str, Callable[[], object]]:
    get, upload = pair.agent.streams

    def consume() -> None:
        pair.agent.receive_data(frame(frames.DATA, upload.id, bytes(32_768)), 1.0)
        pair.agent.consumed(upload, 32_768)

    return {
        "head-interim": lambda: pair.agent.send_head(get, pack_head(103, b"Link: </a.css>\r\n")),
        "head": lambda: pair.agent.send_head(get, pack_head(200, b"Content-Length: 5\r\n")),
        "data": lambda: pair.agent.send_data(get, b"hello", fin=True),
        "window": consume,
        "ping": lambda: pair.agent.ping(100.0),
        "pong": lambda: pair.agent.receive_data(EXAMPLES["ping"], 1.0),
        "go-away": lambda: pair.agent.go_away(Code.NO_ERROR, "draining"),
        "control": lambda: pair.agent.send_control(Unbind(tunnel=1)),
    }


def test_what_is_written_is_what_the_reference_shows() -> None:
    shown = set(EXAMPLES) - {"unknown", "open-tcp", "head-tcp"}
    pair = Pair()
    pair.relay.open(GET, fin=True)
    assert pair.relay.data_to_send(1 << 20) == EXAMPLES["open"]
    pair.relay.open(POST, fin=False)
    assert pair.relay.data_to_send(1 << 20) == EXAMPLES["open-upload"]
    shown -= {"open", "open-upload"}
    for name in written_by_the_relay(two_streams()):
        pair = two_streams()
        written_by_the_relay(pair)[name]()
        assert pair.relay.data_to_send(1 << 20) == EXAMPLES[name], name
        shown.remove(name)
    pair = two_streams()
    for name, write in written_by_the_agent(pair).items():
        write()
        assert pair.agent.data_to_send(1 << 20) == EXAMPLES[name], name
        shown.remove(name)
    assert not shown


def test_a_tcp_connection_is_written_and_read_as_the_reference_shows() -> None:
    pair = two_streams()
    pair.relay.open(TCP, fin=False)
    opened = pair.relay.data_to_send(1 << 20)
    pair.agent.receive_data(opened, 1.0)
    [heard] = pair.agent.events()
    assert isinstance(heard, Opened)
    assert unpack_open(heard.payload) == (2, frames.TYPE_TCP, frames.BODY_NONE, b"Peer: 192.0.2.7:50122\r\n")
    pair.agent.send_head(heard.stream, pack_head(200, b""))

    assert opened == EXAMPLES["open-tcp"]
    assert pair.agent.data_to_send(1 << 20) == EXAMPLES["head-tcp"]


def test_what_the_reference_shows_is_read_by_the_agent() -> None:
    agent = Session(opens=False)
    for name in ("open", "about", "open-upload", "end", "reset", "ping", "control", "unknown"):
        agent.receive_data(EXAMPLES[name], 1.0)
    heard = agent.events()
    get, upload = (event.stream for event in heard if isinstance(event, Opened))
    assert (get.id, upload.id) == (1, 2)
    assert heard == [
        Opened(get, GET, True),
        AboutReceived(get, pack_about(ABOUT)),
        Opened(upload, POST, False),
        Ended(upload, b"Digest: x\r\n"),
        WasReset(upload, Code.CANCELLED, "visitor left"),
        ControlReceived(Unbind(tunnel=1)),
    ]


def test_what_the_reference_shows_is_read_by_the_relay() -> None:
    pair = two_streams()
    get, upload = pair.relay.streams
    pair.relay.ping(100.0)
    expected = [
        ("head-interim", HeadReceived(get, pack_head(103, b"Link: </a.css>\r\n"), False)),
        ("head", HeadReceived(get, pack_head(200, b"Content-Length: 5\r\n"), False)),
        ("data", DataReceived(get, b"hello", True)),
        ("window", None),
        ("pong", PongReceived(1.5)),
        ("go-away", GoAwayReceived(Code.NO_ERROR, 2, "draining")),
    ]
    for name, event in expected:
        pair.relay.receive_data(EXAMPLES[name], 101.5)
        assert pair.relay.events() == ([event] if event else []), name
    assert upload.credit == INITIAL_WINDOW + 32_768


def test_the_kinds_are_those_of_the_code() -> None:
    rows = table("kind | name | stream | FIN | payload")
    assert [int(row[0]) for row in rows] == list(range(frames.OPEN, frames.ABOUT + 1))
    assert all(getattr(frames, row[1]) == int(row[0]) for row in rows)
    with_fin = {row[1] for row in rows if row[3] != "no"}
    assert with_fin == {"OPEN", "HEAD", "DATA", "END"}


def test_the_codes_are_those_of_the_code() -> None:
    assert [(int(number), name) for number, name, _ in table("code | name | says")] == [(c.value, c.name) for c in Code]


def test_the_limits_are_those_of_the_code() -> None:
    defaults = Limits()
    rows = table("limit | default | broken:")
    assert [row[0] for row in rows] == list(Limits.__dataclass_fields__)
    for name, default, code in rows:
        assert float(default.split()[0]) == getattr(defaults, name), name
        assert not code or code in Code.__members__


def test_the_messages_are_those_of_the_code() -> None:
    rows = {row[0]: row[2] for row in table("type | from | fields")}
    structs = {kind.__struct_config__.tag: kind for kind in get_args(Message)}
    assert rows.keys() == structs.keys()
    for tag, fields in rows.items():
        assert fields.split(", ") == [field.name for field in msgspec.structs.fields(structs[tag])], tag


def test_the_fields_of_about_are_those_of_the_code() -> None:
    names = [name for row in table("field | says") for name in row[0].split(", ")]
    assert names == [field.name for field in msgspec.structs.fields(About)]
    assert unpack_about(EXAMPLES["about"][8:]) == ABOUT


def test_the_diagram_is_drawn_from_the_table_of_states() -> None:
    arrows = set(re.findall(r"^ +(\w+) --> (\w+): (.+)$", TEXT, re.MULTILINE))
    states = {HEAD_DUE: "head_due", FLOWING: "flowing", ENDED: "ended"}
    expected = {(states[a], states[b], label(step)) for a in states for step, b in NEXT[a].items()}
    assert arrows == expected | {(name, "reset", "RESET") for name in states.values()}


def label(step: int) -> str:
    if step == INTERIM:
        return "HEAD 1xx"
    names = {frames.HEAD: "HEAD", frames.DATA: "DATA", frames.END: "END"}
    return names[step & ~FIN] + ("+FIN" if step & FIN else "")


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (SUBPROTOCOL, "subprotocol `{}`"),
        (frames.MAX_PAYLOAD, "of the payload: at most {:,}"),
        (frames.MAX_REASON, "text of at most {} bytes"),
        (INITIAL_WINDOW, "may send {:,} bytes of DATA"),
        (MAX_ABOUT_TEXT, "Each text has {} characters at most"),
        (frames.MAX_CREDIT, "**must not** go over {:,}"),
        (scheduler.QUANTUM >> 10, "quanta of at most {} KiB"),
        (scheduler.MAX_DIRECT_BESIDE >> 10, "up to {} KiB while others wait"),
    ],
)
def test_the_figures_in_the_text_are_those_of_the_code(value: object, sentence: str) -> None:
    assert sentence.format(value) in TEXT.replace("\n", " ")
