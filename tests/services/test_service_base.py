"""Who may do what, asked in one place, and what an audit event tells of a change."""

import json

import pytest

from tests.support.managed import ADMIN, ANN, Managed, actor
from tunnelrelay.model import Token
from tunnelrelay.observe.audit import KINDS, MAX_CHANGE
from tunnelrelay.services.actor import AREAS, Access
from tunnelrelay.services.problems import Kind, ManageError
from tunnelrelay.services.service_base import check_texts, diff, page_size
from tunnelrelay.store.base import StoreError


@pytest.fixture
def managed() -> Managed:
    return Managed()


@pytest.mark.parametrize("area", AREAS)
def test_a_scope_allows_its_own_area_and_writing_includes_reading(managed, area):
    for scope, reads, writes in ((f"{area}:read", True, False), (f"{area}:write", True, True), ("*", True, True)):
        who = actor("ann", scopes=(scope,))
        for access, may in ((Access.READ, reads), (Access.WRITE, writes)):
            assert _is_allowed(managed, who, area, access) is may
    others = tuple(f"{other}:write" for other in AREAS if other != area)
    assert not _is_allowed(managed, actor("ann", scopes=others), area, Access.READ)


def test_a_scope_makes_nobody_an_administrator(managed):
    with pytest.raises(ManageError) as refused:
        managed.base.authorize(ANN, "users", Access.WRITE, admin_only=True)

    assert (refused.value.kind, refused.value.code) == (Kind.FORBIDDEN, "admin_only")
    managed.base.authorize(ADMIN, "users", Access.WRITE, admin_only=True)


def test_what_is_another_s_is_as_missing_as_what_is_not_there(managed):
    """Row 138."""
    said = []
    for thing in (None, Token(id="tok_1", owner="bob", created_at=0.0)):
        with pytest.raises(ManageError) as refused:
            managed.base.visible(ANN, thing, "token")
        said.append((refused.value.kind, refused.value.code, refused.value.message, refused.value.hint))

    assert said[0] == said[1]
    assert managed.base.visible(ADMIN, Token(id="tok_1", owner="bob", created_at=0.0), "token").owner == "bob"


@pytest.mark.parametrize("wanted", ["bob", "", " ", "-x", "a b", "x" * 65])
def test_only_administrators_name_an_owner_and_only_one_that_can_be(managed, wanted):
    """Row 142."""
    assert managed.base.owner_for(ANN, None) == managed.base.owner_for(ANN, "ann") == "ann"
    with pytest.raises(ManageError) as refused:
        managed.base.owner_for(ANN, wanted)
    assert refused.value.kind is Kind.FORBIDDEN
    if wanted == "bob":
        assert managed.base.owner_for(ADMIN, wanted) == "bob"
    else:
        with pytest.raises(ManageError):
            managed.base.owner_for(ADMIN, wanted)


def test_a_store_that_is_away_is_told_without_its_own_words(managed):
    with pytest.raises(ManageError) as refused, managed.base.store_calls():
        raise StoreError("database is locked: /var/lib/secret-path")

    assert refused.value.kind is Kind.AWAY
    assert "locked" not in f"{refused.value} {refused.value.hint}"


def test_only_what_differs_is_told():
    assert diff({"a": 1, "b": "x", "c": None}, {"a": 1, "b": "y", "c": None, "d": []}) == {
        "before": '{"b":"x"}',
        "after": '{"b":"y"}',
    }
    assert diff(None, {"a": 1}) == {"after": '{"a":1}'}
    assert diff({"a": 1}, None) == {"before": '{"a":1}'}


def test_a_long_change_is_whole_json_within_the_limit():
    long = {f"name-{number}": "x" * 5000 for number in range(3)}
    longer = {f"name-{number}": "x" * 5000 for number in range(40)}

    for values in (long, longer):
        text = diff(None, values)["after"]
        assert len(text) <= MAX_CHANGE
        assert json.loads(text).keys() == values.keys()


def test_an_event_says_who_from_where_and_by_which_key(managed):
    managed.base.record(ANN, "edge.updated", id="edghts_1", owner="ann", before={"a": "1"}, after={"a": "2"})

    (event,) = managed.events()
    assert (event.actor, event.peer, event.request_id, event.owner) == ("usr_ann", "203.0.113.9", "r-1", "ann")
    assert event.details == {"id": "edghts_1", "via": "api", "before": '{"a":"1"}', "after": '{"a":"2"}'}


def test_a_secret_that_slips_into_a_change_is_taken_out(managed):
    """Row 158. The redactor is the last line, for long texts too."""
    managed.base.record(ANN, "edge.updated", after={"note": "x" * 280, "metadata": "tt_" + "A" * 43})

    assert "A" * 20 not in repr(managed.events())


def test_every_change_is_kept():
    """A member cannot wash a change away by making many."""
    kinds = [kind for name, kind in KINDS.items() if name.partition(".")[0] in ("edge", "backend", "provider")]

    assert kinds
    assert all(kind.limit is None for kind in kinds)


@pytest.mark.parametrize("texts", [{"description": "x" * 256}, {"metadata": "ä" * 2049}, {"description": "a\x1b[2J"}])
def test_texts_that_are_too_long_or_steer_a_terminal_are_refused(texts):
    with pytest.raises(ManageError) as refused:
        check_texts(**texts)

    assert list(refused.value.fields) == list(texts)


def test_texts_within_their_limits_pass():
    check_texts(description="x" * 255, metadata="lines\n\tand tabs" + "ä" * 2000)


def test_a_page_has_at_most_so_many_rows():
    assert [page_size(limit) for limit in (-1, 0, 1, 100, 10**9)] == [1, 1, 1, 100, 1000]


def _is_allowed(managed: Managed, who, area: str, access: Access) -> bool:
    try:
        managed.base.authorize(who, area, access)
    except ManageError:
        return False
    return True
