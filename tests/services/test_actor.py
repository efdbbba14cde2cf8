"""Who may do what, from the actor alone, and nowhere else than there."""

import ast
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from tests.test_architecture import modules, tree
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


@given(OWNERS, OWNERS, st.booleans())
def test_members_own_what_is_their_owners_and_administrators_everything(mine: str, theirs: str, is_admin: bool) -> None:
    actor = somebody(mine, is_admin=is_admin)
    assert actor.owns(theirs) == (is_admin or mine == theirs)
    assert actor.only_owner == (None if is_admin else mine)
    assert actor.acts_for(theirs) == (is_admin or theirs == actor.user_id)
    assert actor.only_user == (None if is_admin else actor.user_id)


JUDGES = {
    "services.actor": "the rule itself",
    "services.service_base": "what is for administrators alone, and for whom new things may be set up",
    "services.resource": "a quota that administrators may go beyond",
    "dashboard.guard": "which areas are shown",
    "dashboard.views.api_keys": "which choices a form has",
    "api.credentials": "ngrok's `owner_id`, which may be the caller's own",
}
"""Modules that ask whether an actor is an administrator, or compares what is theirs, and why."""


def judging(name: str) -> Iterator[str]:
    """The lines of a module that judge an actor by something else than the methods of `Actor`."""
    for node in ast.walk(tree(name)):
        sides = [node.left, *node.comparators] if isinstance(node, ast.Compare) else [node]
        for side in [inner for each in sides for inner in (each.elts if isinstance(each, ast.Tuple) else [each])]:
            text = ast.unparse(side) if isinstance(side, ast.Attribute) else ""
            compared = isinstance(node, ast.Compare) and text.endswith(("actor.owner", "actor.user_id"))
            if compared or text.endswith("actor.is_admin"):
                yield f"{name}:{side.lineno}: {text}"


def test_row138_whose_things_are_whose_is_judged_in_one_place() -> None:
    """Row 138."""
    areas = ("tunnelrelay.services.", "tunnelrelay.api.", "tunnelrelay.dashboard.")
    judges = {name: list(judging(name)) for name in modules() if name.startswith(areas)}
    found = {name.removeprefix("tunnelrelay."): lines for name, lines in judges.items() if lines}

    assert {name: lines for name, lines in found.items() if name not in JUDGES} == {}
    assert JUDGES.keys() - {"services.actor"} - found.keys() == set()
