"""Lists and counts go by an index: what they cost does not grow with what other owners have."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import event

from tunnelrelay.store.base import SessionCriteria
from tunnelrelay.store.store import SqliteStore

Ask = Callable[[SqliteStore], Awaitable[Any]]

ASKED: dict[str, tuple[Ask, str]] = {
    "a page of good tokens": (lambda s: s.token_page(owner="ann", before="t", limit=100), "ix_tokens_live"),
    "a page of events": (lambda s: s.audit(owner="ann", limit=100), "ix_audit_owner"),
    "names in their cool-down": (lambda s: s.cooling_names("ann", 1.0, unlike="x"), "ix_names_owner"),
    "ports in their cool-down": (lambda s: s.cooling_ports("ann", 1.0), "sqlite_autoindex_names_1"),
    "a login by its handle": (lambda s: s.sessions(SessionCriteria(handle=b"k" * 8)), "sqlite_autoindex_sessions_1"),
    "an owner's logins": (lambda s: s.sessions(SessionCriteria(owner="ann", live_at=1.0), limit=100), "ix_names_owner"),
    "domains": (lambda s: s.domains.page(owner="ann", limit=100), "ix_domains_owner"),
    "edges": (lambda s: s.edges.page(owner="ann", limit=100), "ix_edges_owner"),
    "tunnel groups": (lambda s: s.backends.page(owner="ann", limit=100), "ix_backends_owner"),
    "trust rules": (lambda s: s.trust_rules.page(owner="ann", limit=100), "ix_trust_rules_owner"),
    "trust rules of an issuer": (lambda s: s.trust_rules.all(issuer="https://i"), "ix_trust_rules_issuer"),
    "a user's keys": (lambda s: s.api_keys.page(user_id="u", limit=100), "ix_api_keys_user_id"),
    "a user's sign-ins": (lambda s: s.sign_ins.page(user_id="u", limit=100), "ix_sign_ins_user_id"),
    "whose a name is": (lambda s: s.name("a.localhost"), "sqlite_autoindex_names_1"),
}
"""What is asked, and the index it must go by."""


@pytest.fixture
async def store(tmp_path) -> AsyncIterator[SqliteStore]:
    opened = await SqliteStore.open(tmp_path / "relay.db")
    yield opened
    await opened.close()


@pytest.mark.parametrize("name", ASKED)
async def test_a_list_goes_by_its_index(store: SqliteStore, name: str) -> None:
    ask, index = ASKED[name]
    statements: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        statements.append((statement, parameters))

    event.listen(store.engine.sync_engine, "before_cursor_execute", note)
    await ask(store)
    event.remove(store.engine.sync_engine, "before_cursor_execute", note)
    async with store.engine.connect() as connection:
        plans = [
            " | ".join(row[3] for row in await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", parameters))
            for text, parameters in statements
            if text.lstrip().startswith("SELECT")
        ]

    assert len(plans) == 1
    assert index in plans[0]
