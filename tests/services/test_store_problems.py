"""What goes wrong in the store, as whoever asked for something is told."""

import pytest

from tests.services.people import Office
from tunnelrelay.services.problems import Kind, ManageError
from tunnelrelay.store.base import StoreError, UnstorableError


def test_a_store_that_is_away_is_nobodys_fault_and_a_text_it_cannot_keep_is_the_askers() -> None:
    base = Office().base
    with pytest.raises(ManageError) as away, base.store_calls():
        raise StoreError("gone")
    with pytest.raises(ManageError) as refused, base.store_calls():
        raise UnstorableError("users", "name", "has 300 characters, expected at most 200")

    assert away.value.kind is Kind.AWAY
    assert refused.value.kind is Kind.INVALID
    assert refused.value.fields == {"name": "has 300 characters, expected at most 200"}
