"""The one flow of everything that is set up: authorise, check, compare and swap, audit the difference, apply.

A service (`domains.Domains`, `edges.Edges`, …) is a `Resource` with its rows, its checks and its words. What it adds to
the flow it says by overriding a hook, each of which has a default here; `Rows` says how a kind of row is kept.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

from tunnelrelay.ids import new_id
from tunnelrelay.services.actor import Access, Actor
from tunnelrelay.services.problems import Kind, ManageError, changed_meanwhile, missing
from tunnelrelay.services.service_base import ServiceBase, check_texts, page_size
from tunnelrelay.store.resources import Collection, R


class Owned(Protocol):
    """Anything that is set up: it has an id and an owner."""

    @property
    def id(self) -> str:
        """Sorts by when it was made."""

    @property
    def owner(self) -> str:
        """Whose it is."""


T = TypeVar("T", bound=Owned)
V = TypeVar("V")


class Rows(Protocol[T]):
    """How the rows of one kind are kept. Every method may raise `StoreError`."""

    async def get(self, row_id: str) -> T | None:
        """The row, or None."""

    async def page(self, *, owner: str | None, before: str | None, limit: int, **equal: object) -> list[T]:
        """Rows older than `before`, the newest first: only `owner`'s unless None, only those that match."""

    async def write(self, before: T, after: T) -> T | None:
        """Writes a changed row and returns it. None when another user was faster, or something unique is taken."""

    async def drop(self, row: T) -> bool:
        """Drops a row. False when it is gone already."""


