import pytest

from tests.support.every import every
from tests.wire.pair import EARLY_HINTS, OK, Pair
from tunnelctl.wire.errors import Code, WireError
from tunnelctl.wire.frames import DATA, DATA_FIN, END_FIN, FIN, HEAD, HEAD_FIN, frame
from tunnelctl.wire.stream import ENDED, FLOWING, HEAD_DUE, INTERIM, NEXT, WAS_RESET

PAYLOADS = {
    INTERIM: EARLY_HINTS,
    INTERIM | FIN: EARLY_HINTS,
    HEAD: OK,
    HEAD_FIN: OK,
    DATA: b"x",
    DATA_FIN: b"x",
    END_FIN: b"",
}


def relay_in(state: int) -> Pair:
    """A pair whose relay has stream 1 with its receiving half in this state, and its sending half open."""
    pair = Pair()
    if state == HEAD_DUE:
        pair.exchange(fin=False)
    else:
        _, far = pair.answered(fin=False)
        if state == ENDED:
            pair.agent.end(far)
            pair.settle()
    return pair


@every("step", PAYLOADS)
@every("state", [HEAD_DUE, FLOWING, ENDED])
def test_a_step_leads_where_the_table_says_or_ends_the_link(state: int, step: int) -> None:
    pair = relay_in(state)
    (stream,) = pair.relay.streams
    assert stream.receiving == state
    kind = step | HEAD if step in (INTERIM, INTERIM | FIN) else step
    data = frame(kind, stream.id, PAYLOADS[step])
    if step in NEXT[state]:
        pair.relay.receive_data(data, 2.0)
        assert stream.receiving == NEXT[state][step]
    else:
        with pytest.raises(WireError) as caught:
            pair.relay.receive_data(data, 2.0)
        assert caught.value.code is Code.PROTOCOL


@pytest.mark.parametrize("state", [HEAD_DUE, FLOWING, ENDED])
def test_a_reset_is_taken_in_any_state(state: int) -> None:
    pair = relay_in(state)
    (stream,) = pair.relay.streams
    pair.relay.receive_data(frame(5, stream.id, b"\0\0\0\1"), 2.0)
    assert stream.receiving == stream.sending == WAS_RESET
    assert pair.relay.stream_count == 0


def test_no_step_leaves_an_end() -> None:
    assert NEXT[ENDED] == NEXT[WAS_RESET] == {}
