"""Converts an audit event to the texts that the page of the audit log shows. Pure."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tunnelrelay.dashboard.render import stamp
from tunnelrelay.dashboard.views.event_names import NAMES as EVENT_NAMES
from tunnelrelay.services.audit_trail import MEANINGS
from tunnelrelay.store.base import AuditRow

TIMES = frozenset({"expires_at", "until"})
"""Names of an event's details whose values are Unix times."""
NAMES = ("name", "description", "id", "user")
"""Details that name the subject of an event without a host; the first that the event has is shown."""
SHORT_DIGEST = 8
"""Characters that the list shows of a person's digest: enough to tell the visitors on a page apart."""
MAX_YEAR_SECONDS = 253_402_300_800.0
"""Unix time of the year 10000, from which on times cannot be formatted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One changed value of an event's subject, before and after the change; "" where there was or is none."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EventView:
    """An audit event as the page shows it.

    Attributes:
        name: The kind of event, in words for people.
        meaning: What the kind of event means, in a sentence.
        about: The subject of the event: its host, or the name or id of a resource.
        actor: The user who caused the event, by name if known; "" when no user did.
        actor_id: The id of that user.
        person: Digest of the visitor whom the event is about; "" for none.
        person_name: The visitor's name if known, otherwise the beginning of the digest.
        details: Further values, each with its name.
        changes: The changed values of the subject.
        had: Whether the subject existed before the event.
        has: Whether the subject existed after the event.
    """

    id: int
    at: float
    kind: str
    name: str
    meaning: str
    reason: str
    host: str
    owner: str
    about: str
    actor: str
    actor_id: str
    peer: str
    person: str
    person_name: str
    request_id: str
    node: str
    details: tuple[tuple[str, str], ...]
    changes: tuple[Change, ...]
    had: bool
    has: bool


def shown(row: AuditRow, names: Mapping[str, str], people: Mapping[str, str]) -> EventView:
    """Return a stored audit event as the page shows it.

    Args:
        names: Names of users, by id.
        people: Names of visitors, by digest.
    """
    details = _object(row.details)
    had, has = "before" in details, "after" in details
    before, after = _object(details.pop("before", "")), _object(details.pop("after", ""))
    texts = {name: _text(name, value) for name, value in details.items()}
    called = before | after | {name: text for name, text in texts.items() if text}
    about = row.host or next((_text(name, called[name]) for name in NAMES if called.get(name)), "")
    return EventView(
        id=row.id,
        at=row.at,
        kind=row.kind,
        name=EVENT_NAMES.get(row.kind, row.kind),
        meaning=MEANINGS.get(row.kind, ""),
        reason=row.reason,
        host=row.host,
        owner=row.owner,
        about=names.get(about, about),
        actor=names.get(row.actor, row.actor),
        actor_id=row.actor,
        peer=row.peer,
        person=row.subject,
        person_name=people.get(row.subject, f"visitor {row.subject[:SHORT_DIGEST]}") if row.subject else "",
        request_id=row.request_id,
        node=row.node,
        details=tuple((name, text if name == "id" else names.get(text, text)) for name, text in texts.items() if text),
        changes=_changes(before, after, names),
        had=had,
        has=has,
    )


def row_of(event: EventView) -> tuple[str, ...]:
    """Return an event as a row of the CSV file, with the columns of `audit.COLUMNS`."""
    details = dict(event.details)
    for change in event.changes:
        details[change.name] = f"{change.before} -> {change.after}"
    return (
        stamp(event.at),
        event.kind,
        event.reason,
        event.host,
        event.owner,
        event.actor,
        event.peer,
        event.person,
        event.request_id,
        event.node,
        json.dumps(details, ensure_ascii=False) if details else "",
    )


def _changes(before: dict[str, Any], after: dict[str, Any], names: Mapping[str, str]) -> tuple[Change, ...]:
    def details(name: str, side: dict[str, Any]) -> str:
        text = _text(name, side.get(name))
        return names.get(text, text)

    both = dict.fromkeys((*before, *after))
    return tuple(Change(name=name, before=details(name, before), after=details(name, after)) for name in both)


def _object(value: object) -> dict[str, Any]:
    """Parse a text as a JSON object. A text that was cut, or is no object, becomes an empty one."""
    try:
        parsed = json.loads(value) if isinstance(value, str) and value else {}
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _text(name: str, value: Any) -> str:
    if value in (None, "", [], {}):  # as a pattern, {} matches every dict
        return ""
    match value:
        case bool():
            return "yes" if value else "no"
        case int() | float() if name in TIMES and 0 < value < MAX_YEAR_SECONDS:
            return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(value))
        case list() if all(isinstance(each, str) and each for each in value):
            return ", ".join(value)
        case str():
            return value
        case _:
            return json.dumps(value, ensure_ascii=False)