class StoredRows(Generic[R]):
    """The rows of one of the store's collections."""

    def __init__(self, collection: Collection[R], clock: Callable[[], float]) -> None:
        self.collection = collection
        self.clock = clock

    async def get(self, row_id: str) -> R | None:
        return await self.collection.get(row_id)

    async def page(self, *, owner: str | None, before: str | None, limit: int, **equal: object) -> list[R]:
        return await self.collection.page(owner=owner, before=before, limit=limit, **equal)

    async def write(self, before: R, after: R) -> R | None:
        after = replace(after, version=before.version + 1, updated_at=self.clock())
        return after if await self.collection.replace(after) else None

    async def drop(self, row: R) -> bool:
        return await self.collection.delete(row.id) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a kind of thing is called, and who may touch it.

    Attributes:
        area: The area of its scopes.
        noun: As sentences call it: `tunnel group`.
        kind: Of its ids.
        created, updated, deleted: Kinds of its audit events.
        admin_only: Only administrators change it.
    """

    area: str
    noun: str
    kind: str
    created: str
    updated: str
    deleted: str
    admin_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """How many of a kind there may be.

    Attributes:
        things: As the sentence calls them: `tunnel groups`.
        whose: As it calls who has them.
        spares_admins: Administrators may go on.
    """

    limit: int
    things: str
    whose: str = "An owner"
    hint: str = ""
    spares_admins: bool = False

    def check(self, count: int) -> None:
        """Raises `ManageError` CONFLICT when there are as many as there may be."""
        if count >= self.limit:
            text = f"{self.whose} has at most {self.limit} {self.things}."
            raise ManageError(Kind.CONFLICT, "too_many", text, self.hint)


def as_it_is(actor: Actor, row: T) -> T:
    """The view of things that have nothing to hide and nothing to add."""
    return row


class Resource(Generic[T, V]):
    """See the module.

    Args:
        to_view: What an actor is shown of a row.
    """

    terms: Terms
    audited: tuple[str, ...] = ("description", "metadata")
    """Attributes of a row that audit events contain."""
    tries = 1
    """How often a change is tried when another user is faster."""

    def __init__(self, base: ServiceBase, rows: Rows[T], to_view: Callable[[Actor, T], V]) -> None:
        self.base = base
        self.rows = rows
        self.to_view = to_view

    async def get(self, actor: Actor, row_id: str) -> V:
        """One thing.

        Raises:
            ManageError: FORBIDDEN, MISSING, AWAY.
        """
        self._authorize_read(actor)
        return self.to_view(actor, await self._row(actor, row_id))

    async def page(
        self, actor: Actor, *, before: str | None = None, limit: int = 100, owner: str | None = None
    ) -> list[V]:
        """Things the actor may see, the newest first.

        Args:
            owner: Only this one's. A member who asks for another's gets none.
        """
        self._authorize_read(actor)
        with self.base.asking():
            rows = await self._page(actor, before, page_size(limit), owner)
        return [self.to_view(actor, row) for row in rows]

    async def delete(self, actor: Actor, row_id: str) -> None:
        """Drops a thing; the running relay goes by it before this returns.

        Raises:
            ManageError: FORBIDDEN, MISSING, CONFLICT while something else needs it, AWAY.
        """
        self._authorize(actor)
        row = await self._row(actor, row_id)
        with self.base.asking():
            await self._check_unused(row)
            if not await self.rows.drop(row):
                raise missing(self.terms.noun)
            self._record(actor, self.terms.deleted, before=row)
            await self._apply(row_id)

    # The flow, for what each service adds to it

    def _authorize_read(self, actor: Actor, *, admin_only: bool = False) -> None:
        """Let the actor read things of this kind. Raises `ManageError`."""
        self.base.authorize(actor, self.terms.area, Access.READ, admin_only=admin_only)

    def _authorize(self, actor: Actor) -> None:
        """Let the actor change things of this kind, and take one from the user's budget of changes. Raises
        `ManageError`."""
        self.base.authorize(actor, self.terms.area, Access.WRITE, admin_only=self.terms.admin_only)

    def _begin(self, actor: Actor, *, owner: str | None = None, description: str = "", metadata: str = "") -> str:
        """Authorise, and check what all new things have in common. Returns whose the new thing is.

        Args:
            owner: Whose it is to be; None for the actor's own, another one only for administrators.
        """
        self._authorize(actor)
        whose = self.base.owner_for(actor, owner)
        check_texts(description=description, metadata=metadata)
        return whose

    def _stamp(self, owner: str) -> dict[str, Any]:
        """An id, an owner and times for a new row."""
        now = self.base.clock()
        return {"id": new_id(self.terms.kind, now), "owner": owner, "created_at": now, "updated_at": now}

    def _begin_change(self, actor: Actor, *, description: str | None = None, metadata: str | None = None) -> None:
        """Authorise, and check what all changes have in common."""
        self._authorize(actor)
        check_texts(description=description, metadata=metadata)

    async def _add(self, actor: Actor, row: T, add: Callable[[T], Awaitable[bool]]) -> V:
        """Keep a new row within the quota, audit it and apply it.

        Args:
            add: Writes it; False when something unique in it is taken.
        """
        with self.base.asking():
            quota = self._quota()
            if quota is not None and not (quota.spares_admins and actor.is_admin):
                quota.check(await self._count(row, quota.limit))
            if not await add(row):
                raise self._taken(row)
            self._record(actor, self.terms.created, after=row)
            await self._apply(row.id)
        return self.to_view(actor, row)

    async def _change(
        self, actor: Actor, row_id: str, change: Callable[[T], T], *, are_secrets_given: bool = False
    ) -> V:
        """Compare and swap what `change` makes of the row, audit the difference and apply it.

        Args:
            change: Called again when another user was faster, if there are more `tries`.

        Raises:
            ManageError: MISSING, AWAY, CONFLICT when another user changed it meanwhile, and what `change` raises.
        """
        for _ in range(self.tries):
            before = await self._row(actor, row_id)
            after = change(before)
            if after == before:
                return self.to_view(actor, before)
            with self.base.asking():
                written = await self.rows.write(before, after)
                if written is not None:
                    details = {"secrets": "given"} if are_secrets_given else {}
                    self._record(actor, self.terms.updated, before=before, after=written, **details)
                    await self._apply(row_id)
                    return self.to_view(actor, written)
                if await self._is_taken(after):
                    raise self._taken(after)
        raise changed_meanwhile(self.terms.noun)

    async def _row(self, actor: Actor, row_id: str) -> T:
        """The row, if there is one and the actor may know of it. Raises `ManageError` MISSING alike for both."""
        with self.base.asking():
            row = await self.rows.get(row_id)
        if row is None or not self._may_see(actor, row):
            raise missing(self.terms.noun)
        return row

    def _record(
        self, actor: Actor, kind: str, *, before: T | None = None, after: T | None = None, **details: str
    ) -> None:
        """Audit a change, and notify pages that show it."""
        rows = [row for row in (before, after) if row is not None]
        about = {name: text for row in rows for name, text in self._about(row).items() if text}
        old = None if before is None else self.audit_fields(before)
        new = None if after is None else dict(self.audit_fields(after))
        if before is not None and after is not None and new is not None:
            new |= self._more_changes(before, after)
        self.base.record(
            actor, kind, id=rows[-1].id, owner=rows[-1].owner, before=old, after=new, **{**about, **details}
        )

    # What a kind of thing may do in its own way

    def audit_fields(self, row: T) -> Mapping[str, object]:
        """The fields of a row for audit events, never a secret."""
        return {name: getattr(row, name) for name in self.audited}

    def _about(self, row: T) -> Mapping[str, str]:
        """What every audit event about the row says besides: its host, its name."""
        return {}

    def _more_changes(self, before: T, after: T) -> Mapping[str, object]:
        """Fields for the audit event of a change that neither row has by itself."""
        return {}

    def _quota(self) -> Quota | None:
        """How many there may be; None for as many as one likes."""
        return None

    async def _count(self, row: T, limit: int) -> int:
        """How many of the quota are taken before `row`; need not count beyond `limit`."""
        return len(await self.rows.page(owner=row.owner, before=None, limit=limit))

    def _may_see(self, actor: Actor, row: T) -> bool:
        return actor.owns(row.owner)

    async def _page(self, actor: Actor, before: str | None, limit: int, owner: str | None) -> list[T]:
        if owner is not None and not actor.owns(owner):
            return []
        return await self.rows.page(owner=actor.owner_filter(owner), before=before, limit=limit)

    async def _check_unused(self, row: T) -> None:
        """Raises `ManageError` CONFLICT while something else needs the row."""

    async def _is_taken(self, row: T) -> bool:
        """Whether another row has what is unique in this one: why a change was not written."""
        return False

    def _taken(self, row: T) -> ManageError:
        """The problem when something unique in the row is taken."""
        return changed_meanwhile(self.terms.noun)

    async def _apply(self, row_id: str) -> None:
        """Brings a written change to the running relay. May raise `StoreError`: the next look applies it."""


def given(**values: object) -> dict[str, Any]:
    """The values of a change that are not None: what is None stays as it is."""
    return {name: value for name, value in values.items() if value is not None}
