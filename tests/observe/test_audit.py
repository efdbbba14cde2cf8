import ast
import logging
from pathlib import Path

import pytest

from tests.bounds.driving import bound_of, tables
from tunnelctl.eventlog import Event, event_of
from tunnelrelay.observe.audit import (
    FEW,
    KINDS,
    MAX_DETAILS,
    MAX_TEXT,
    MAX_WAITING,
    MAX_WINDOWS,
    NO_AUDIT,
    WINDOW_SECONDS,
    Audit,
)

RELAY = Path(__file__).resolve().parents[2] / "server" / "tunnelrelay"


class Clock:
    def __init__(self):
        self.now = 1_700_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def audit(clock):
    return Audit(clock=clock, key=b"k" * 32, node="here")


def test_an_event_says_what_happened_when_where_and_to_whom(audit, clock):
    audit.record("login.denied", reason="rules", host="app.test", peer="192.0.2.1", request_id="r1", rule="email")

    (event,) = audit.take()

    assert (event.at, event.kind, event.reason, event.host) == (clock.now, "login.denied", "rules", "app.test")
    assert (event.peer, event.request_id, event.node, event.details) == ("192.0.2.1", "r1", "here", {"rule": "email"})
    assert audit.take() == []


def test_a_person_is_a_digest_that_is_the_same_in_every_event_and_on_every_relay_with_the_same_key(audit, clock):
    audit.record("login.ok", issuer="https://op.test", subject="ann")
    audit.record("session.end", issuer="https://op.test", subject="ann")
    audit.record("login.ok", issuer="https://other.test", subject="ann")

    first, second, elsewhere = (event.person for event in audit.take())

    assert first == second != elsewhere
    assert "ann" not in first
    assert Audit(clock=clock, key=b"k" * 32).person("https://op.test", "ann") == first
    assert Audit(clock=clock, key=b"x" * 32).person("https://op.test", "ann") != first


def test_an_event_about_nobody_names_nobody(audit):
    audit.record("store.away", issuer="https://op.test")

    assert audit.take()[0].person == ""


def test_long_and_hostile_text_is_cut_and_made_printable(audit):
    """Row 129."""
    audit.record("login.ok", host="x" * 10_000_000, request_id="a\r\nb\x1b[2J", note="\u202eevil" + "y" * 3000)

    (event,) = audit.take()

    assert len(event.host) == MAX_TEXT
    assert event.request_id.isprintable()
    assert event.details["note"].isprintable()
    assert len(event.details["note"]) < MAX_TEXT + 10


def test_what_looks_like_a_secret_does_not_come_in(audit):
    """Row 158."""
    audit.record("login.error", reason="Bearer abcdefghij", hint="code=1 access_token=s3cret", agent="tt_" + "a" * 40)

    (event,) = audit.take()

    assert "abcdefghij" not in event.reason
    assert "s3cret" not in event.details["hint"]
    assert "aaaa" not in event.details["agent"]


def test_a_secret_at_the_cut_does_not_show_its_first_half(audit):
    """Row 158."""
    audit.record("login.error", reason="x" * (MAX_TEXT - 12) + " tt_" + "a" * 40)

    assert "tt_" not in audit.take()[0].reason


def test_details_beyond_the_limit_are_left_away(audit):
    audit.record("login.ok", **{f"name{number}": "x" for number in range(100)})

    assert len(audit.take()[0].details) == MAX_DETAILS


def test_a_kind_nobody_knows_is_told_in_the_log_and_harms_nobody(audit, caplog):
    audit.record("login.perhaps")

    assert audit.take() == []
    assert "audit event lost" in caplog.text


def test_what_cannot_be_text_is_lost_without_an_exception(audit, caplog):
    class Odd:
        def __str__(self):
            raise RuntimeError("no")

    audit.record("login.ok", thing=Odd())

    assert audit.take() == []


def test_an_event_is_logged_with_its_fields(audit, caplog):
    caplog.set_level(logging.INFO, logger="tunnelrelay.audit")

    audit.record("tunnel.bound", owner="ann", name="web", args="x")

    (record,) = caplog.records
    assert event_of(record) == Event(
        "audit", {"kind": "tunnel.bound", "owner": "ann", "node": "here", "detail_name": "web", "detail_args": "x"}
    )


def test_a_flood_at_one_host_is_counted_and_hides_nothing_of_another(audit, clock, caplog):
    """Row 129."""
    caplog.set_level(logging.INFO, logger="tunnelrelay.audit")
    for _ in range(1000):
        audit.record("login.start", host="flooded.test")
    audit.record("login.start", host="quiet.test")

    hosts = [event.host for event in audit.take()]

    assert hosts == ["flooded.test"] * FEW + ["quiet.test"]
    assert len(caplog.records) == FEW + 1


