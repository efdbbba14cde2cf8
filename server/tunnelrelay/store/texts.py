"""The texts that the store accepts, and their column types. PostgreSQL's stricter rules apply to SQLite too.

Migrations also use the types, so they must not change.
"""

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import BigInteger, Column, Integer, String, Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeEngine

from tunnelrelay.store.base import UnstorableError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

R = TypeVar("R", bound="DataclassInstance")

CUT = "cut"
"""Key in a column's `info` for texts that are cut when they are too long. Not for texts that identify people or
resources, as two of them with equal beginnings would become one."""


def short_text(length: int) -> String:
    """Return the type of short texts.

    They sort by bytes, as in SQLite and Python; PostgreSQL's default is the order of a language, with which lists could
    not be continued after an id or host.
    """
    return String(length).with_variant(postgresql.VARCHAR(length, collation="C"), "postgresql")


def counter() -> TypeEngine[int]:
    """Return the type of an auto-increment number, which SQLite supports only for `INTEGER`."""
    return BigInteger().with_variant(Integer(), "sqlite")


def can_be_kept(text: str) -> bool:
    """Return whether both databases can store the text: it has no NUL and no lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def fitted(table: Table, row: R) -> R:
    """Return the row with its display texts cut to the length of their columns.

    Raises:
        UnstorableError: Another text is too long, or contains characters that not every database accepts.
    """
    changed: dict[str, Any] = {}
    for column in _texts(table):
        value = getattr(row, column.name, None)
        if isinstance(value, str) and (kept := fitted_text(column, value)) != value:
            changed[column.name] = kept
    return replace(row, **changed) if changed else row


def fitted_text(column: Column[Any], text: str) -> str:
    """Return the text as this column can store it. Raises UnstorableError, as `fitted`."""
    length = column.type.length if isinstance(column.type, String) else None
    if column.info.get(CUT):
        return (text if can_be_kept(text) else text.encode(errors="replace").decode().replace("\0", "?"))[:length]
    if not can_be_kept(text):
        raise UnstorableError(column.table.name, column.name, "holds characters that are no text")
    if length is not None and len(text) > length:
        problem = f"has {len(text)} characters, expected at most {length}"
        raise UnstorableError(column.table.name, column.name, problem)
    return text


@cache
def _texts(table: Table) -> list[Column[Any]]:
    return [column for column in table.c if isinstance(column.type, String)]
