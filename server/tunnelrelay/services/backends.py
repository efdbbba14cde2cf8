"""Tunnel groups: an edge may be served by the tunnels of its owner that carry certain labels."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from tunnelctl.bounds import DeclaredBound
from tunnelctl.wire.texts import MAX_LABELS, label_problem
from tunnelrelay.ids import new_id
from tunnelrelay.services.actor import Access, Actor
from tunnelrelay.services.edge_sync import EdgeSync
from tunnelrelay.services.problems import Kind, ManageError, changed_meanwhile, invalid
from tunnelrelay.services.service_base import ServiceBase, check_texts, page_size
from tunnelrelay.store.resources import BackendRow, Pairs

AREA = "edges"
WHAT = "tunnel group"
MAX_BACKENDS = 1000
"""Of one owner."""

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


@dataclass(frozen=True, slots=True)
class Backends:
    """See the module."""

    ground: ServiceBase
    live: EdgeSync

    async def create(
        self,
        actor: Actor,
        labels: Iterable[tuple[str, str]],
        description: str = "",
        metadata: str = "",
        owner: str | None = None,
    ) -> BackendRow:
        """A new group.

        Args:
            labels: All of these a tunnel must carry; one at least.
            owner: Whose it is to be; None for the actor's own, anybody else only for administrators.

        Raises:
            ManageError: FORBIDDEN, INVALID, CONFLICT, AWAY.
        """
        ground = self.ground
        ground.authorize(actor, AREA, Access.WRITE)
        whose = ground.owner_for(actor, owner)
        check_texts(description=description, metadata=metadata)
        now = ground.clock()
        row = BackendRow(
            id=new_id("backend", now),
            owner=whose,
            created_at=now,
            updated_at=now,
            labels=checked_labels(labels),
            description=description,
            metadata=metadata,
        )
        with ground.asking():
            if len(await ground.store.backends.page(owner=whose, limit=MAX_BACKENDS)) >= MAX_BACKENDS:
                raise ManageError(Kind.CONFLICT, "too_many", f"An owner has at most {MAX_BACKENDS} tunnel groups.")
            await ground.store.backends.add(row)
        ground.record(actor, "backend.created", id=row.id, owner=whose, after=said(row))
        return row

    async def update(
        self,
        actor: Actor,
        backend_id: str,
        *,
        labels: Iterable[tuple[str, str]] | None = None,
        description: str | None = None,
        metadata: str | None = None,
    ) -> BackendRow:
        """Changes what is given; with other labels, who serves its edges changes before this returns.

        Raises:
            ManageError: FORBIDDEN, MISSING, INVALID, CONFLICT when another user changed it meanwhile; AWAY.
        """
        ground = self.ground
        ground.authorize(actor, AREA, Access.WRITE)
        check_texts(description=description, metadata=metadata)
        with ground.asking():
            before = ground.visible(actor, await ground.store.backends.get(backend_id), WHAT)
            after = replace(
                before,
                labels=before.labels if labels is None else checked_labels(labels),
                description=before.description if description is None else description,
                metadata=before.metadata if metadata is None else metadata,
            )
            after = await ground.written(ground.store.backends, before, after, WHAT)
            if after is before:
                return before
            ground.record(
                actor, "backend.updated", id=after.id, owner=after.owner, before=said(before), after=said(after)
            )
            await self.live.backend_changed(after.id)
        return after

    async def delete(self, actor: Actor, backend_id: str) -> None:
        """Drops a group.

        Raises:
            ManageError: FORBIDDEN, MISSING, CONFLICT while an edge is served by it, AWAY.
        """
        ground = self.ground
        ground.authorize(actor, AREA, Access.WRITE)
        with ground.asking():
            row = ground.visible(actor, await ground.store.backends.get(backend_id), WHAT)
            if users := await ground.store.edges.page(backend_id=backend_id, limit=1):
                raise ManageError(
                    Kind.CONFLICT,
                    "in_use",
                    f"The edge {users[0].host or users[0].id} is served by this tunnel group.",
                    "Give the edge another one first.",
                )
            if await ground.store.backends.delete(backend_id) is None:
                raise changed_meanwhile(WHAT)
            ground.record(actor, "backend.deleted", id=row.id, owner=row.owner, before=said(row))
            # An edge that began to use it meanwhile is not served from now on.
            await self.live.backend_changed(backend_id)

    async def page(
        self, actor: Actor, *, before: str | None = None, limit: int = 100, owner: str | None = None
    ) -> list[BackendRow]:
        """Groups, the newest first.

        Args:
            owner: Only this one's. A member who asks for another's gets none.
        """
        ground = self.ground
        ground.authorize(actor, AREA, Access.READ)
        if owner is not None and not actor.owns(owner):
            return []
        with ground.asking():
            return await ground.store.backends.page(
                owner=actor.owner_filter(owner), before=before, limit=page_size(limit)
            )

    async def get(self, actor: Actor, backend_id: str) -> BackendRow:
        """One group.

        Raises:
            ManageError: FORBIDDEN, MISSING, AWAY.
        """
        self.ground.authorize(actor, AREA, Access.READ)
        with self.ground.asking():
            return self.ground.visible(actor, await self.ground.store.backends.get(backend_id), WHAT)


def said(row: BackendRow) -> dict[str, object]:
    """What an audit event tells of a group."""
    labels = [f"{name}={value}" for name, value in row.labels]
    return {"labels": labels, "description": row.description, "metadata": row.metadata}


def checked_labels(labels: Iterable[tuple[str, str]]) -> Pairs:
    """The labels in one order. Raises `ManageError` INVALID."""
    pairs = sorted((str(name), str(value)) for name, value in labels)
    if not 1 <= len(pairs) <= MAX_LABELS:
        raise invalid({"labels": f"one label at least, {MAX_LABELS} at most"})
    if len({name for name, _ in pairs}) != len(pairs):
        raise invalid({"labels": "a label is given twice"})
    for name, value in pairs:
        if problem := label_problem(name, value):
            raise invalid({"labels": f"{name[:40]!r}: {problem}"})
    return tuple(pairs)
