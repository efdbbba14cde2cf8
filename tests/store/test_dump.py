"""Lines of a backup: whatever they hold, they are a row of their table or a `RowError`."""

import io
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import JSON, Column, Float, Integer, LargeBinary, String, Table

from tunnelrelay.cli.archive import Archive, ArchiveError
from tunnelrelay.store.dump import TABLES, RowError, parse
from tunnelrelay.store.schema import tokens
from tunnelrelay.store.texts import can_be_kept

TEXT = st.text().filter(can_be_kept)
JSON_VALUES = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=5)


def values(column: Column[Any]) -> st.SearchStrategy[Any]:
    """What a row may have there."""
    match column.type:
        case LargeBinary():
            found: st.SearchStrategy[Any] = st.binary(max_size=64)
        case Integer():
            found = st.integers(0, 2**31 - 1)
        case Float():
            found = st.floats(allow_nan=False, allow_infinity=False)
        case String():
            found = TEXT.map(lambda text: text[: column.type.length])
        case JSON():
            found = st.lists(TEXT | st.lists(TEXT, max_size=2), max_size=3)
        case other:
            raise AssertionError(other)
    return found | st.none() if column.nullable else found


def rows(table: Table) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({column.name: values(column) for column in table.c})


@pytest.mark.parametrize("table", TABLES, ids=str)
@given(st.data())
def test_every_row_comes_back_as_it_was(table: Table, data: st.DataObject) -> None:
    row = data.draw(rows(table))
    line = msgspec.json.encode(row)
    assert b"\n" not in line
    assert parse(table, line) == row


@given(st.binary())
def test_any_bytes_are_a_row_or_an_error(line: bytes) -> None:
    with pytest.raises(RowError):
        parse(tokens, line)


@given(st.data(), st.sampled_from(sorted(tokens.c.keys())), JSON_VALUES)
def test_any_value_anywhere_is_a_row_or_an_error(data: st.DataObject, name: str, value: object) -> None:
    row = msgspec.json.decode(msgspec.json.encode(data.draw(rows(tokens))))
    try:
        parsed = parse(tokens, json.dumps({**row, name: value}).encode())
    except RowError:
        return
    assert set(parsed) == set(tokens.c.keys())


@given(st.binary())
def test_any_bytes_are_no_backup(content: bytes) -> None:
    with pytest.raises(ArchiveError):
        Archive(io.BytesIO(content))
