"""What the relay tells about a visitor: its payload, the frame that carries it, and peers of earlier releases."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.pair import REQUEST, Pair, frames_of
from tunnelctl.wire import session as session_module
from tunnelctl.wire.about import MAX_ABOUT_TEXT, About, pack_about, unpack_about
from tunnelctl.wire.errors import Code, WireError
from tunnelctl.wire.events import AboutReceived, Opened
from tunnelctl.wire.frames import ABOUT, CONTROL, OPEN_FIN, OPTIONAL
from tunnelctl.wire.limits import Limits
from tunnelctl.wire.messages import Bind, Join
from tunnelctl.wire.session import Session

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=2 * MAX_ABOUT_TEXT)
ABOUTS = st.builds(
    About, address=TEXTS, subject=TEXTS, email=TEXTS, name=TEXTS, rule=TEXTS, how=TEXTS, gate_ns=st.integers(0, 2**62)
)
ANN = About(address="203.0.113.9", subject="1", email="ann@acme.com", rule="domain acme.com", how="session", gate_ns=5)


@given(ABOUTS)
def test_what_is_told_reads_as_it_was_written_up_to_the_length_of_a_text(about: About) -> None:
    heard = unpack_about(pack_about(about))
    assert heard is not None
    for name in ("address", "subject", "email", "name", "rule", "how"):
        assert getattr(heard, name) == getattr(about, name)[:MAX_ABOUT_TEXT]
    assert heard.gate_ns == about.gate_ns


@given(st.sampled_from(["\0", '"', "ü", "\U0001f600"]))
def test_the_longest_texts_fit_a_frame_of_12_kb(character: str) -> None:
    longest = character * 2 * MAX_ABOUT_TEXT
    about = About(address=longest, subject=longest, email=longest, name=longest, rule=longest, how=longest)
    assert len(pack_about(about)) < 12_000


@given(st.one_of(st.binary(max_size=60), st.sampled_from([b"[" * 60_000, b'{"address":"\xff"}', b'{"address":1}'])))
def test_any_payload_is_read_or_taken_for_none(payload: bytes) -> None:
    assert isinstance(unpack_about(payload), About | None)


def test_a_later_relay_may_say_more() -> None:
    assert unpack_about(b'{"address":"::1","country":"de","how":"passkey"}') == About(address="::1", how="passkey")


def test_what_is_as_by_default_is_left_out() -> None:
    assert pack_about(About(address="::1")) == b'{"address":"::1"}'


def test_it_comes_right_behind_its_open_and_may_be_skipped() -> None:
    relay = Session(opens=True)
    for _ in range(2):
        relay.send_about(relay.open(REQUEST, fin=True), pack_about(ANN))

    sent = [(first, number) for first, number, _ in frames_of(relay.data_to_send(1 << 20))]

    assert sent == [(OPEN_FIN, 1), (ABOUT | OPTIONAL, 1), (OPEN_FIN, 2), (ABOUT | OPTIONAL, 2)]


def test_the_agent_hears_it_with_the_stream() -> None:
    pair = Pair()
    pair.relay.send_about(pair.relay.open(REQUEST, fin=True), pack_about(ANN))
    pair.settle()

    opened, about = pair.agent_heard

    assert isinstance(opened, Opened)
    assert about == AboutReceived(opened.stream, pack_about(ANN))


def test_visitors_beyond_count_are_told_about_without_a_limit() -> None:
    pair = Pair()
    for _ in range(2 * Limits().max_link_frame_burst):
        stream = pair.relay.open(REQUEST, fin=True)
        pair.relay.send_about(stream, pack_about(ANN))
        pair.settle()
        pair.agent.reset(pair.agent.streams[0], Code.UPSTREAM_UNREACHABLE)
        pair.settle()
    assert pair.agent.error is None


def test_a_stream_that_the_agent_has_reset_meanwhile_may_be_told_about() -> None:
    pair = Pair()
    near, far = pair.exchange()
    pair.relay.send_about(near, pack_about(ANN))
    pair.agent.reset(far, Code.REFUSED)
    pair.settle()
    assert pair.agent.error is None


def test_a_stream_that_is_gone_is_told_about_in_vain() -> None:
    pair = Pair()
    near, far = pair.exchange()
    pair.agent.reset(far, Code.REFUSED)
    pair.settle()
    pair.relay.send_about(near, pack_about(ANN))
    assert not pair.relay.has_data_to_send


def test_a_stream_is_told_about_once_and_by_the_opener() -> None:
    pair = Pair()
    near, far = pair.exchange()
    pair.relay.send_about(near, pack_about(ANN))
    for end, stream in ((pair.relay, near), (pair.agent, far)):
        with pytest.raises(WireError) as caught:
            end.send_about(stream, pack_about(ANN))
        assert not caught.value.is_remote


def test_an_agent_of_an_earlier_release_skips_the_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair()
    pair.relay.send_about(pair.relay.open(REQUEST, fin=True), pack_about(ANN))
    sent = pair.relay.data_to_send(1 << 20)
    monkeypatch.setattr(session_module, "ABOUT", CONTROL)  # the highest kind that it knew

    pair.agent.receive_data(sent, 1.0)

    assert [type(event) for event in pair.agent.events()] == [Opened]


@pytest.mark.parametrize(
    "offer",
    [
        Bind(tunnel=1, name="web", upstream="u", subdomain="demo", inspect=True),
        Join(tunnel=1, name="web", upstream="u", labels=(("team", "shop"),), inspect=True),
    ],
)
def test_a_relay_of_an_earlier_release_skips_the_wish_and_takes_the_tunnel(offer: Bind | Join) -> None:
    known = [field for field in msgspec.structs.fields(type(offer)) if field.name != "inspect"]
    older = msgspec.defstruct(
        "Older",
        [(f.name, f.type) if f.required else (f.name, f.type, f.default) for f in known],
        tag=offer.__struct_config__.tag,
        kw_only=True,
    )

    heard = msgspec.json.decode(msgspec.json.encode(offer), type=older)

    assert all(getattr(heard, field.name) == getattr(offer, field.name) for field in known)


@pytest.mark.parametrize(("tag", "kind"), [(b"bind", Bind), (b"join", Join)])
def test_an_agent_of_an_earlier_release_does_not_ask(tag: bytes, kind: type[Bind | Join]) -> None:
    text = b'{"type":"%b","tunnel":1,"name":"web","upstream":"u"}' % tag
    assert msgspec.json.decode(text, type=kind).inspect is False