@pytest.mark.parametrize("kind", ["login.ok", "logout.backchannel", "login.denied", "session.refresh", "logout.local"])
def test_an_owner_whose_own_provider_signs_in_without_end_fills_no_disk(audit, kind):
    """Row 129."""
    for _ in range(2000):
        audit.record(kind, host="mallory.test", connection="mallory")
    audit.record(kind, host="ann.test", connection="ann")

    assert len(audit.take()) == KINDS[kind].limit + 1


def test_what_was_left_out_is_told_once_its_minute_is_over(audit, clock):
    """Row 129."""
    for _ in range(FEW + 7):
        audit.record("login.error", host="flooded.test")
    audit.take()
    clock.now += WINDOW_SECONDS

    (event,) = audit.take()

    assert (event.kind, event.host, event.reason, event.details) == (
        "login.error",
        "flooded.test",
        "left_out",
        {"count": "7"},
    )
    audit.record("login.error", host="flooded.test")
    assert len(audit.take()) == 1


@pytest.mark.parametrize("kind", ["backchannel.refused", "logout.backchannel"])
def test_what_providers_send_about_one_connection_washes_away_nothing_of_another(audit, kind):
    """Row 129. There is no host in a logout token."""
    for _ in range(1000):
        audit.record(kind, connection="flooded")
    audit.record(kind, connection="mine")

    assert [event.connection for event in audit.take()][-1] == "mine"


def test_a_tenant_who_binds_ever_new_names_floods_only_himself(audit):
    """Row 129."""
    for number in range(1000):
        audit.record("tunnel.bound", owner="mallory", host=f"h{number}.test")
    audit.record("tunnel.bound", owner="ann", host="app.test")

    owners = [event.owner for event in audit.take()]

    assert owners == ["mallory"] * KINDS["tunnel.bound"].limit + ["ann"]


@pytest.mark.parametrize("is_told", [True, False])
def test_a_tenant_with_very_many_hosts_hides_nothing_of_his_neighbours(clock, is_told):
    """Row 129. He is known by the event, or by his host."""
    audit = Audit(clock=clock, owner_of=lambda host: host.partition(".")[2])
    kinds = [kind for kind, meaning in KINDS.items() if meaning.limit is not None and meaning.by == "host"]
    for number in range(MAX_WINDOWS):
        for kind in kinds:
            audit.record(kind, host=f"h{number}.mallory", owner="mallory" if is_told else "")
    audit.take(10**6)

    audit.record("login.denied", host="app.ann", reason="group")
    assert [(event.host, event.reason) for event in audit.take()] == [("app.ann", "group")]

    clock.now += WINDOW_SECONDS
    told = [event for event in audit.take(10**6) if event.kind == "login.denied"]
    assert {event.reason for event in told} == {"left_out"}
    assert {event.owner for event in told} == {"mallory"}
    audit.record("login.denied", host="h1.mallory")
    assert len(audit.take()) == 1


def test_the_counters_themselves_are_bounded(audit):
    """Row 129."""
    for number in range(3 * MAX_WINDOWS):
        audit.record("smuggling.refused", host=f"h{number}.test")

    windows, _ = tables(audit, bound_of("counters of audit events of a minute"))
    assert len(windows) <= MAX_WINDOWS + 1


def test_events_wait_in_bounded_room_and_the_loss_is_told(audit):
    for _ in range(MAX_WAITING + 5):
        audit.record("store.back")

    assert len(audit.take()) == MAX_WAITING
    (told,) = audit.take()
    assert (told.kind, told.details) == ("audit.lost", {"count": "5"})


def test_events_that_could_not_be_written_come_first_the_next_time(audit):
    audit.record("login.ok", host="one.test")
    audit.record("login.ok", host="two.test")
    taken = audit.take()
    audit.record("login.ok", host="three.test")

    audit.give_back(taken)

    assert [event.host for event in audit.take()] == ["one.test", "two.test", "three.test"]


def test_events_given_back_do_not_grow_the_room(audit):
    for _ in range(MAX_WAITING):
        audit.record("store.back")
    taken = audit.take()
    for _ in range(10):
        audit.record("login.ok")

    audit.give_back(taken)

    assert len(audit.take()) == MAX_WAITING


def test_nobody_to_tell_is_no_error():
    NO_AUDIT.record("login.ok", host="app.test")

    assert NO_AUDIT.take() == []


def test_every_kind_that_is_recorded_is_in_the_table():
    calls = [
        node
        for path in RELAY.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
    ]
    recorded = {
        arg.value
        for node in calls
        if isinstance(node.func, ast.Attribute) and node.func.attr == "record"
        for arg in node.args[:2]
        if isinstance(arg, ast.Constant) and isinstance(arg.value, str)
    }

    assert recorded - set(KINDS) == set()
