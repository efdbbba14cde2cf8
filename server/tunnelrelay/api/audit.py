"""The API's `/audit`: reads the audit log. ngrok's API has no such resource."""

import json
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from tunnelrelay.api.values import (
    Calling,
    Host,
    Owner,
    Page,
    RequestTime,
    ResponseBody,
    Time,
    cut,
    needs,
    rfc3339,
    seconds_of,
)
from tunnelrelay.services.services import Services
from tunnelrelay.store.base import AuditRow

PATH = "audit"


class AuditEvent(ResponseBody):
    """An event of the audit log; docs/reference/audit.md describes the kinds of event."""

    id: str
    at: Time
    kind: str
    owner: str
    host: str
    actor: str
    """The user who caused the event; empty when no user did."""
    connection: str
    subject: str
    """A keyed digest of the person whom the event is about, the same in all events about this person."""
    peer: str
    request_id: str
    reason: str
    node: str
    """The relay that wrote the event."""
    details: dict[str, str]
    """Further fields of the event's kind; `before` and `after` hold the changed settings as JSON."""


class AuditEventList(ResponseBody):
    """A page of audit events, the newest first."""

    audit_events: list[AuditEvent]
    uri: str
    next_page_uri: str | None


class AuditQuery(Page):
    """Filters of the list of audit events."""

    before_id: Annotated[str, Field(pattern=r"^[0-9]{1,18}$")] | None = None
    """The list continues with the events before the one with this id."""
    since: RequestTime | None = None
    """Only events at this time and later."""
    host: Host | None = None
    """Only events about this host."""
    kind: Annotated[str, Field(max_length=64, pattern=r"^[a-z_.]+$")] | None = None
    """Only events of this kind."""
    owner: Owner | None = None
    """Only events about what this owner owns; a member always gets those of the member's own owner."""


def _view(row: AuditRow) -> AuditEvent:
    return AuditEvent(
        id=str(row.id),
        at=rfc3339(row.at),
        kind=row.kind,
        owner=row.owner,
        host=row.host,
        actor=row.actor,
        connection=row.connection,
        subject=row.subject,
        peer=row.peer,
        request_id=row.request_id,
        reason=row.reason,
        node=row.node,
        details={name: str(text) for name, text in json.loads(row.details).items()},
    )


def routes(services: Services) -> APIRouter:
    """Return the routes of `/audit`."""
    router = APIRouter(tags=["audit"])

    @router.get(f"/{PATH}", **needs("audit:read"))
    async def list_audit_events(call: Calling, page: Annotated[AuditQuery, Query()]) -> AuditEventList:
        """Audit events, the newest first; a member sees those about what the member's owner owns."""
        rows = await services.audit.page(
            call.actor,
            since=0.0 if page.since is None else seconds_of(page.since),
            before=None if page.before_id is None else int(page.before_id),
            host=page.host,
            kind=page.kind,
            owner=page.owner,
            limit=page.one_more,
        )
        found = cut(call, PATH, page, rows, lambda row: str(row.id))
        return AuditEventList(
            audit_events=[_view(row) for row in found.rows], uri=found.uri, next_page_uri=found.next_page_uri
        )

    return router
