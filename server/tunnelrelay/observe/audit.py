"""Records audit events about logins, sessions, names and keys, which owners and operators can read later.

`KINDS` lists every kind of event (docs/reference/audit.md describes them). An event is logged at once and kept here
until the relay writes it to the store. Events contain no token, cookie, code or query. A visitor appears only as a
keyed digest, so that events of one person can be matched without revealing the name.
"""

import hmac
import secrets
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

from tunnelctl.bounds import DeclaredBound
from tunnelctl.eventlog import EventLog
from tunnelctl.secret import redact
from tunnelrelay.observe.text import printable

log = EventLog("tunnelrelay.audit")

MAX_TEXT = 200
"""Maximum characters of one text of an event. Visitors choose paths and hosts and must not be able to fill the
store."""
MAX_CHANGE = 2000
"""Maximum characters of the texts `before` and `after`, which describe changes by known users, who can make only a
limited number."""
CHANGES = frozenset({"before", "after"})
MAX_DETAILS = 8
MAX_WAITING = 4096
"""Maximum events that wait for the store: at most 32 MB, enough for minutes of a busy relay without its store."""
MAX_WINDOWS = 4096
"""Maximum counters of frequent events at one time. Each owner may use only a fair share of them; events of an owner's
further hosts are counted together, one counter for each kind. An owner with very many hosts therefore cannot hide
events of other owners."""
ALWAYS = 32
"""Number of counters that every owner may use while any are free; beyond these, half as many as are free."""
WINDOW_SECONDS = 60.0
FEW, SOME, MANY = 10, 60, 600
"""Limits in events a minute. FEW per host for what any stranger can cause; SOME for what needs a token or a session.
MANY for logins, which happen all at once in the morning, and which a hostile owner's own provider could cause without
end."""


@dataclass(frozen=True, slots=True)
class EventKind:
    """Meaning and limit of one kind of audit event.

    Attributes:
        meaning: Description in one line, also for the reference.
        limit: Events a minute that are stored for each value of `by`; further ones are only counted. None: all are
            stored.
        by: The field whose values are limited separately (a host by default). Events without it share one limit.
    """

    meaning: str
    limit: int | None = None
    by: Literal["host", "owner", "connection"] = "host"


