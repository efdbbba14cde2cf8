"""The store of captured exchanges: whatever visitors send, it stays within its bounds and forgets the oldest first."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.inspector.making import Clock, captured, opened
from tunnelctl.inspector import store as store_module
from tunnelctl.inspector.store import CAPTURE_BYTES, MAX_BODY, CaptureStore
from tunnelctl.wire.errors import Code


class Heard:
    def __init__(self):
        self.numbers = []

    def changed(self, number):
        self.numbers.append(number)

    def cleared(self):
        self.numbers.append("cleared")


def numbers(store):
    return [one.number for one in store.newest()]


def test_a_capture_keeps_heads_bodies_and_times():
    clock = Clock()
    store = CaptureStore(clock=clock, now=lambda: 1_700_000_000.5)
    capture = store.begin("web", opened("POST /x HTTP/1.1"))
    steps = [
        capture.sending,
        lambda: capture.request_data(b"ab"),
        lambda: capture.request_data(memoryview(b"cd")),
        capture.request_ended,
        lambda: capture.answered(200, b"A: b\r\n"),
        lambda: capture.response_data(b"ok"),
        lambda: capture.ended(None, ""),
    ]
    for step in steps:
        clock.time += 1
        step()
    assert (bytes(capture.request_body), bytes(capture.response_body)) == (b"abcd", b"ok")
    assert (capture.status, capture.lines, capture.started_at) == (200, b"A: b\r\n", 1_700_000_000.5)
    times = (capture.began, capture.sent_from, capture.sent_to, capture.answered_at, capture.over_at)
    assert times == (1000.0, 1001.0, 1004.0, 1005.0, 1007.0)
    assert capture.is_over


def test_the_oldest_is_forgotten_when_there_are_too_many(monkeypatch):
    monkeypatch.setattr(store_module, "MAX_CAPTURES", 3)
    store = CaptureStore()
    made = [captured(store) for _ in range(5)]
    assert numbers(store) == [5, 4, 3]
    assert store.find(2) is None
    assert store.find(3) is made[2]
    assert (store.find(0), store.find(6)) == (None, None)


def test_the_oldest_are_forgotten_when_there_is_no_room_and_let_go_of_what_they_held():
    store = CaptureStore(max_bytes=3 * CAPTURE_BYTES + 3 * MAX_BODY)
    first = captured(store, answer=b"x" * MAX_BODY)
    for _ in range(3):
        captured(store, answer=b"x" * MAX_BODY)
    assert first.number not in numbers(store)
    assert (first.response_body, first.lines) == (b"", b"")
    assert store.size <= store.max_bytes


def test_an_open_exchange_that_was_forgotten_keeps_nothing_more():
    store = CaptureStore(max_bytes=2 * CAPTURE_BYTES)
    open_one = store.begin("web", opened())
    captured(store)
    open_one.answered(200, b"A: b\r\n")
    open_one.response_data(b"x" * 1000)
    open_one.ended(None, "")
    assert (open_one.lines, open_one.response_body, open_one.response_size) == (b"", b"", 1000)
    assert store.size <= store.max_bytes


def test_a_body_is_kept_to_its_bound_and_counted_whole():
    store = CaptureStore()
    capture = store.begin("web", opened())
    piece = b"x" * 64 * 1024
    for _ in range(1000):
        capture.response_data(piece)
    assert (len(capture.response_body), capture.response_size) == (MAX_BODY, 1000 * len(piece))
    assert store.size < CAPTURE_BYTES + MAX_BODY + 200


def test_nothing_is_kept_of_what_follows_a_switch_of_protocols():
    store = CaptureStore()
    capture = store.begin("web", opened(is_upgrade=True))
    capture.answered(101, b"")
    capture.request_data(b"frames")
    capture.response_data(b"frames")
    assert (capture.request_body, capture.response_body, capture.request_size) == (b"", b"", 6)


def test_a_store_without_room_keeps_nothing():
    store = CaptureStore(max_bytes=0)
    captured(store, answer=b"x" * 100)
    assert (numbers(store), store.size) == ([], 0)


def test_all_can_be_forgotten_and_numbers_go_on():
    store = CaptureStore()
    open_one = store.begin("web", opened())
    captured(store)
    store.clear()
    open_one.response_data(b"late")
    assert (numbers(store), store.size) == ([], 0)
    assert captured(store).number == 3
    assert store.find(3) is not None


def test_listeners_hear_of_beginnings_ends_and_clearing():
    store, heard = CaptureStore(), Heard()
    store.listen(heard)
    captured(store)
    store.clear()
    forgotten = store.begin("web", opened())
    store.clear()
    forgotten.ended(Code.CANCELLED, "")
    assert heard.numbers == [1, 1, "cleared", 2, "cleared"]
    store.unlisten(heard)
    captured(store)
    assert heard.numbers[-1] == "cleared"


def test_ids_are_sixteen_hexadecimal_digits_that_grow_and_lead_back():
    store = CaptureStore(now=lambda: 0x548FB5C7)
    captured(store)
    later = captured(store)
    id_ = store.id_of(later.number)
    assert id_ == "548fb5c700000002"
    assert store.number_of(id_) == 2


@pytest.mark.parametrize(
    "id_", ["", "2", "548fb5c700000000", "548fb5c700000003", "548FB5C700000001", "x" * 16, "²" * 16]
)
def test_what_is_no_id_of_ours_leads_nowhere(id_):
    store = CaptureStore(now=lambda: 0x548FB5C7)
    captured(store)
    captured(store)
    assert store.number_of(id_) == 0
    assert store.find(0) is None


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["begin", "request", "answer", "response", "end", "clear"]),
        st.integers(0, 5),
        st.binary(max_size=400),
    ),
    max_size=60,
)


@given(steps=STEPS, max_bytes=st.integers(0, 3 * CAPTURE_BYTES))
def test_whatever_comes_the_sum_is_right_and_within_its_bound(steps, max_bytes):
    store = CaptureStore(max_bytes=max_bytes)
    open_ones = []
    for what, which, data in steps:
        if what == "begin":
            open_ones.append(store.begin("web", opened("GET / HTTP/1.1", f"A: {data.hex()}")))
        elif what == "clear":
            store.clear()
        elif open_ones:
            one = open_ones[which % len(open_ones)]
            match what:
                case "request":
                    one.request_data(data)
                case "answer":
                    one.answered(200, data)
                case "response":
                    one.response_data(memoryview(data))
                case "end":
                    one.ended(None, "")
        kept = list(store.newest())
        assert store.size == sum(one.size for one in kept) <= max_bytes
        for one in kept:
            held = len(one.opened.head) + len(one.lines) + len(one.request_body) + len(one.response_body)
            assert one.size >= CAPTURE_BYTES + held
            assert store.find(one.number) is one
        for one in open_ones:
            assert one.is_kept or not (one.lines or one.request_body or one.response_body)
