import pytest

from tunnelctl.wire.errors import Code, WireError
from tunnelctl.wire.heartbeat import Heartbeat


def test_a_pong_measures_the_round_trip_and_later_ones_smooth_it() -> None:
    heartbeat = Heartbeat(3)
    first = heartbeat.ping(10.0)
    assert heartbeat.pong(first, 10.5) == 0.5
    assert heartbeat.rtt == 0.5
    heartbeat.pong(heartbeat.ping(20.0), 21.3)
    assert heartbeat.rtt == pytest.approx(0.6)


def test_answered_pings_make_room_for_others() -> None:
    heartbeat = Heartbeat(1)
    for now in (1.0, 2.0, 3.0):
        assert heartbeat.pong(heartbeat.ping(now), now) == 0.0


def test_pongs_answer_pings_in_order() -> None:
    heartbeat = Heartbeat(3)
    heartbeat.ping(1.0)
    with pytest.raises(WireError):
        heartbeat.pong(heartbeat.ping(2.0), 3.0)


@pytest.mark.parametrize("payload", [b"", b"12345678", b"\x7f\xf8\0\0\0\0\0\0"])
def test_a_pong_nobody_asked_for_is_refused(payload: bytes) -> None:
    heartbeat = Heartbeat(3)
    with pytest.raises(WireError):
        heartbeat.pong(payload, 1.0)


def test_too_many_unanswered_pings_end_the_link() -> None:
    heartbeat = Heartbeat(3)
    for now in (5.0, 10.0, 15.0):
        heartbeat.ping(now)
    with pytest.raises(WireError) as caught:
        heartbeat.ping(20.0)
    assert caught.value.code is Code.HEARTBEAT


def test_a_clock_that_goes_back_gives_no_negative_round_trip() -> None:
    heartbeat = Heartbeat(3)
    assert heartbeat.pong(heartbeat.ping(10.0), 9.0) == 0.0