KINDS: dict[str, EventKind] = {
    "login.start": EventKind("A visitor was sent to the provider.", FEW),
    "login.ok": EventKind("A visitor signed in and got a session.", MANY),
    "login.denied": EventKind("A visitor proved who they are, and the endpoint's rules do not admit them.", SOME),
    "login.error": EventKind("A login came to nothing; the reason says at which check.", FEW),
    "session.refresh": EventKind(
        "The provider was asked again about a session; the reason says what came of it.", SOME
    ),
    "session.end": EventKind(
        "A session ended: idle, at a limit, one too many, or the provider or the rules said no.", SOME
    ),
    "session.revoke": EventKind("An operator ended a session, or as many at a host as `count` tells."),
    "logout.local": EventKind("A visitor signed out of the endpoint.", SOME),
    "logout.rp": EventKind("A visitor signed out and was sent on to the provider's own logout.", SOME),
    "logout.frontchannel": EventKind("A provider ended a session through the visitor's browser.", SOME),
    "logout.backchannel": EventKind("A provider ended sessions by a logout token.", MANY, "connection"),
    "backchannel.refused": EventKind("A logout token was refused; the reason says at which check.", FEW, "connection"),
    "bearer.refused": EventKind("A request's access token was refused; the reason says at which check.", FEW),
    "password.refused": EventKind("A visitor showed an endpoint a password that is not good.", FEW),
    "rules.changed": EventKind("An owner changed who may visit an endpoint.", SOME, "owner"),
    "connection.changed": EventKind("An owner changed the provider, client or secret of an endpoint.", SOME, "owner"),
    "tunnel.bound": EventKind("An agent began to serve an endpoint.", SOME, "owner"),
    "tunnel.unbound": EventKind("An agent stopped serving an endpoint.", SOME, "owner"),
    "name.changed_hands": EventKind(
        "A host name went to another owner; everything of the former one ended. Who that was, and how many were signed "
        "in, only administrators read."
    ),
    "name.freed": EventKind("An operator ended a name's cool-down; any owner may take it next."),
    "name.refused": EventKind("An agent asked for a name it may not have.", FEW, "owner"),
    "token.refused": EventKind("An agent came with an authtoken that is unknown, expired or revoked.", FEW),
    "job.admitted": EventKind("A CI job connected as an agent by its own ID token.", SOME, "owner"),
    "job.refused": EventKind("A CI job's ID token was refused; the details say at which check.", FEW),
    "token.created": EventKind("An authtoken was made."),
    "token.updated": EventKind("What an authtoken may bind, how long it is good or what is said about it was changed."),
    "token.revoked": EventKind("An authtoken was revoked; a running relay closes the links it had opened."),
    "user.created": EventKind("A user was added, who may sign in to the dashboard."),
    "user.updated": EventKind("A user's name, owner or role was changed, or they were disabled or enabled."),
    "user.deleted": EventKind("A user was removed, with their API keys and sign-ins."),
    "api_key.created": EventKind("An API key was made."),
    "api_key.updated": EventKind("What is said about an API key was changed."),
    "api_key.refused": EventKind("A request to the API showed a key that is not good.", FEW),
    "api_key.deleted": EventKind("An API key was deleted; it opens nothing any more."),
    "domain.reserved": EventKind("A host name or tcp port was reserved for an owner."),
    "domain.updated": EventKind("What is said about a reserved host name or tcp port was changed."),
    "domain.released": EventKind("A reserved host name or tcp port was given up; its cool-down begins."),
    "sign_in.invited": EventKind("A one-time code was made that signs a user in to the dashboard."),
    "sign_in.ok": EventKind("A user signed in to the dashboard by a code or an API key.", MANY),
    "sign_in.refused": EventKind("The sign-in page was given a code or an API key that is not good.", FEW),
    "sign_in.ended": EventKind("A user signed out of the dashboard, or a sign-in was revoked.", MANY),
    "keys.rotated": EventKind("A new key was written; it takes over a minute (sealing) or a day (signing) later."),
    "keys.dropped": EventKind("A key was taken away; what it had sealed or signed is worth nothing now."),
    "backup.made": EventKind("An operator wrote a backup, with everything that is kept and the keys."),
    "backup.restored": EventKind("An operator put a backup in the place of everything that was kept."),
    "store.away": EventKind("The store stopped answering; known sessions go on, new logins wait."),
    "store.back": EventKind("The store answers again."),
    "headers.stripped": EventKind(
        "A visitor sent header fields that only the relay may set; they were taken out.", FEW
    ),
    "smuggling.refused": EventKind("A request was refused because two servers could read it differently.", FEW),
    "rate.limited": EventKind("A visitor, agent or user was told to slow down.", FEW),
    "edge.created": EventKind("A user made an edge."),
    "edge.updated": EventKind("A user changed an edge: its host, its rules, its logins or who serves it."),
    "edge.deleted": EventKind("A user deleted an edge; its host answers no visitor from then on."),
    "backend.created": EventKind("A user made a tunnel group."),
    "backend.updated": EventKind("A user changed a tunnel group; other tunnels may serve its edges from then on."),
    "backend.deleted": EventKind("A user deleted a tunnel group."),
    "provider.created": EventKind("An administrator registered a named provider."),
    "provider.updated": EventKind(
        "An administrator changed a named provider; every endpoint that names it goes by it at once."
    ),
    "provider.deleted": EventKind(
        "An administrator deleted a named provider; endpoints that name it refuse everybody."
    ),
    "trust_rule.created": EventKind("An administrator made a trust rule; the CI jobs it admits may connect as agents."),
    "trust_rule.updated": EventKind(
        "An administrator changed a trust rule; jobs that it had admitted are judged anew at once."
    ),
    "trust_rule.deleted": EventKind("An administrator deleted a trust rule; the links of jobs it had admitted end."),
    "tunnel.drained": EventKind("A user told a tunnel to take no new requests."),
    "tunnel.stopped": EventKind("A user ended an agent's link."),
    "audit.lost": EventKind("Events were lost because the store was away for too long; `count` tells how many."),
}
"""Every kind of audit event, by name."""


