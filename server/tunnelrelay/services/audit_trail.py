"""Reads audit events from the store. A member sees only the events about resources of the member's owner.

An event about a member's resource can contain facts about other owners: who had a name before, who else may use a
provider, an administrator's address. These are left out for members (`for_member`).
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tunnelrelay.observe.audit import CHANGES, KINDS
from tunnelrelay.services.actor import Access, Actor
from tunnelrelay.services.logins import AREA as LOGINS_AREA
from tunnelrelay.services.service_base import ServiceBase, page_size
from tunnelrelay.store.base import AuditRow, SessionCriteria

AREA = "audit"
MEANINGS = {kind: shown.meaning for kind, shown in KINDS.items()}
"""Every kind of event and its meaning in one line."""
MAX_COLLEAGUES = 1000
"""Maximum users of a member's owner that are loaded to recognise colleagues. Actions of users beyond this number are
shown to members without the client address."""
MAX_LOGINS = 1000
"""Maximum sessions that are searched for the names of the visitors in one page of events, the most recently used
first."""
OF_FORMER_OWNER: Mapping[str, frozenset[str]] = {"name.changed_hands": frozenset({"former", "sessions"})}
"""Details about a former owner, by kind of event: who that was, and how many of its visitors were signed in."""


@dataclass(frozen=True, slots=True)
class AuditTrail:
    """Returns pages of the audit log, as far as the actor may see them."""

    base: ServiceBase

    async def page(
        self,
        actor: Actor,
        *,
        since: float = 0.0,
        before: int | None = None,
        host: str | None = None,
        kind: str | None = None,
        owner: str | None = None,
        limit: int = 100,
    ) -> list[AuditRow]:
        """Return audit events, the newest first. An event is in the store within a second.

        Args:
            since: Unix time; older events are left out.
            before: Return only events with a lower id, to continue a list.
            kind: A kind from `observe.audit.KINDS`.
            owner: Return only events of this owner. A member who asks for another owner gets none.

        Raises:
            ManageError: FORBIDDEN, AWAY.
        """
        base = self.base
        base.authorize(actor, AREA, Access.READ)
        if (owner is not None and not actor.owns(owner)) or (kind is not None and kind not in KINDS):
            return []
        with base.store_calls():
            rows = await base.store.audit(
                since=since,
                before=before,
                host=host,
                kind=kind,
                owner=actor.owner_filter(owner),
                limit=page_size(limit),
            )
            own = actor.only_owner
            if own is None or not rows:
                return rows
            colleagues = await base.store.users.page(owner=own, limit=MAX_COLLEAGUES)
        ids = frozenset(user.id for user in colleagues)
        return [for_member(row, own, ids) for row in rows]

    async def people(self, actor: Actor, rows: Sequence[AuditRow]) -> dict[str, str]:
        """Return the names of persons in these events by digest: the e-mail address, or else the subject.

        An event contains only a digest, so the name of a person is known only while the person is signed in at a host
        of these events, and if the actor may see that login.

        Raises:
            ManageError: FORBIDDEN, AWAY.
        """
        base = self.base
        base.authorize(actor, AREA, Access.READ)
        persons = {row.subject for row in rows if row.subject}
        hosts = frozenset(row.host for row in rows if row.subject)
        if not persons or not actor.may(LOGINS_AREA, Access.READ):
            return {}
        criteria = SessionCriteria(hosts=hosts, live_at=base.clock(), owner=actor.only_owner)
        with base.store_calls():
            logins = await base.store.sessions(criteria, limit=MAX_LOGINS)
        people = {base.audit.person(login.issuer, login.subject): login.email or login.subject for login in logins}
        return {digest: name for digest, name in people.items() if digest in persons}


def for_member(row: AuditRow, owner: str, colleagues: Collection[str]) -> AuditRow:
    """Return an event about a resource of this owner, without facts about other owners.

    Args:
        colleagues: Ids of the owner's users.
    """
    known = _object(row.details)
    is_colleagues = not row.actor or row.actor in colleagues
    hidden = OF_FORMER_OWNER.get(row.kind, frozenset()) | (frozenset() if is_colleagues else {"api_key"})
    details = {name: text for name, text in known.items() if name not in hidden}
    for side in CHANGES & details.keys():
        details[side] = json.dumps(_own(_object(details[side]), owner), separators=(",", ":"), ensure_ascii=False)
    shown = replace(row, details=json.dumps(details, separators=(",", ":"), ensure_ascii=False))
    return shown if is_colleagues else replace(shown, peer="", request_id="")


def _own(values: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """Return the values before or after a change, as JSON, without names of other owners."""
    own: dict[str, Any] = {}
    for name, value in values.items():
        if name == "owners" and isinstance(value, list):
            own[name] = [each for each in value if each == owner]
        elif name not in ("owner", "owners") or value == owner:
            own[name] = value
    return own


def _object(text: object) -> dict[str, Any]:
    """Return the JSON object of an event's details; empty when it is not an object or was cut."""
    try:
        parsed = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}
