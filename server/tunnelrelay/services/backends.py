"""Tunnel groups: an edge may be served by those tunnels of its owner that have certain labels."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from tunnelctl.bounds import DeclaredBound
from tunnelctl.wire.texts import MAX_LABELS, label_problem
from tunnelrelay.services.actor import Actor
from tunnelrelay.services.edge_sync import EdgeSync
from tunnelrelay.services.problems import Kind, ManageError, invalid
from tunnelrelay.services.resource import Quota, Resource, StoredRows, Terms, as_it_is, without_none
from tunnelrelay.services.service_base import ServiceBase
from tunnelrelay.store.resources import BackendRow, Pairs

MAX_BACKENDS = 1000
"""Maximum tunnel groups of one owner."""

BOUNDS = (
    DeclaredBound(
        name="tunnel groups",
        limit=MAX_BACKENDS,
        unit="groups",
        per="owner",
        when_full="409 `too_many`",
        worst_bytes=0,
    ),
)


class Backends(Resource[BackendRow, BackendRow]):
    """Lists, creates, changes and deletes tunnel groups, for the API and the dashboard."""

    terms = Terms(
        area="edges",
        noun="tunnel group",
        kind="backend",
        created="backend.created",
        updated="backend.updated",
        deleted="backend.deleted",
    )

    def __init__(self, base: ServiceBase, sync: EdgeSync) -> None:
        super().__init__(base, StoredRows(base.store.backends, base.clock), as_it_is)
        self._sync = sync

    async def create(
        self,
        actor: Actor,
        labels: Iterable[tuple[str, str]],
        description: str = "",
        metadata: str = "",
        owner: str | None = None,
    ) -> BackendRow:
        """Create a tunnel group.

        Args:
            labels: Labels that a tunnel must have, at least one.
            owner: Owner of the group; None for the actor's own. Only administrators may give another one.

        Raises:
            ManageError: FORBIDDEN, INVALID, CONFLICT, AWAY.
        """
        new_owner = self._begin(actor, owner=owner, description=description, metadata=metadata)
        row = BackendRow(
            **self._stamp(new_owner), labels=checked_labels(labels), description=description, metadata=metadata
        )
        return await self._add(actor, row, self.base.store.backends.add)

    async def update(
        self,
        actor: Actor,
        backend_id: str,
        *,
        labels: Iterable[tuple[str, str]] | None = None,
        description: str | None = None,
        metadata: str | None = None,
    ) -> BackendRow:
        """Change the given values. New labels apply to the group's edges before this returns.

        Raises:
            ManageError: FORBIDDEN, MISSING, INVALID, CONFLICT when another user changed it meanwhile; AWAY.
        """
        self._begin_change(actor, description=description, metadata=metadata)

        def change(row: BackendRow) -> BackendRow:
            checked = None if labels is None else checked_labels(labels)
            return replace(row, **without_none(labels=checked, description=description, metadata=metadata))

        return await self._change(actor, backend_id, change)

    def audit_fields(self, row: BackendRow) -> Mapping[str, object]:
        labels = [f"{name}={value}" for name, value in row.labels]
        return {"labels": labels} | dict(super().audit_fields(row))

    def _quota(self) -> Quota:
        return Quota(limit=MAX_BACKENDS, things="tunnel groups")

    async def _check_unused(self, row: BackendRow) -> None:
        if users := await self.base.store.edges.page(backend_id=row.id, limit=1):
            raise ManageError(
                Kind.CONFLICT,
                "in_use",
                f"The edge {users[0].host or users[0].id} is served by this tunnel group.",
                "Give the edge another one first.",
            )

    async def _apply(self, row_id: str) -> None:
        """Apply a changed or deleted group. An edge that began to use a deleted group meanwhile is no longer served."""
        await self._sync.backend_changed(row_id)


def checked_labels(labels: Iterable[tuple[str, str]]) -> Pairs:
    """Return the labels in canonical order. Raises `ManageError` INVALID."""
    pairs = sorted((str(name), str(value)) for name, value in labels)
    if not 1 <= len(pairs) <= MAX_LABELS:
        raise invalid({"labels": f"one label at least, {MAX_LABELS} at most"})
    if len({name for name, _ in pairs}) != len(pairs):
        raise invalid({"labels": "a label is given twice"})
    for name, value in pairs:
        if problem := label_problem(name, value):
            raise invalid({"labels": f"{name[:40]!r}: {problem}"})
    return tuple(pairs)
