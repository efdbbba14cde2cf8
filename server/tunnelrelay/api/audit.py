"""`/audit`: the audit log. ngrok's API has no such resource."""

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
    """An audit event; docs/reference/audit.md describes its kinds."""

    id: str
    at: Time
    kind: str
    owner: str
    host: str
    actor: str
    """The user whose doing it was; empty when it was no user's."""
    connection: str
    subject: str
    """A keyed digest of who is meant: the same for the same person, and no name."""
    peer: str
    request_id: str
    reason: str
    node: str
    """Which relay wrote it."""
    details: dict[str, str]
    """Further texts; `before` and `after` are JSON of what was changed."""


class AuditEventList(ResponseBody):
    """A page of events, the newest first."""

    audit_events: list[AuditEvent]
    uri: str
    next_page_uri: str | None


class AuditQuery(Page):
    """Filters of the list of audit events."""

    before_id: Annotated[str, Field(pattern=r"^[0-9]{1,18}$")] | None = None
    """The list goes on behind this event."""
    since: RequestTime | None = None
    """Only what happened then and later."""
    host: Host | None = None
    """Only about this host."""
    kind: Annotated[str, Field(max_length=64, pattern=r"^[a-z_.]+$")] | None = None
    """Only of this kind."""
    owner: Owner | None = None
    """Only about what is this owner's; a member gets his own, whichever user is asked for."""


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
    """The routes of this resource."""
    router = APIRouter(tags=["audit"])

    @router.get(f"/{PATH}", **needs("audit:read"))
    async def list_audit_events(call: Calling, page: Annotated[AuditQuery, Query()]) -> AuditEventList:
        """Events, the newest first; a member sees those about what the member's owner owns."""
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
