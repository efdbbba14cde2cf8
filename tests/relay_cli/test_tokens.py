"""Minting and checking tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.memory_store import MemoryStore
from tunnelctl.secret import redact
from tunnelrelay.agents import authtokens


async def test_a_token_is_good_until_it_is_revoked() -> None:
    store = MemoryStore()
    text, token = await authtokens.create(store, "ann")
    assert await authtokens.find(store, text) == token
    await store.revoke_token(token.id, 5.0)
    assert await authtokens.find(store, text) is None


async def test_a_token_is_good_until_its_time_is_over() -> None:
    store = MemoryStore()
    text, token = await authtokens.create(store, "ann", expires_at=100.0)
    assert await authtokens.find(store, text) == token
    assert not authtokens.has_expired(token, 99.9)
    assert authtokens.has_expired(token, 100.0)


async def test_a_relay_whose_tokens_have_all_run_out_knows_that_no_agent_can_connect() -> None:
    store = MemoryStore()
    await authtokens.create(store, "ann", expires_at=100.0)
    assert not await authtokens.has_good_token(store)


async def test_the_store_never_sees_the_token_itself() -> None:
    store = MemoryStore()
    text, token = await authtokens.create(store, "ann")
    assert text not in repr(vars(store))
    assert text not in repr(token)


async def test_a_relay_knows_whether_any_agent_could_connect() -> None:
    store = MemoryStore()
    assert not await authtokens.has_good_token(store)
    _, token = await authtokens.create(store, "ann")
    assert await authtokens.has_good_token(store)
    await store.revoke_token(token.id, 5.0)
    assert not await authtokens.has_good_token(store)


def test_tokens_differ_are_well_formed_and_are_redacted_from_logs() -> None:
    texts = {authtokens.mint("ann", 1.0)[0] for _ in range(200)}
    assert len(texts) == 200
    for text in texts:
        assert authtokens.is_well_formed(text)
        assert redact(f"got {text}.") == "got [redacted]."


@given(st.text())
def test_garbage_is_no_token_and_no_error(text: str) -> None:
    assert not authtokens.is_well_formed(text)
    assert isinstance(authtokens.digest(text.encode("utf-8", "replace").decode()), bytes)


async def test_what_is_no_token_costs_no_look_into_the_store() -> None:
    class Untouchable(MemoryStore):
        async def token_by_digest(self, digest: bytes) -> None:
            raise AssertionError("looked")

    for text in ("", "tt_", "Bearer x", "tt_" + "é" * 43, "tt_" + "a" * 44, "\udc80"):
        assert await authtokens.find(Untouchable(), text) is None


@pytest.mark.parametrize("owner", ["", "a" * 65, "a b", "a\n", "-a", "ü", "a/b", "a=b"])
def test_an_owner_that_would_confuse_a_log_or_a_shell_is_refused(owner: str) -> None:
    assert authtokens.owner_problem(owner)


@pytest.mark.parametrize("owner", ["ann", "ann@example.com", "team_1.ci+x-y", "A"])
def test_usual_names_are_owners(owner: str) -> None:
    assert not authtokens.owner_problem(owner)