BOUNDS = (
    DeclaredBound(
        name="audit events that wait for the store",
        limit=MAX_WAITING,
        unit="events",
        per="relay",
        when_full="further ones are lost, and their number is told",
        worst_bytes=MAX_WAITING * 10_000,
        holds=("Audit._waiting",),
    ),
    DeclaredBound(
        name="counters of audit events of a minute",
        limit=MAX_WINDOWS,
        unit="counters",
        per="relay",
        when_full="events are counted for their owner as a whole",
        worst_bytes=MAX_WINDOWS * 1_500,
        holds=(
            "Audit._windows",
            "Audit._shares",
        ),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """One audit event.

    Attributes:
        at: Unix time.
        reason: Cause as a short code; "" when the kind implies it.
        connection: Id of the OpenID connection.
        owner: Owner of the endpoint, token or name that the event is about.
        person: Keyed digest of the visitor's issuer and subject; "" without a signed-in visitor.
        peer: Address of the visitor or agent.
        node: Name of the relay that recorded the event.
        actor: Id of the user who caused it, in the dashboard or by the API.
    """

    at: float
    kind: str
    reason: str = ""
    host: str = ""
    connection: str = ""
    owner: str = ""
    person: str = ""
    issuer: str = ""
    peer: str = ""
    request_id: str = ""
    node: str = ""
    actor: str = ""
    details: dict[str, str] = field(default_factory=dict)


_Key = tuple[str, str, str]
"""Key of a counter: kind of event, name of the field that its limit counts (`EventKind.by`), and the field's value."""


@dataclass(slots=True)
class _Window:
    """Counts the events of one kind and host (or owner) since `began`, and how many of these events were not stored.

    Attributes:
        holder: Owner whose share of the counters includes this one.
    """

    began: float
    holder: str
    seen: int = 0
    left_out: int = 0


class Audit:
    """Accepts audit events and keeps them until they are written to the store. Used by the event loop's thread only.

    Args:
        clock: Function that returns Unix time.
        key: Key of the digest that identifies a person; all relays of a store share it. None: a new one.
        node: Name of this relay in events.
        owner_of: Function that returns the owner of a host; "" without one.

    Attributes:
        lost: Events discarded since the last `take` because too many waited.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        key: bytes | None = None,
        node: str = "",
        owner_of: Callable[[str], str] = lambda _host: "",
    ) -> None:
        self._clock = clock
        self._owner_of = owner_of
        self._key = secrets.token_bytes(32) if key is None else key
        self._node = node
        self._waiting: deque[AuditEvent] = deque()
        self._windows: dict[_Key, _Window] = {}
        self._shares: dict[str, int] = {}
        self.lost = 0

    def record(
        self,
        kind: str,
        *,
        reason: str = "",
        host: str = "",
        connection: str = "",
        owner: str = "",
        subject: str = "",
        issuer: str = "",
        peer: str = "",
        request_id: str = "",
        actor: str = "",
        **details: str,
    ) -> None:
        """Record an event. Never waits or raises, so that no request fails because of its event.

        Args:
            kind: One of `KINDS`.
            subject: The visitor's subject at `issuer`; only a digest of both is stored.
            details: Further fields of this kind of event; never a secret.
        """
        try:
            owner = owner or (self._owner_of(host) if host else "")
            texts = {"reason": reason, "host": host, "connection": connection, "owner": owner}
            if not self._is_within_limit(kind, texts[KINDS[kind].by], owner):
                return
            texts |= {"issuer": issuer, "peer": peer, "request_id": request_id, "actor": actor}
            event = AuditEvent(
                at=self._clock(),
                kind=kind,
                person=self.person(issuer, subject) if subject else "",
                node=self._node,
                details={
                    _text(name): _text(value, MAX_CHANGE if name in CHANGES else MAX_TEXT)
                    for name, value in list(details.items())[:MAX_DETAILS]
                },
                **{name: _text(text) for name, text in texts.items()},
            )
            self._keep(event)
        except Exception:
            log.exception("audit event lost")

    def person(self, issuer: str, subject: str) -> str:
        """Return the digest that identifies a person in events.

        It is keyed, so that the person cannot be found by trying names.
        """
        return hmac.digest(self._key, f"{issuer}\0{subject}".encode(errors="replace"), "sha256").hex()[:24]

    def take(self, limit: int = MAX_WAITING) -> list[AuditEvent]:
        """Remove and return up to `limit` events, oldest first."""
        self._close_windows()
        if self.lost and len(self._waiting) < MAX_WAITING:
            lost, self.lost = self.lost, 0
            self.record("audit.lost", count=str(lost))
        return [self._waiting.popleft() for _ in range(min(limit, len(self._waiting)))]

    def give_back(self, events: Iterable[AuditEvent]) -> None:
        """Put back events that could not be written, before newer ones; the newest are dropped when there are too
        many."""
        self._waiting.extendleft(reversed(list(events)))
        while len(self._waiting) > MAX_WAITING:
            self._waiting.pop()
            self.lost += 1

    def _keep(self, event: AuditEvent) -> None:
        log.info("audit", **_shown(event))
        if len(self._waiting) < MAX_WAITING:
            self._waiting.append(event)
        else:
            self.lost += 1

    def _is_within_limit(self, kind: str, whose: str, owner: str) -> bool:
        limit, by = KINDS[kind].limit, KINDS[kind].by
        if limit is None:
            return True
        now = self._clock()
        window = self._window((kind, by, whose[:MAX_TEXT]), now) or self._open(kind, by, whose, owner, now)
        window.seen += 1
        if window.seen > limit:
            window.left_out += 1
        return window.seen <= limit

    def _window(self, key: _Key, now: float) -> _Window | None:
        """Return the counter of this key, or None when its minute is over."""
        window = self._windows.get(key)
        if window is not None and now - window.began >= WINDOW_SECONDS:
            self._close(key, window)
            return None
        return window

    def _open(self, kind: str, by: str, whose: str, owner: str, now: float) -> _Window:
        """Open a counter for this key if the owner's share has room; else one for the owner, or one for all owners."""
        holder = f"owner {owner[:MAX_TEXT]}" if owner else kind
        everybodys = len(self._windows)
        key = (kind, by, whose[:MAX_TEXT])
        if everybodys >= MAX_WINDOWS or self._shares.get(holder, 0) >= max(ALWAYS, (MAX_WINDOWS - everybodys) // 2):
            key = (kind, "owner", owner[:MAX_TEXT] if everybodys < MAX_WINDOWS else "")
            if (shared := self._window(key, now)) is not None:
                return shared
        self._shares[holder] = self._shares.get(holder, 0) + 1
        window = self._windows[key] = _Window(now, holder)
        return window

    def _close_windows(self) -> None:
        now = self._clock()
        over = [item for item in self._windows.items() if now - item[1].began >= WINDOW_SECONDS]
        for key, window in over:
            self._close(key, window)

    def _close(self, key: _Key, window: _Window) -> None:
        """Drop a counter, and record one event for all the events that it only counted."""
        del self._windows[key]
        self._shares[window.holder] -= 1
        if not self._shares[window.holder]:
            del self._shares[window.holder]
        if not window.left_out:
            return
        kind, by, whose = key
        texts = {by: _text(whose)}
        details = {"count": str(window.left_out)}
        self._keep(
            AuditEvent(at=self._clock(), kind=kind, reason="left_out", node=self._node, details=details, **texts)
        )


class NoAudit(Audit):
    """Drops every event; for parts of the program and tests without an audit log."""

    def __init__(self) -> None:
        super().__init__(clock=lambda: 0.0, key=b"")

    def record(self, kind: str, **_texts: str) -> None:
        """Drop the event. The arguments are those of `Audit.record`."""


NO_AUDIT = NoAudit()


def _text(value: object, most: int = MAX_TEXT) -> str:
    """Return an untrusted text cut to length, without control characters and without texts that look like secrets."""
    # Cut before, so that a long text is cheap, and after; cutting only before could hide half a secret from the
    # redactor.
    return printable(redact(str(value)[: 4 * most])[:most])


def _shown(event: AuditEvent) -> dict[str, str]:
    """Return the fields for the event's log line."""
    names = ("kind", "reason", "host", "connection", "owner", "issuer", "peer", "request_id", "node", "actor")
    fields = {name: getattr(event, name) for name in names} | {"subject": event.person}
    # The prefix keeps details apart from the fields that every log record has.
    fields |= {f"detail_{name}": value for name, value in event.details.items()}
    return {name: value for name, value in fields.items() if value}
