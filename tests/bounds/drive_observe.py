"""Drivers for logs, audit events, figures and the pages that follow them."""

import threading
from collections import deque
from typing import Any

import pytest

from tests.bounds.driving import address, bound_of, drives, host, measured, owner, table, tables
from tunnelctl.bounds import DeclaredBound
from tunnelctl.line_writer import LineWriter
from tunnelctl.series import SPAN_SECONDS, Series
from tunnelrelay.model import Identity
from tunnelrelay.observe.access import MAX_PATH, AccessLog, ExchangeRecord, text_line, visitor_part
from tunnelrelay.observe.audit import KINDS, MAX_CHANGE, MAX_DETAILS, MAX_TEXT, Audit
from tunnelrelay.observe.feed import Feed, Following, TooManyFollowers
from tunnelrelay.observe.metrics import Metrics
from tunnelrelay.observe.traffic import FinishedExchange, SeriesTable, TrafficLog
from tunnelrelay.oidc.tokens.identity import MAX_VALUE

NOW = 1_800_000_000.0
SUBJECT = "s" * (MAX_VALUE - 6)


def exchange(number: int) -> ExchangeRecord:
    """As large as a visitor of a guarded endpoint can make one: the head's bytes go into its path."""
    return ExchangeRecord(
        at=NOW,
        request_id=f"0123abcd-{number:x}",
        peer=address(number),
        method="M" * 128,
        host=host(number),
        path=f"/{number:06d}" + "p" * (8 * 1024 - 10),
        status=200,
        seconds=0.1,
        user=f"{number:06d}{SUBJECT}",
        email=f"{number:06d}" + "e" * 248,
        agent=f"{owner(number)}/{'n' * 80}",
        upgrade=f"{number:06d}" + "u" * 4_000,
    )


def seen(number: int, whose: str = "ann") -> FinishedExchange:
    return FinishedExchange(exchange(number), whose, f"tn_{number:026d}", None, None)


def never(delay: float, callback: object) -> None:
    """The timer that no driver waits for."""


