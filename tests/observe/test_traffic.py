"""The last requests and their figures: fair to every owner, bounded whatever visitors send, never a query."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from tests.bounds.driving import bound_of, table
from tests.observe.test_access import Clock, exchange
from tests.support.waiting import PATIENCE
from tunnelctl.series import SPAN_SECONDS
from tunnelrelay.model import Identity
from tunnelrelay.observe.access import MAX_PATH
from tunnelrelay.observe.feed import Feed
from tunnelrelay.observe.traffic import (
    DIGEST_SECONDS,
    MAX_KEPT,
    MAX_OWNERS,
    MAX_PENDING,
    MAX_SERIES,
    MAX_WORD,
    FinishedExchange,
    TrafficLog,
    fair_level,
)

NOW = 1763895622.1234


def seen(owner: str = "ann", tunnel: str = "tn_1", **changed: object) -> FinishedExchange:
    return FinishedExchange(exchange(**changed), owner, tunnel, None, None)


def log(timer: Clock | None = None, feed: Feed | None = None) -> TrafficLog:
    return TrafficLog(lambda: NOW + 1, feed, call_later=(timer or Clock()).call_later)


def total(of: TrafficLog, name: str, which: str = "hosts") -> int:
    series = getattr(of, which).find(name)
    return 0 if series is None else series.total(NOW + 2, 60).requests


def test_one_timer_for_a_batch_and_none_while_nothing_happens() -> None:
    timer = Clock()
    traffic = log(timer)
    for _ in range(3):
        traffic.add(seen())
    assert [delay for delay, _ in timer.waiting] == [DIGEST_SECONDS]
    timer.strike()
    assert timer.waiting == []
    assert total(traffic, "demo.localhost") == 3


def test_a_full_batch_does_not_wait_for_the_timer() -> None:
    traffic = log()
    for _ in range(MAX_PENDING):
        traffic.add(seen())
    assert total(traffic, "demo.localhost") == MAX_PENDING


def test_every_request_counts_for_its_host_its_owner_its_tunnel_and_for_all() -> None:
    traffic = log()
    traffic.add(seen(host="a.localhost", tunnel="tn_1"))
    traffic.add(seen(host="a.localhost", tunnel="tn_2"))
    traffic.add(seen("bob", host="b.localhost", tunnel=""))
    traffic.digest()
    assert [total(traffic, name) for name in ("a.localhost", "b.localhost")] == [2, 1]
    assert [total(traffic, name, "owners") for name in ("ann", "bob")] == [2, 1]
    assert [total(traffic, name, "tunnels") for name in ("tn_1", "tn_2", "")] == [1, 1, 0]
    assert traffic.all.total(NOW + 2, 60).requests == 3


def test_the_last_come_first_and_an_owner_sees_his_own() -> None:
    traffic = log()
    for number, owner in enumerate(("ann", "bob", "ann")):
        traffic.add(seen(owner, request_id=f"r{number}", at=NOW + number))
    assert [each.exchange.request_id for each in traffic.recent()] == ["r2", "r1", "r0"]
    assert [each.exchange.request_id for each in traffic.recent("ann")] == ["r2", "r0"]
    assert list(traffic.recent("nobody")) == []


def test_a_busy_tenant_washes_out_his_own_requests_and_not_his_neighbours() -> None:
    traffic = log()
    for number in range(10):
        traffic.add(seen("quiet", request_id=f"q{number}"))
    for number in range(3 * MAX_KEPT):
        traffic.add(seen("busy", request_id=f"b{number}", at=NOW + number))
    traffic.digest()
    assert len(list(traffic.recent("quiet"))) == 10
    assert len(list(traffic.recent())) == MAX_KEPT
    assert next(traffic.recent("busy")).exchange.request_id == f"b{3 * MAX_KEPT - 1}"


def test_more_owners_than_there_is_room_for_leave_each_of_the_last_some() -> None:
    traffic = log()
    for number in range(MAX_OWNERS + 50):
        for _ in range(8):
            traffic.add(seen(f"owner{number}", at=NOW + number))
    traffic.digest()
    assert len(list(traffic.recent())) <= MAX_KEPT
    assert len(list(traffic.recent("owner0"))) == 0
    assert len(list(traffic.recent(f"owner{MAX_OWNERS + 49}"))) == MAX_KEPT // MAX_OWNERS


def test_what_is_idle_gives_the_memory_of_its_figures_back() -> None:
    now = NOW + 1
    traffic = TrafficLog(lambda: now, call_later=Clock().call_later)
    for second in range(SPAN_SECONDS):
        traffic.add(seen(host="was-busy.localhost", tunnel="tn_1", at=NOW - second))
    traffic.digest()
    now += 2 * SPAN_SECONDS
    traffic.add(seen(host="other.localhost", tunnel="tn_2", at=now))
    traffic.digest()
    idle, other = traffic.hosts.find("was-busy.localhost"), traffic.hosts.find("other.localhost")
    blocks = bound_of("figures of the last ten minutes")
    assert idle is not None
    assert other is not None
    assert [len(table(each, blocks)) for each in (idle, other)] == [0, 1]


def test_queries_and_secrets_are_not_kept_and_long_paths_are_cut() -> None:
    traffic = log()
    traffic.add(seen(path="/cb?code=c0ffee&state=x"))
    traffic.add(seen(path="/eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.c2ln/x"))
    traffic.add(seen(path="/" + "a" * 9000, method="M" * 9000, upgrade="u" * 9000))
    kept = [each.exchange for each in traffic.recent()]
    assert "c0ffee" not in repr(kept)
    assert "eyJhbGci" not in repr(kept)
    assert max(len(each.path) for each in kept) == MAX_PATH
    assert max(len(each.method) for each in kept) == MAX_WORD
    assert max(len(each.upgrade) for each in kept) == MAX_WORD


def test_who_signed_in_by_a_request_is_kept_with_it_and_written_to_no_log() -> None:
    traffic = log()
    refused, fine = seen(request_id="r1", status=403, error="not_admitted"), seen(request_id="r2")
    traffic.note_sign_in("r1", Identity(issuer="i", subject="mallory", email="mallory@evil.example"), "email")
    traffic.add(refused)
    traffic.add(fine)
    kept = {each.exchange.request_id: each for each in traffic.recent()}
    assert (kept["r1"].exchange.email, kept["r1"].login) == ("mallory@evil.example", "email")
    assert (kept["r2"].exchange.user, kept["r2"].login) == ("", "")
    assert (refused.exchange.user, refused.exchange.email) == ("", "")


def test_those_who_signed_in_by_requests_that_never_ended_are_forgotten() -> None:
    traffic = log()
    for number in range(2 * MAX_PENDING):
        traffic.note_sign_in(f"r{number}", Identity(issuer="i", subject="s"), "")
    assert len(table(traffic, bound_of("sign-ins whose request is not over"))) == MAX_PENDING


def test_hosts_without_number_use_up_their_owners_room_and_nobody_elses() -> None:
    traffic = log()
    traffic.add(seen("quiet", host="quiet.localhost"))
    for number in range(2 * MAX_SERIES):
        traffic.add(seen("busy", host=f"h{number}.localhost", tunnel=f"tn_{number}", at=NOW + number))
    traffic.digest()
    assert len(traffic.hosts) == len(traffic.tunnels) == MAX_SERIES
    assert total(traffic, "quiet.localhost") == 1


def test_a_name_that_changed_hands_has_no_figures_of_its_former_owner() -> None:
    traffic = log()
    traffic.add(seen("ann", host="shared.localhost"))
    traffic.digest()
    assert traffic.hosts.find("shared.localhost", "bob") is None
    traffic.add(seen("bob", host="shared.localhost"))
    traffic.digest()
    assert total(traffic, "shared.localhost") == 1
    assert traffic.hosts.find("shared.localhost", "ann") is None
    assert [each.owner for each in traffic.recent("bob")] == ["bob"]


def test_each_owner_of_a_batch_is_told_once() -> None:
    told: list[str] = []

    class Heard(Feed):
        def publish(self, topic: str) -> None:
            told.append(topic)

    traffic = log(feed=Heard())
    traffic.note_sign_in("r2", Identity(issuer="i", subject="s"), "")
    for number, owner in enumerate(("ann", "bob", "ann")):
        traffic.add(seen(owner, request_id=f"r{number}"))
    traffic.digest()
    traffic.digest()
    assert sorted(told) == ["sessions:ann", "traffic:ann", "traffic:bob"]


async def test_the_loops_own_clock_counts_a_batch() -> None:
    counted = asyncio.Event()

    class Heard(Feed):
        def publish(self, topic: str) -> None:
            counted.set()

    traffic = TrafficLog(lambda: NOW, Heard())
    traffic.add(seen())
    async with asyncio.timeout(PATIENCE):
        await counted.wait()


@given(st.lists(st.integers(0, 50)), st.integers(0, 200))
def test_the_level_fills_the_room_and_cuts_the_largest_only(sizes: list[int], room: int) -> None:
    level = fair_level(sizes, room)
    assert sum(min(size, level) for size in sizes) <= room
    cut = [size for size in sizes if size > level]
    assert not cut or sum(min(size, level + 1) for size in sizes) > room
