from tests.wire.pair import Pair
from tunnelctl.wire.errors import Code
from tunnelctl.wire.limits import Limits
from tunnelctl.wire.stream import FLOWING, HEAD_DUE, INITIAL_WINDOW, Stream
from tunnelctl.wire.window import Budget, earned, release

MAX = 4 << 20


def consume(stream: Stream, budget: Budget, *, windows: int, seconds_each: float, rtt: float | None) -> None:
    """Receive and consume so many whole windows, each in so long."""
    now = 100.0
    for _ in range(windows * 2):
        now += seconds_each / 2
        n = stream.window // 2
        stream.left -= n
        stream.owed += n
        earned(stream, now, rtt, budget, MAX)


def test_a_window_that_goes_by_within_two_round_trips_doubles_until_its_limit() -> None:
    stream, budget = Stream(1, HEAD_DUE, FLOWING), Budget(64 << 20)
    consume(stream, budget, windows=12, seconds_each=0.05, rtt=0.05)
    assert stream.window == MAX
    assert budget.used == MAX - INITIAL_WINDOW
    assert stream.unconsumed == 0


def test_a_slow_stream_keeps_its_first_window() -> None:
    stream, budget = Stream(1, HEAD_DUE, FLOWING), Budget(64 << 20)
    consume(stream, budget, windows=12, seconds_each=1.0, rtt=0.05)
    assert stream.window == INITIAL_WINDOW


def test_nothing_grows_before_the_round_trip_is_known() -> None:
    stream, budget = Stream(1, HEAD_DUE, FLOWING), Budget(64 << 20)
    consume(stream, budget, windows=12, seconds_each=0.0, rtt=None)
    assert stream.window == INITIAL_WINDOW


def test_growth_ends_where_the_budget_ends_and_release_brings_it_back_once() -> None:
    parent = Budget(INITIAL_WINDOW * 2)
    budget = Budget(64 << 20, parent)
    stream = Stream(1, HEAD_DUE, FLOWING)
    consume(stream, budget, windows=12, seconds_each=0.05, rtt=0.05)
    assert stream.window == INITIAL_WINDOW * 2
    assert parent.used == budget.used == INITIAL_WINDOW
    release(stream, budget)
    release(stream, budget)
    assert parent.used == budget.used == 0


def test_a_refusal_above_draws_nothing_below() -> None:
    parent = Budget(10)
    assert not Budget(100, parent).take(11)
    assert Budget(100, parent).take(10)
    assert not Budget(100, parent).take(1)


def test_a_closed_budget_has_brought_everything_back_and_gives_nothing() -> None:
    parent = Budget(100)
    budget = Budget(100, parent)
    budget.take(60)
    budget.close()
    budget.give(60)
    assert (parent.used, budget.used) == (0, 0)
    assert not budget.take(1)


def download(pair: Pair, size: int, rtt: float) -> None:
    """A download through two sessions that are half a round trip apart."""
    near, far = pair.answered()
    pair.agent.send_data(far, bytes(size), fin=True)
    assert pair.read_all(rtt=rtt) == size
    assert near.is_closed
    assert far.is_closed


def test_a_download_over_a_long_way_widens_its_window_and_gives_the_budget_back() -> None:
    relay_wide = Budget(64 << 20)
    pair = Pair(budget=relay_wide)
    pair.relay.ping(pair.now)
    pair.to_agent()
    pair.now += 0.05
    pair.to_relay()
    assert pair.relay.rtt is not None
    near, far = pair.answered()
    pair.agent.send_data(far, bytes(16 << 20))
    rounds, total = 0, 0
    while total < 16 << 20:
        before = relay_wide.used
        pair.now += 0.05
        pair.to_relay()
        size = sum(len(event.data) for event in pair.relay_heard if hasattr(event, "data"))
        pair.relay_heard.clear()
        pair.relay.consumed(near, size)
        pair.to_agent()
        total += size
        rounds += 1
        assert relay_wide.used >= before
    assert near.window == 4 << 20
    # A fixed window would have taken 256 round trips.
    assert rounds < 24
    pair.agent.send_data(far, b"", fin=True)
    pair.settle()
    assert relay_wide.used == 0


def test_a_window_stays_within_the_links_budget() -> None:
    pair = Pair(relay=Limits(max_link_growth=INITIAL_WINDOW))
    pair.relay.ping(pair.now)
    pair.to_agent()
    pair.now += 0.05
    pair.to_relay()
    download(pair, 2 << 20, 0.05)


def test_growth_stays_drawn_while_unconsumed_bytes_of_an_ended_stream_need_it() -> None:
    pair, relay_wide, near, far = grown()
    pair.agent.send_data(far, bytes(far.credit), fin=True)
    pair.settle()
    assert near.is_closed
    assert relay_wide.used > 0
    pair.relay.consumed(near, near.unconsumed)
    assert relay_wide.used == 0


def test_whoever_drops_the_rest_of_an_ended_stream_says_so_with_reset() -> None:
    pair, relay_wide, near, far = grown()
    pair.agent.send_data(far, bytes(far.credit), fin=True)
    pair.settle()
    pair.relay.reset(near, Code.CANCELLED)
    assert relay_wide.used == 0
    assert not pair.relay.has_data_to_send


def test_a_closed_session_gives_its_budget_back() -> None:
    pair, relay_wide, near, _ = grown()
    assert pair.relay.close() == (near,)
    assert relay_wide.used == 0
    assert pair.relay.stream_count == 0


def grown() -> tuple[Pair, Budget, Stream, Stream]:
    """A stream whose window has grown."""
    relay_wide = Budget(64 << 20)
    pair = Pair(budget=relay_wide)
    pair.relay.ping(pair.now)
    pair.to_agent()
    pair.now += 0.05
    pair.to_relay()
    near, far = pair.answered()
    while near.window == INITIAL_WINDOW:
        pair.agent.send_data(far, bytes(INITIAL_WINDOW))
        pair.read_all(rtt=0.001)
    return pair, relay_wide, near, far
