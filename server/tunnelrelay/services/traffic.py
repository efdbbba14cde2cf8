"""The traffic of this relay, as far as an actor may see it: a member sees the owner's endpoints, an administrator all.

`observe.traffic` keeps and counts requests. This module checks access, and determines the rule that let a visitor in,
only when a request is displayed.
"""

from dataclasses import dataclass
from typing import Literal, Self

from tunnelctl.series import MINUTE_SECONDS, Figures, Series, TrafficFigures
from tunnelrelay.observe.feed import Feed, Following, TooManyFollowers
from tunnelrelay.observe.traffic import FinishedExchange, TrafficLog
from tunnelrelay.oidc.sessions.let_in import let_in_by
from tunnelrelay.policy.decision_reason import kept_out, not_admitted
from tunnelrelay.policy.rules import Policy
from tunnelrelay.services.actor import Access, Actor
from tunnelrelay.services.problems import Kind, ManageError, missing
from tunnelrelay.services.service_base import ServiceBase

MAX_RECENT = 500
"""Maximum requests of one response."""

Verdict = Literal["let in", "kept out", "sent to sign in", "neither"]
OWNED_TOPICS = frozenset(
    {"edges", "domains", "credentials", "providers", "users", "tunnels", "traffic", "sessions", "audit"}
)
"""Topics of which a member only follows the events of the member's owner (see `observe.feed`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficRow:
    """A finished request as API and dashboard show it.

    Attributes:
        id: Id of the request.
        at: Unix time at which it arrived.
        owner: Owner of the endpoint.
        path: Path without the query.
        seconds: Time from the last byte of the request's head to the last byte of the response.
        peer: Address of the visitor.
        user: Subject of the login or the token; "" without one.
        email: E-mail address of that person; "" without one.
        verdict: Whether the visitor was let in; `neither` when that was not decided.
        rule: The rule that decided, in words.
        tunnel: Id of the tunnel that served it; "" for none.
        agent: The agent that served it, as `owner/name`.
        error: Code of the error that the relay sent; "" for none. `source` is the origin of the error.
    """

    id: str
    at: float
    owner: str
    method: str
    host: str
    path: str
    status: int
    seconds: float
    peer: str
    user: str
    email: str
    verdict: Verdict
    rule: str
    tunnel: str
    agent: str
    error: str
    source: str
    bytes_in: int
    bytes_out: int
    upgrade: str


@dataclass(frozen=True, slots=True)
class TunnelFigures:
    """The figures of one tunnel among those that serve the same endpoint.

    Attributes:
        share: Its share of their requests, from 0 to 1.
    """

    minute: Figures
    share: float


class Traffic:
    """Returns the last requests, figures, and streams of changes, as far as the actor may see them."""

    def __init__(self, base: ServiceBase, log: TrafficLog, feed: Feed) -> None:
        self._base = base
        self._log = log
        self._feed = feed

    def recent(
        self,
        actor: Actor,
        *,
        host: str | None = None,
        status: int | None = None,
        verdict: Verdict | None = None,
        limit: int = 100,
    ) -> list[TrafficRow]:
        """Return the last requests, newest first.

        Args:
            host: Return only requests to this host.
            status: Return only requests with a status of this class: 2 for 200 to 299.
            verdict: Return only requests with this verdict.
        """
        self._base.authorize(actor, "traffic", Access.READ)
        rows: list[TrafficRow] = []
        for finished in self._log.recent(actor.only_owner):
            if host not in (None, finished.exchange.host) or status not in (None, finished.exchange.status // 100):
                continue
            if verdict in (None, _verdict(finished)):
                rows.append(_row(finished))
                if len(rows) >= min(limit, MAX_RECENT):
                    break
        return rows

    def get(self, actor: Actor, request_id: str) -> TrafficRow:
        """Return one of the last requests.

        Raises:
            ManageError: MISSING when it is not among the last requests, or belongs to another owner's endpoint.
        """
        self._base.authorize(actor, "traffic", Access.READ)
        for finished in self._log.recent(actor.only_owner):
            if finished.exchange.request_id == request_id:
                return _row(finished)
        raise missing("request")

    def people(self, actor: Actor) -> int:
        """Return how many identified people and programs are among the last requests that were let in."""
        self._base.authorize(actor, "traffic", Access.READ)
        return len(
            {finished.exchange.user for finished in self._log.recent(actor.only_owner) if finished.session is not None}
        )

    def series(self, actor: Actor, host: str | None = None) -> TrafficFigures:
        """Return the figures of a host, or of all hosts that the actor may see."""
        self._base.authorize(actor, "traffic", Access.READ)
        self._log.digest()
        owner = actor.only_owner
        if host is not None:
            found = self._log.hosts.find(host, owner)
        else:
            found = self._log.all if owner is None else self._log.owners.find(owner, owner)
        return (found or Series()).last_minutes(self._base.clock())

    def by_host(self, actor: Actor) -> dict[str, Figures]:
        """Return the figures of the last minute for every host with requests in the last ten minutes."""
        self._base.authorize(actor, "traffic", Access.READ)
        self._log.digest()
        now, hosts, owner = self._base.clock(), self._log.hosts, actor.only_owner
        found = ((name, hosts.find(name, owner)) for name in hosts.names(owner))
        return {name: series.total(now, MINUTE_SECONDS) for name, series in found if series is not None}

    def by_tunnel(self, actor: Actor, ids: tuple[str, ...]) -> dict[str, TunnelFigures]:
        """Return the figures of the last minute for these tunnels, and the share of each."""
        self._base.authorize(actor, "traffic", Access.READ)
        self._log.digest()
        now = self._base.clock()
        minutes = {
            id: (self._log.tunnels.find(id, actor.only_owner) or Series()).total(now, MINUTE_SECONDS) for id in ids
        }
        requests = sum(minute.requests for minute in minutes.values())
        return {id: TunnelFigures(minute, minute.requests / max(1, requests)) for id, minute in minutes.items()}

    def follow(self, actor: Actor, *topics: str) -> "Changes":
        """Return an async iterator of sets of changed topics. The first set comes at once and contains all topics.

        Args:
            topics: Topics of `observe.feed`, without an owner; members are notified about their owner's resources only.
                The caller must have checked access to the edge of `edge:<id>`.

        Raises:
            ManageError: AWAY when there are too many followers.
        """
        own = actor.only_owner
        scoped = {f"{topic}:{own}" if own is not None and topic in OWNED_TOPICS else topic: topic for topic in topics}
        try:
            return Changes(self._feed.follow(scoped, of=actor.user_id), scoped)
        except TooManyFollowers:
            raise ManageError(
                Kind.AWAY, "too_many_followers", "Too many pages are kept up to date already.", "Close some of them."
            ) from None


class Changes:
    """The iterator that `Traffic.follow` returns. It ends with its last reference, or by `close`."""

    def __init__(self, following: Following, names: dict[str, str]) -> None:
        self._following = following
        self._names = names

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> frozenset[str]:
        return frozenset(self._names[topic] for topic in await anext(self._following))

    def close(self) -> None:
        """Unsubscribe and end the iteration."""
        self._following.close()


def _row(finished: FinishedExchange) -> TrafficRow:
    exchange = finished.exchange
    return TrafficRow(
        id=exchange.request_id,
        at=exchange.at,
        owner=finished.owner,
        method=exchange.method,
        host=exchange.host,
        path=exchange.path,
        status=exchange.status,
        seconds=exchange.seconds,
        peer=exchange.peer,
        user=exchange.user,
        email=exchange.email,
        verdict=_verdict(finished),
        rule=_rule(finished),
        tunnel=finished.tunnel,
        agent=exchange.agent,
        error=exchange.error,
        source=exchange.source,
        bytes_in=exchange.bytes_in,
        bytes_out=exchange.bytes_out,
        upgrade=exchange.upgrade,
    )


def _verdict(finished: FinishedExchange) -> Verdict:
    """Return whether the visitor was let in. Must be cheap, as a list may filter all kept requests by it."""
    exchange = finished.exchange
    if finished.login:
        return "let in" if finished.login == "ok" else "kept out"
    if kept_out(exchange.error):
        return "kept out"
    if finished.session is not None or finished.tunnel:
        return "let in"
    policy = finished.policy
    if exchange.status == 303 and isinstance(policy, Policy) and policy.connection is not None:
        return "sent to sign in"
    return "neither"


def _rule(finished: FinishedExchange) -> str:
    """Return the rule that let the visitor in or refused the visitor."""
    policy = finished.policy if isinstance(finished.policy, Policy) else None
    if finished.login:
        return "signed in" if finished.login == "ok" else not_admitted(finished.login)
    match _verdict(finished):
        case "let in":
            return let_in_by(finished.session, policy, finished.exempt)
        case "kept out":
            return kept_out(finished.exchange.error)
        case "sent to sign in":
            return kept_out("login_required")
        case "neither":
            return ""
