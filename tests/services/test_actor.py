"""Who may do what, from the actor alone."""

from hypothesis import given
from hypothesis import strategies as st

from tunnelrelay.services.actor import Actor

OWNERS = st.text(max_size=8)


def somebody(owner: str, *, is_admin: bool) -> Actor:
    return Actor(user_id="usr_1", name="ann", owner=owner, is_admin=is_admin, via="api")


@given(OWNERS, st.none() | OWNERS)
def test_row138_nothing_that_is_asked_for_widens_a_members_list(owner: str, asked: str | None) -> None:
    """Row 138."""
    assert somebody(owner, is_admin=False).owner_filter(asked) == owner


@given(st.none() | OWNERS)
def test_an_administrator_lists_whosever_things_are_asked_for(asked: str | None) -> None:
    assert somebody("default", is_admin=True).owner_filter(asked) == asked
