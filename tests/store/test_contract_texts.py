"""What every store makes of texts that strangers choose: kept as they are, cut on purpose, or refused."""

from dataclasses import replace

import pytest
from sqlalchemy import String

from tests.store.test_contract import DIGEST, SESSION, TOKEN
from tunnelctl.policy.fields import MAX_CLIENT_ID, MAX_ISSUER
from tunnelrelay.oidc.tokens.id_token import MAX_SUBJECT
from tunnelrelay.store.base import AuditRow, SessionCriteria, Store, UnstorableError
from tunnelrelay.store.resources import SignInRow, UserRow
from tunnelrelay.store.schema import sessions

NO_TEXT = ["nul\x00", "half \ud800 a pair"]
USER = UserRow(id="usr_1", owner="ann", created_at=1.0, updated_at=1.0, name="Ann", key="usr_1")
SIGN_IN = SignInRow(
    id="si_1",
    owner="ann",
    created_at=1.0,
    updated_at=1.0,
    user_id="usr_1",
    key=b"k" * 32,
    kind="session",
    last_seen_at=1.0,
    expires_at=2.0,
)


async def test_strange_text_comes_back_unchanged(store: Store) -> None:
    row = replace(SESSION, subject="'; DROP TABLE sessions; --\x01\x7f", email="ü\u202e%_\\\U0001f600@example.com")
    await store.save_session(row)
    assert await store.load_session(SESSION.key) == row
    assert len(await store.sessions(SessionCriteria(subject=row.subject, email=row.email))) == 1


@pytest.mark.parametrize("text", [*NO_TEXT, "x" * 256])
async def test_what_tells_people_and_things_apart_is_kept_whole_or_refused(store: Store, text: str) -> None:
    with pytest.raises(UnstorableError):
        await store.save_session(replace(SESSION, subject=text))
    with pytest.raises(UnstorableError):
        await store.add_token(replace(TOKEN, owner=text), DIGEST)
    with pytest.raises(UnstorableError):
        await store.users.add(replace(USER, name=text))
    with pytest.raises(UnstorableError):
        await store.claim_name(text, "ann", 1.0, lost_seconds=1, cool_seconds=1)
    await store.users.add(USER)
    with pytest.raises(UnstorableError):
        await store.users.replace(replace(USER, subject=text, version=2))
    assert await store.load_session(SESSION.key) is None
    assert await store.all_names() == []
    assert await store.users.all() == [USER]


def test_whatever_a_login_is_made_of_can_be_kept() -> None:
    lengths = {column.name: column.type.length for column in sessions.c if isinstance(column.type, String)}
    assert (lengths["issuer"], lengths["client_id"]) == (MAX_ISSUER, MAX_CLIENT_ID)
    assert lengths["subject"] >= MAX_SUBJECT


async def test_a_refused_text_is_not_in_what_is_said_about_it(store: Store) -> None:
    with pytest.raises(UnstorableError) as caught:
        await store.save_session(replace(SESSION, subject="canary" * 100))
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("text", NO_TEXT)
async def test_what_no_store_can_hold_is_found_nowhere(store: Store, text: str) -> None:
    await store.save_session(SESSION)
    await store.add_token(TOKEN, DIGEST)
    await store.users.add(USER)
    assert await store.sessions(SessionCriteria(email=text)) == []
    assert await store.end_sessions(SessionCriteria(issuer=text), 1.0) == []
    assert await store.connections(SessionCriteria(client_id=text), limit=1) == []
    assert await store.token(text) is None
    assert await store.revoke_token(text, 1.0) is None
    assert await store.tokens(text) == []
    assert await store.users.get(text) is None
    assert await store.users.find(name=text) is None
    assert await store.users.page(owner=text) == []
    assert await store.users.delete(text) is None
    assert await store.name(text) is None
    assert await store.free_name(text) is None
    assert await store.audit(host=text) == []
    assert await store.give_up_domain(text, 1.0) is None
    await store.users.page(before=text)
    await store.token_page(before=text)


async def test_what_is_only_for_people_to_read_is_cut(store: Store) -> None:
    await store.save_session(replace(SESSION, email="a\x00" + "b" * 400))
    await store.sign_ins.add(replace(SIGN_IN, agent="Mozilla \ud800" * 100, peer="fe80::1%" + "z" * 100))
    await store.add_audit([AuditRow(at=1.0, kind="login.error", host="h" * 300, reason="\x00" * 300, peer="p" * 99)])

    session = await store.load_session(SESSION.key)
    sign_in = await store.sign_ins.get("si_1")
    (event,) = await store.audit()
    assert session is not None
    assert session.email == "a?" + "b" * 318
    assert sign_in is not None
    assert (sign_in.agent[:10], len(sign_in.agent), len(sign_in.peer)) == ("Mozilla ?M", 255, 64)
    assert (event.host, event.reason, event.peer) == ("h" * 255, "?" * 200, "p" * 64)


async def test_json_keeps_what_texts_cannot(store: Store) -> None:
    token = replace(TOKEN, acl=("bind:\x00", "bind:\U0001f600"))
    await store.add_token(token, DIGEST)
    assert await store.token(TOKEN.id) == token
