"""Which texts a store takes, and their column types. PostgreSQL takes fewer texts than SQLite; both use its rules.

Migrations use the types too, so they must not change.
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
"""In a column's `info`: of a text that is too long the beginning is kept. Never of one that tells people or things
apart: two that begin alike would become one."""


def short_text(length: int) -> String:
    """The type of short texts. PostgreSQL would sort them by the rules of a language: ids and hosts are read on behind
    one another by their bytes, as SQLite and Python sort them."""
    return String(length).with_variant(postgresql.VARCHAR(length, collation="C"), "postgresql")


def counter() -> TypeEngine[int]:
    """The type of an auto-increment number; SQLite supports that for this spelling only."""
    return BigInteger().with_variant(Integer(), "sqlite")


def can_be_kept(text: str) -> bool:
    """Whether both databases can store the text: it has no NUL and no lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def fitted(table: Table, row: R) -> R:
    """The row with texts for people cut to their columns' length.

    Raises:
        UnstorableError: Another text is too long, or is no text to every database.
    """
    changed: dict[str, Any] = {}
    for column in _texts(table):
        value = getattr(row, column.name, None)
        if isinstance(value, str) and (kept := fitted_text(column, value)) != value:
            changed[column.name] = kept
    return replace(row, **changed) if changed else row


def fitted_text(column: Column[Any], text: str) -> str:
    """The text as this column can keep it. Raises UnstorableError, as `fitted`."""
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
