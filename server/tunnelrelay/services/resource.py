"""The steps of every change of a resource: authorise, check, compare and swap, audit the difference, apply.

A service (`domains.Domains`, `edges.Edges`, …) is a `Resource` with its rows, checks and texts. It extends the steps by
overriding hooks, which all have a default here. `Rows` is the interface of a kind of rows.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

from tunnelrelay.ids import new_id
from tunnelrelay.services.actor import Access, Actor
from tunnelrelay.services.problems import Kind, ManageError, changed_meanwhile, missing
from tunnelrelay.services.service_base import ServiceBase, check_texts, page_size
from tunnelrelay.store.resources import Collection, Named, R


class Owned(Protocol):
    """A row with an id and an owner."""

    @property
    def id(self) -> str:
        """Id of the row, which sorts by creation time."""

    @property
    def owner(self) -> str:
        """Owner of the row."""


T = TypeVar("T", bound=Owned)
V = TypeVar("V")


class Rows(Protocol[T]):
    """The rows of one kind in the store. Every method may raise `StoreError`."""

    async def get(self, row_id: str) -> T | None:
        """Return the row with this id; None when it does not exist."""

    async def page(self, *, owner: str | None, before: str | None, limit: int, **equal: object) -> list[T]:
        """Return rows older than `before`, the newest first; only those of `owner` unless None, and only those that
        match.
        """

    async def write(self, before: T, after: T) -> T | None:
        """Write a changed row and return it; None when it was changed meanwhile, a unique value is taken, or a row that
        it newly needs does not exist any more.
        """

    async def drop(self, row: T) -> bool:
        """Delete a row. Return False when it does not exist any more, or another row needs it."""


class StoredRows(Generic[R]):
    """The rows of one of the store's collections.

    Args:
        needs: Function that returns the rows of other kinds that a row needs.
    """

    def __init__(
        self,
        collection: Collection[R],
        clock: Callable[[], float],
        needs: Callable[[R], Sequence[Named]] = lambda row: (),
    ) -> None:
        self.collection = collection
        self.clock = clock
        self._needs = needs

    async def add(self, row: R) -> bool:
        """Store a new row. Return False when a unique value of it is taken, or a row that it needs does not exist."""
        return await self.collection.add(row, needs=self._needs(row))

    async def get(self, row_id: str) -> R | None:
        return await self.collection.get(row_id)

    async def page(self, *, owner: str | None, before: str | None, limit: int, **equal: object) -> list[R]:
        return await self.collection.page(owner=owner, before=before, limit=limit, **equal)

    async def write(self, before: R, after: R) -> R | None:
        after = replace(after, version=before.version + 1, updated_at=self.clock())
        had = self._needs(before)
        needs = [named for named in self._needs(after) if named not in had]
        return after if await self.collection.replace(after, needs=needs) else None

    async def drop(self, row: R) -> bool:
        return await self.collection.delete(row.id) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The names of a kind of resource, and who may change it.

    Attributes:
        area: Area of its scopes.
        noun: Its name in sentences, such as `tunnel group`.
        kind: Kind of its ids, as in `ids.PREFIXES`.
        created, updated, deleted: Kinds of its audit events.
        admin_only: Only administrators may change it.
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
    """A limit on the number of rows of a kind.

    Attributes:
        things: Name of the rows for the error message, such as `tunnel groups`.
        holder: Name of their holder for the error message.
        spares_admins: The limit does not apply to administrators.
    """

    limit: int
    things: str
    holder: str = "An owner"
    hint: str = ""
    spares_admins: bool = False

    def check(self, count: int) -> None:
        """Check that one more row is allowed. Raises `ManageError` CONFLICT."""
        if count >= self.limit:
            text = f"{self.holder} has at most {self.limit} {self.things}."
            raise ManageError(Kind.CONFLICT, "too_many", text, self.hint)


def as_it_is(actor: Actor, row: T) -> T:
    """Return the row itself, as the view of a kind of rows that is shown unchanged."""
    return row


class Resource(Generic[T, V]):
    """Creates, reads, updates and deletes resources of one kind; the base class of each service.

    Args:
        to_view: Function that creates the view of a row for an actor.
    """

    terms: Terms
    audited: tuple[str, ...] = ("description", "metadata")
    """Attributes of a row that audit events contain."""
    tries = 1
    """Maximum attempts at a change, when other users change the row meanwhile."""

    def __init__(self, base: ServiceBase, rows: Rows[T], to_view: Callable[[Actor, T], V]) -> None:
        self.base = base
        self.rows = rows
        self.to_view = to_view

    async def get(self, actor: Actor, row_id: str) -> V:
        """Return the resource with this id.

        Raises:
            ManageError: FORBIDDEN, MISSING, AWAY.
        """
        self._authorize_read(actor)
        return self.to_view(actor, await self._row(actor, row_id))

    async def page(
        self, actor: Actor, *, before: str | None = None, limit: int = 100, owner: str | None = None
    ) -> list[V]:
        """Return rows that the actor may see, the newest first.

        Args:
            owner: Return only rows of this owner. A member who asks for another owner gets none.
        """
        self._authorize_read(actor)
        with self.base.store_calls():
            rows = await self._page(actor, before, page_size(limit), owner)
        return [self.to_view(actor, row) for row in rows]

    async def delete(self, actor: Actor, row_id: str) -> None:
        """Delete a row, and apply that to the running relay before this returns.

        Raises:
            ManageError: FORBIDDEN, MISSING, CONFLICT while another resource needs it, AWAY.
        """
        self._authorize(actor)
        row = await self._row(actor, row_id)
        async with self.base.owner_turn(row.owner):
            with self.base.store_calls():
                await self._check_unused(row)
                if not await self.rows.drop(row):
                    await self._check_unused(row)  # by another relay meanwhile
                    raise missing(self.terms.noun)
                self._record(actor, self.terms.deleted, before=row)
                await self._apply(row_id)

    # The steps, for the services to call

    def _authorize_read(self, actor: Actor, *, admin_only: bool = False) -> None:
        """Check that the actor may read resources of this kind. Raises `ManageError`."""
        self.base.authorize(actor, self.terms.area, Access.READ, admin_only=admin_only)

    def _authorize(self, actor: Actor) -> None:
        """Check that the actor may change resources of this kind, and take one change from the user's budget.

        Raises `ManageError`.
        """
        self.base.authorize(actor, self.terms.area, Access.WRITE, admin_only=self.terms.admin_only)

    def _begin(self, actor: Actor, *, owner: str | None = None, description: str = "", metadata: str = "") -> str:
        """Authorise, and check the texts and the owner, which all kinds of new rows have.

        Return the owner of the new row.

        Args:
            owner: Owner of the new row; None for the actor's own. Only administrators may give another one.
        """
        self._authorize(actor)
        new_owner = self.base.owner_for(actor, owner)
        check_texts(description=description, metadata=metadata)
        return new_owner

    def _stamp(self, owner: str) -> dict[str, Any]:
        """Return id, owner and times for a new row."""
        now = self.base.clock()
        return {"id": new_id(self.terms.kind, now), "owner": owner, "created_at": now, "updated_at": now}

    def _begin_change(self, actor: Actor, *, description: str | None = None, metadata: str | None = None) -> None:
        """Authorise, and check the texts, which changes of all kinds of rows may have."""
        self._authorize(actor)
        check_texts(description=description, metadata=metadata)

    async def _add(self, actor: Actor, row: T, add: Callable[[T], Awaitable[bool]]) -> V:
        """Store a new row if the quota allows it, audit it and apply it.

        Args:
            add: Function that writes the row; returns False when a unique value of it is taken, or a row that it needs
                does not exist any more.
        """
        async with self.base.owner_turn(row.owner):
            return await self._added(actor, row, add)

    async def _added(self, actor: Actor, row: T, add: Callable[[T], Awaitable[bool]]) -> V:
        with self.base.store_calls():
            quota = self._quota()
            if quota is not None and not (quota.spares_admins and actor.is_admin):
                quota.check(await self._count(row, quota.limit))
            self._check_size(None, row)
            await self._check_needs(None, row)
            if not await add(row):
                await self._check_needs(None, row)  # by another relay meanwhile
                raise self._taken(row)
            self._record(actor, self.terms.created, after=row)
            await self._apply(row.id)
        return self.to_view(actor, row)

    async def _change(
        self, actor: Actor, row_id: str, change: Callable[[T], T], *, are_secrets_given: bool = False
    ) -> V:
        """Replace a row by the result of `change` (compare and swap), audit the difference and apply it.

        Args:
            change: Function that computes the new row. Called again when the row changed meanwhile, up to `tries`
                times.

        Raises:
            ManageError: MISSING, AWAY, CONFLICT when another user changed it meanwhile, and any error of `change`.
        """
        owner = (await self._row(actor, row_id)).owner
        async with self.base.owner_turn(owner):
            return await self._changed(actor, row_id, change, are_secrets_given=are_secrets_given)

    async def _changed(self, actor: Actor, row_id: str, change: Callable[[T], T], *, are_secrets_given: bool) -> V:
        for _ in range(self.tries):
            before = await self._row(actor, row_id)
            after = change(before)
            if after == before:
                return self.to_view(actor, before)
            self._check_size(before, after)
            with self.base.store_calls():
                await self._check_needs(before, after)
                written = await self.rows.write(before, after)
                if written is not None:
                    details = {"secrets": "given"} if are_secrets_given else {}
                    self._record(actor, self.terms.updated, before=before, after=written, **details)
                    await self._apply(row_id)
                    return self.to_view(actor, written)
                await self._check_needs(before, after)  # by another relay meanwhile
                if await self._is_taken(after):
                    raise self._taken(after)
        raise changed_meanwhile(self.terms.noun)

    async def _row(self, actor: Actor, row_id: str) -> T:
        """Return the row, if it exists and the actor may see it; else raise `ManageError` MISSING."""
        with self.base.store_calls():
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

    # Hooks, which a kind of resource may override

    def audit_fields(self, row: T) -> Mapping[str, object]:
        """Return the fields of a row for audit events, never a secret."""
        return {name: getattr(row, name) for name in self.audited}

    def _about(self, row: T) -> Mapping[str, str]:
        """Return fields of every audit event about the row, such as its host or name."""
        return {}

    def _more_changes(self, before: T, after: T) -> Mapping[str, object]:
        """Return fields for the audit event of a change that cannot be computed from one row alone."""
        return {}

    def _quota(self) -> Quota | None:
        """Return the limit on the number of rows of this kind; None for no limit."""
        return None

    async def _count(self, row: T, limit: int) -> int:
        """Return how many rows count towards the quota before `row` is added; need not count beyond `limit`."""
        return len(await self.rows.page(owner=row.owner, before=None, limit=limit))

    def _check_size(self, before: T | None, after: T) -> None:
        """Check the total size of the owner's rows. Raises `ManageError`. `before` is None for a new row."""

    def _may_see(self, actor: Actor, row: T) -> bool:
        return actor.owns(row.owner)

    async def _page(self, actor: Actor, before: str | None, limit: int, owner: str | None) -> list[T]:
        if owner is not None and not actor.owns(owner):
            return []
        return await self.rows.page(owner=actor.owner_filter(owner), before=before, limit=limit)

    async def _check_needs(self, before: T | None, after: T) -> None:
        """Check that everything the row newly needs still exists.

        Raises `ManageError` CONFLICT. `before` is None for a new row.
        """

    async def _check_unused(self, row: T) -> None:
        """Check that no other resource needs the row. Raises `ManageError` CONFLICT."""

    async def _is_taken(self, row: T) -> bool:
        """Return whether another row has a value that must be unique, to find out why a change was not written."""
        return False

    def _taken(self, row: T) -> ManageError:
        """Return the error for a row with a unique value that another row already has."""
        return changed_meanwhile(self.terms.noun)

    async def _apply(self, row_id: str) -> None:
        """Apply a written change to the running relay. After a `StoreError` the next poll of `EdgeSync` applies it."""


def without_none(**values: object) -> dict[str, Any]:
    """Return the values of a change without those that are None, which stay unchanged."""
    return {name: value for name, value in values.items() if value is not None}