@drives("requests not written to the log yet")
def drive_access(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[int] = []
    log = AccessLog(lambda lines: batches.append(lines.count(b"\n")), call_later=never)
    with measured() as memory:
        for number in range(2 * bound.limit - 1):
            log.add(exchange(number))
            assert len(table(log, bound)) <= bound.limit
        assert memory.taken <= bound.worst_bytes
    assert batches == [bound.limit]


@drives("visitors whose part of a log line is remembered")
def drive_who(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    visitor_part.cache_clear()
    with measured() as memory:
        for number in range(2 * bound.limit):
            text_line(exchange(number))
        assert visitor_part.cache_info().currsize == bound.limit
        assert memory.taken <= bound.worst_bytes
    visitor_part.cache_clear()


@drives("audit events that wait for the store")
def drive_audit(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = bound.limit // 8
    monkeypatch.setattr("tunnelrelay.observe.audit.MAX_WAITING", limit)
    audit = Audit(clock=lambda: NOW)
    details = {f"d{number}": "" for number in range(MAX_DETAILS - 2)} | {"before": "", "after": ""}
    with measured() as memory:
        for number in range(2 * limit):
            text = f"{number:06d}" + "t" * MAX_TEXT
            texts: Any = dict.fromkeys(("reason", "host", "connection", "owner", "issuer", "peer", "actor"), text)
            told = {
                name: f"{number:06d}" + "c" * (MAX_CHANGE if name in ("before", "after") else 200) for name in details
            }
            audit.record("edge.updated", subject="s", request_id=text, **texts, **told)
            assert len(table(audit, bound)) <= limit
        assert audit.lost == limit
        assert 8 * memory.taken <= bound.worst_bytes


@drives("counters of audit events of a minute")
def drive_windows(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    audit = Audit(clock=lambda: NOW, owner_of=lambda name: f"owner of {name}"[:64])
    kinds = sum(kind.limit is not None for kind in KINDS.values())
    windows, _ = tables(audit, bound)
    with measured() as memory:
        for number in range(2 * bound.limit):
            audit.record("login.start", host=host(number), owner=owner(number))
            assert len(windows) <= bound.limit + kinds
            if number % 1_000 == 0:
                audit.take()
        audit.take()
        assert memory.taken <= bound.worst_bytes


@drives("open pages that are kept up to date")
def drive_followers(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    feed = Feed()
    topics = [f"{family}:{owner(0)}" for family in ("edges", "tunnels", "traffic", "sessions", "audit")]
    followers: list[Following] = []
    with measured() as memory:
        followers.extend(feed.follow(topics, of=f"usr_{number:026d}") for number in range(bound.limit))
        for topic in topics:
            feed.publish(topic)
        with pytest.raises(TooManyFollowers):
            feed.follow(topics, of="one more")
        assert memory.taken <= bound.worst_bytes
    assert feed.follower_count == bound.limit


@drives("open pages of one user")
def drive_pages_of_one(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    feed = Feed()
    followers = [feed.follow(["traffic"], of="ann") for _ in range(bound.limit)]
    with pytest.raises(TooManyFollowers):
        feed.follow(["traffic"], of="ann")
    followers.append(feed.follow(["traffic"], of="bob"))
    assert feed.follower_count == bound.limit + 1


class StuckSink:
    """A reader that takes nothing more until it is let go."""

    def __init__(self) -> None:
        self.is_free, self.is_stuck = threading.Event(), threading.Event()

    def write(self, data: bytes) -> None:
        self.is_stuck.set()
        self.is_free.wait()


@drives("log lines that wait to be written")
def drive_lines(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = StuckSink()
    with measured() as memory:
        writer = LineWriter(sink.write)
        writer.write(b"x\n")
        sink.is_stuck.wait()
        for number in range(2 * bound.limit // 1024):
            writer.write(b"%06d" % number + b"x" * 1017 + b"\n")
            if number % 500 == 0:
                assert sum(map(len, list(table(writer, bound)))) <= bound.limit
        assert writer.dropped == bound.limit // 1024
        assert memory.taken <= bound.worst_bytes
    sink.is_free.set()
    writer.close()


@drives("figures of the last ten minutes")
def drive_series(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    series = Series()
    blocks = table(series, bound)
    with measured() as memory:
        for second in range(2 * SPAN_SECONDS):
            series.add(int(NOW) + second, 0, 3)
            assert len(blocks) <= bound.limit
        assert memory.taken <= bound.worst_bytes


@drives("hosts, owners and tunnels with figures")
def drive_series_table(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    table = SeriesTable()
    with measured() as memory:
        for number in range(2 * bound.limit):
            series = table.of(host(number), owner(number))
            for second in range(0, SPAN_SECONDS, 20):
                series.add(int(NOW) + second, 0, 3)
            assert len(table) <= bound.limit
        assert 3 * memory.taken <= bound.worst_bytes


def traffic() -> TrafficLog:
    return TrafficLog(lambda: NOW, call_later=never)


@drives("requests that can be looked at")
def drive_kept(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    log = traffic()
    with measured() as memory:
        for number in range(bound.limit + 600):
            log.add(seen(number))
        log.digest()
        assert sum(1 for _ in log.recent()) <= bound.limit
        assert next(log.recent("ann")).exchange.request_id == f"0123abcd-{number:x}"
        assert max(len(each.exchange.path) for each in log.recent("ann")) <= MAX_PATH
        log.hosts, log.tunnels = SeriesTable(), SeriesTable()
        assert memory.taken <= bound.worst_bytes


@drives("requests not counted yet")
def drive_pending(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    log = traffic()
    with measured() as memory:
        for number in range(bound.limit - 1):
            log.add(seen(number))
        assert memory.taken <= bound.worst_bytes
    for number in range(bound.limit):
        log.add(seen(number))
        assert len(table(log, bound)) < bound.limit


@drives("sign-ins whose request is not over")
def drive_signed_in(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    log = traffic()
    with measured() as memory:
        for number in range(2 * bound.limit):
            who = Identity(
                issuer=f"{number:06d}" + "i" * 2042,
                subject=f"{number:06d}{SUBJECT}",
                email=f"{number:06d}" + "e" * 1000,
                name=f"{number:06d}" + "n" * 1000,
                groups=tuple(f"{number:06d}-{group}" + "g" * 48 for group in range(64)),
            )
            log.note_sign_in(f"r-{number}", who, "")
            assert len(table(log, bound)) <= bound.limit
        assert memory.taken <= bound.worst_bytes
    assert "r-0" not in table(log, bound)


@drives("owners whose last requests can be looked at")
def drive_kept_owners(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    log = traffic()
    log.digest()
    kept = table(log, bound_of("requests that can be looked at"))
    with measured() as memory:
        for number in range(bound.limit):
            kept[owner(number)] = deque()
        assert memory.taken <= bound.worst_bytes
        kept.clear()
    for number in range(bound.limit + 50):
        log.add(seen(number, owner(number)))
    log.digest()
    assert len(kept) == bound.limit
    assert next(log.recent(owner(0)), None) is None
    assert next(log.recent(owner(number))).owner == owner(number)


@drives("values of a metric's label")
def drive_labels(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = Metrics()

    def tcp(outcome: str) -> None:
        metrics.tcp(outcome, 0, 0)

    counted = (metrics.error, metrics.refused_head, metrics.login, metrics.agent, metrics.limited, tcp)
    with measured() as memory:
        for number in range(2 * bound.limit):
            for count in counted:
                count(f"{number:04d}" + "v" * 60)
        assert memory.taken <= bound.worst_bytes
    assert {len(values) for values in metrics.counts.values()} == {bound.limit + 1}
    assert metrics.counts["errors"]["other"] == bound.limit
