"""Who sees what of the traffic, and what they are told about who came in."""

import asyncio
from typing import Any

import pytest

from tests.observe.test_access import Clock, exchange
from tests.oidc.world import APP, CLIENT_ID, ISSUER, Browser, World, connection
from tests.policy.making import oidc, policy
from tests.support.memory_store import MemoryStore
from tests.support.waiting import PATIENCE
from tunnelctl.wire.messages import JwtSpec
from tunnelrelay.address import PublicAddress
from tunnelrelay.keys.keyring import KeyRing
from tunnelrelay.model import Identity
from tunnelrelay.observe.audit import NO_AUDIT
from tunnelrelay.observe.feed import MAX_OF_ONE, Feed
from tunnelrelay.observe.traffic import FinishedExchange, TrafficLog
from tunnelrelay.oidc.sessions.access_tokens import Program
from tunnelrelay.policy.rules import Policy, Rules
from tunnelrelay.services.actor import Actor
from tunnelrelay.services.problems import Kind, ManageError
from tunnelrelay.services.service_base import ServiceBase
from tunnelrelay.services.traffic import Traffic

NOW = 1763895622.1234


def actor(owner: str = "ann", *, is_admin: bool = False, scopes: frozenset[str] = frozenset({"*"})) -> Actor:
    return Actor(user_id=f"usr_{owner}", name=owner, owner=owner, is_admin=is_admin, via="api", scopes=scopes)


ANN, BOB, ADMIN = actor(), actor("bob"), actor("root", is_admin=True)


class Scene:
    """The traffic of a relay without the relay."""

    def __init__(self) -> None:
        self.feed = Feed()
        self.log = TrafficLog(lambda: NOW + 1, self.feed, call_later=Clock().call_later)
        base = ServiceBase(
            store=MemoryStore(),
            ring=KeyRing.generate(NOW),
            policy_key=b"k" * 32,
            address=PublicAddress(scheme="https", domain="tun.example", port=443),
            audit=NO_AUDIT,
            clock=lambda: NOW + 1,
            cool_seconds=0,
        )
        self.traffic = Traffic(base, self.log, self.feed)

    def saw(
        self,
        owner: str = "ann",
        tunnel: str = "tn_1",
        guard: Policy | None = None,
        by: object = None,
        exempt: str = "",
        **changed: Any,
    ) -> None:
        self.log.add(FinishedExchange(exchange(**changed), owner, tunnel, guard, by, exempt))

    def only(self) -> tuple[str, str]:
        (row,) = self.traffic.recent(ADMIN)
        return row.verdict, row.rule


@pytest.fixture
def s() -> Scene:
    return Scene()


def test_a_member_sees_only_what_his_own_endpoints_are_asked(s: Scene) -> None:
    """Row 138."""
    s.saw("ann", "tn_a", host="a.localhost", request_id="r-ann")
    s.saw("bob", "tn_b", host="b.localhost", request_id="r-bob")

    assert [row.id for row in s.traffic.recent(ANN)] == ["r-ann"]
    assert s.traffic.recent(ANN, host="b.localhost") == []
    assert {row.id for row in s.traffic.recent(ADMIN)} == {"r-ann", "r-bob"}
    assert s.traffic.series(ANN).minute.requests == 1
    assert s.traffic.series(ANN, "b.localhost").minute.requests == 0
    assert s.traffic.series(ADMIN).minute.requests == 2
    assert s.traffic.by_host(ANN).keys() == {"a.localhost"}
    assert s.traffic.by_host(ADMIN).keys() == {"a.localhost", "b.localhost"}
    assert s.traffic.by_tunnel(ANN, ("tn_b",))["tn_b"].minute.requests == 0


def test_somebody_elses_request_and_none_at_all_are_told_apart_by_nobody(s: Scene) -> None:
    """Row 138."""
    s.saw("bob", request_id="r-bob")
    problems = []
    for request_id in ("r-bob", "r-none"):
        with pytest.raises(ManageError) as caught:
            s.traffic.get(ANN, request_id)
        problems.append((caught.value.kind, caught.value.message))
    assert problems == [(Kind.MISSING, "There is no such request.")] * 2
    assert s.traffic.get(BOB, "r-bob").id == "r-bob"


async def test_a_member_is_told_of_his_own_changes_only(s: Scene) -> None:
    """Row 138."""
    changes = aiter(s.traffic.follow(ANN, "traffic", "tunnels"))
    assert await anext(changes) == {"traffic", "tunnels"}
    waiting = asyncio.ensure_future(anext(changes))
    s.feed.publish("traffic:bob")
    s.feed.publish("tunnels:bob")
    await asyncio.sleep(0)
    assert not waiting.done()
    s.feed.publish("traffic:ann")
    async with asyncio.timeout(PATIENCE):
        assert await waiting == {"traffic"}


@pytest.mark.parametrize("ask", ["recent", "series", "by_host"])
def test_a_key_without_the_scope_sees_nothing(s: Scene, ask: str) -> None:
    with pytest.raises(ManageError) as caught:
        getattr(s.traffic, ask)(actor(scopes=frozenset({"edges:write"})))
    assert caught.value.code == "scope_missing"


