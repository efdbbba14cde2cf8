"""What happened: the audit events as the store keeps them. A member sees those about what is his owner's."""

from dataclasses import dataclass

from tunnelrelay.manage.actor import Access, Actor
from tunnelrelay.manage.ground import Ground, page_size
from tunnelrelay.observe.audit import KINDS
from tunnelrelay.store.base import AuditRow

AREA = "audit"
MEANINGS = {kind: told.meaning for kind, told in KINDS.items()}
"""Every kind of event there is, and what it means, in one line."""


@dataclass(frozen=True, slots=True)
class AuditTrail:
    """See the module."""

    ground: Ground

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
        """Events, the newest first. One is kept within a second of what happened.

        Args:
            since: Unix time of the oldest wanted.
            before: Only those with an id below, to read on.
            kind: One of `observe.audit.KINDS`.
            owner: Only this one's. A member who asks for another's gets none.

        Raises:
            ManageError: FORBIDDEN, AWAY.
        """
        ground = self.ground
        ground.authorize(actor, AREA, Access.READ)
        if (owner is not None and not actor.owns(owner)) or (kind is not None and kind not in KINDS):
            return []
        with ground.asking():
            return await ground.store.audit(
                since=since,
                before=before,
                host=host,
                kind=kind,
                owner=actor.owner_filter(owner),
                limit=page_size(limit),
            )
