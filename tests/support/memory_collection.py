"""An implementation of `resources.Collection`, the rows of one kind of resource, in a dict."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Generic

from sqlalchemy import Table

from tunnelrelay.store.resources import Named, R, Uses
from tunnelrelay.store.texts import fitted


class MemoryCollection(Generic[R]):
    """Rows of one kind of resource in a dict, with the interface of `resources.Collection`.

    Args:
        table: The table of the real stores, which limits the length of texts.
        unique: Columns besides the id in which no two rows may have the same value; None counts as no value.
        revised: Called after every change except `touch`.
        others: Returns the store's collection of a kind.
    """

    def __init__(
        self,
        table: Table,
        unique: tuple[str, ...],
        revised: Callable[[], None],
        others: "Callable[[str], MemoryCollection[Any]]",
    ) -> None:
        self._others = others
        self._table = table
        self._unique = unique
        self._revised = revised
        self._rows: dict[str, R] = {}

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._rows)

    def rows(self) -> tuple[R, ...]:
        """Return all rows."""
        return tuple(self._rows.values())

    def put(self, row: R) -> None:
        """Store a row without any check, as another relay, another release or a restore might have written it."""
        self._rows[row.id] = row
        self._revised()

    def clear(self) -> None:
        """Delete all rows without calling `revised`, so that no relay notices."""
        self._rows.clear()

    async def add(self, row: R, *, needs: Sequence[Named] = ()) -> bool:
        row = fitted(self._table, row)
        if row.id in self._rows or self._collides(row) or not self._has_all(needs):
            return False
        self._rows[row.id] = row
        self._revised()
        return True

    async def get(self, row_id: str) -> R | None:
        return self._rows.get(row_id)

    async def find(self, **equal: object) -> R | None:
        return next((row for row in self._rows.values() if _matches(row, equal)), None)

    async def page(
        self, *, owner: str | None = None, before: str | None = None, limit: int = 100, **equal: object
    ) -> list[R]:
        found = [
            row
            for row in self._rows.values()
            if owner in (None, row.owner) and (before is None or row.id < before) and _matches(row, equal)
        ]
        return sorted(found, key=lambda row: row.id, reverse=True)[:limit]

    async def all(self, **equal: object) -> list[R]:
        return sorted((row for row in self._rows.values() if _matches(row, equal)), key=lambda row: row.id)

    async def replace(self, row: R, *, needs: Sequence[Named] = ()) -> bool:
        row, known = fitted(self._table, row), self._rows.get(row.id)
        if known is None or known.version != row.version - 1 or self._collides(row) or not self._has_all(needs):
            return False
        self._rows[row.id] = row
        self._revised()
        return True

    async def touch(self, row_id: str, column: str, at: float) -> None:
        row = self._rows.get(row_id)
        if row is not None and ((before := getattr(row, column)) is None or before < at):
            moved: dict[str, Any] = {column: at}
            self._rows[row_id] = replace(row, **moved)

    async def delete(
        self,
        row_id: str,
        *,
        version: int | None = None,
        along: Sequence[Named] = (),
        unless: Uses | None = None,
    ) -> R | None:
        row = self._rows.get(row_id)
        if row is None or version not in (None, row.version):
            return None
        if unless is not None and any(map(unless.is_use, self._others(unless.kind).rows())):
            return None
        del self._rows[row_id]
        self._revised()
        for named in along:
            await self._others(named.kind).delete_where(**{named.column: named.value})
        return row

    async def delete_where(self, **equal: object) -> list[R]:
        if not equal:
            raise ValueError("everything would be deleted")
        gone = [row for row in self._rows.values() if _matches(row, equal)]
        for row in gone:
            del self._rows[row.id]
        if gone:
            self._revised()
        return gone

    def _has_all(self, needs: Sequence[Named]) -> bool:
        return all(
            any(_matches(row, {named.column: named.value}) for row in self._others(named.kind).rows())
            for named in needs
        )

    def _collides(self, row: R) -> bool:
        others = [other for other in self._rows.values() if other.id != row.id]
        return any(
            getattr(row, name) is not None and any(getattr(other, name) == getattr(row, name) for other in others)
            for name in self._unique
        )


def _matches(row: object, equal: dict[str, object]) -> bool:
    return all(getattr(row, name) == value for name, value in equal.items())