def test_who_follows_too_much_is_told_so(s: Scene) -> None:
    held = [s.traffic.follow(ANN, "traffic") for _ in range(MAX_OF_ONE)]
    with pytest.raises(ManageError) as caught:
        s.traffic.follow(ANN, "traffic")
    assert caught.value.kind is Kind.AWAY
    held[0].close()
    assert s.traffic.follow(ANN, "traffic")


def test_requests_can_be_asked_for_by_host_by_status_and_by_how_they_ended(s: Scene) -> None:
    s.saw(request_id="fine", host="a.localhost")
    s.saw(request_id="failed", host="a.localhost", status=502, error="upstream_unreachable", source="upstream")
    s.saw(request_id="refused", tunnel="", status=403, error="network_denied", source="ingress")

    def ids(**asked: Any) -> list[str]:
        return [row.id for row in s.traffic.recent(ADMIN, **asked)]

    assert ids(host="a.localhost", status=5) == ["failed"]
    assert ids(status=4) == ids(verdict="kept out") == ["refused"]
    assert len(ids(limit=2)) == 2


def test_people_are_counted_once_and_only_where_they_came_in(s: Scene) -> None:
    program = Program(
        id_digest=b"",
        identity=Identity(issuer="i", subject="ci"),
        version="",
        expires_at=0,
        checked_until=0,
        fields=b"",
    )
    s.saw(by=program, user="ci")
    s.saw(by=program, user="ci")
    s.saw(user="", request_id="nobody")
    s.saw("bob", by=program, user="bobs-ci")
    assert (s.traffic.people(ANN), s.traffic.people(ADMIN)) == (1, 2)


def test_a_tunnels_share_is_its_part_of_what_those_beside_it_served(s: Scene) -> None:
    for tunnel in ("tn_1", "tn_1", "tn_1", "tn_2"):
        s.saw(tunnel=tunnel, at=NOW - 5)
    figures = s.traffic.by_tunnel(ANN, ("tn_1", "tn_2", "tn_3"))
    assert [figures[name].share for name in ("tn_1", "tn_2", "tn_3")] == [0.75, 0.25, 0]


def test_whoever_needed_no_name_came_in_by_what_guards_the_endpoint(s: Scene) -> None:
    s.saw(guard=policy(basic_auth=("ann:correct-horse",)))
    assert s.only() == ("let in", "basic auth")


def test_what_exempted_a_request_from_the_login_is_told(s: Scene) -> None:
    s.saw(guard=policy(oidc=oidc(allow_preflight=True)), exempt="CORS preflight")
    assert s.only() == ("let in", "CORS preflight")


def test_whoever_was_kept_out_is_told_why(s: Scene) -> None:
    s.saw(tunnel="", guard=policy(oidc=oidc()), status=401, error="login_required", source="ingress")
    assert s.only() == ("kept out", "not signed in")


def test_whoever_is_sent_to_the_provider_is_neither_in_nor_out(s: Scene) -> None:
    s.saw(tunnel="", guard=policy(oidc=oidc()), status=303)
    assert s.only() == ("sent to sign in", "not signed in")


def test_whoever_signed_in_and_met_no_rule_is_told_with_the_kind_of_rule(s: Scene) -> None:
    s.log.note_sign_in("r9", Identity(issuer=ISSUER, subject="m", email="mallory@evil.example"), "group")
    s.saw(request_id="r9", tunnel="", guard=policy(oidc=oidc()), status=403, error="not_admitted", source="ingress")
    assert s.only() == ("kept out", "no rule names any of their groups")
    assert s.traffic.get(ADMIN, "r9").email == "mallory@evil.example"


def test_whoever_signed_in_came_in(s: Scene) -> None:
    s.log.note_sign_in("r9", Identity(issuer=ISSUER, subject="a"), "")
    s.saw(request_id="r9", tunnel="", guard=policy(oidc=oidc()), status=303)
    assert s.only() == ("let in", "signed in")


def test_a_request_nobody_could_serve_was_not_judged(s: Scene) -> None:
    s.saw(tunnel="", guard=policy(), status=503, error="endpoint_offline", source="agent")
    assert s.only() == ("neither", "")


async def test_a_person_came_in_by_the_rule_their_claims_meet(s: Scene) -> None:
    guarded = connection(rules=Rules(domains=frozenset({"acme.example"})))
    world = World(endpoints={APP: guarded})
    browser = Browser(world)
    await browser.sign_in()
    session = await world.signed_in(browser)
    s.saw(guard=Policy(connection=guarded), by=session, user="alice", email="alice@acme.example")
    assert s.only() == ("let in", "domain acme.example")


CI = JwtSpec(issuer=ISSUER, audience=CLIENT_ID, claims=(("repository", "acme/x"),))
JOB = Program(
    id_digest=b"",
    identity=Identity(issuer=ISSUER, subject="repo:acme/x"),
    version="1",
    expires_at=NOW + 60,
    checked_until=NOW + 60,
    fields=b"",
)


def test_a_program_came_in_by_its_token(s: Scene) -> None:
    s.saw(guard=policy(jwt=(CI,)), by=JOB)
    assert s.only() == ("let in", f"bearer audience {CLIENT_ID}, claim repository=acme/x")


def test_a_visitor_who_is_known_and_refused_was_kept_out(s: Scene) -> None:
    s.saw(guard=policy(jwt=(CI,)), by=JOB, tunnel="", status=401, error="bearer_invalid", source="ingress")
    assert s.only() == ("kept out", "the token is not good")
