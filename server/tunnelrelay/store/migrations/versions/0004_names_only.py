"""Removes values that may be secret from audit events, and adds indexes on owners of names, tokens and events."""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

AT_ONCE = 500
"""Maximum events that are processed at once; no more are in memory."""
HEADERS = ("request_headers.add", "response_headers.add")
PAIRS = ("request_params", "oidc.request_params")
NOT_TOLD = "(not shown)"
"""The text that replaces a value, equal to the one in new events."""

audit = sa.table("audit", sa.column("id", sa.BigInteger), sa.column("kind", sa.Text), sa.column("details", sa.Text))


def upgrade() -> None:
    """Apply the migration."""
    op.create_index("ix_names_owner", "names", ["owner", "released_at"])
    op.create_index("ix_audit_owner", "audit", ["owner", "id"])
    live = sa.text("revoked_at IS NULL")
    op.create_index("ix_tokens_live", "tokens", ["owner", "id"], sqlite_where=live, postgresql_where=live)
    _names_only(op.get_bind())


def _names_only(connection: sa.Connection) -> None:
    """Remove the values of added header fields, request parameters and metadata from the changes in audit events."""
    last = 0
    told = sa.or_(audit.c.details.contains('"before"'), audit.c.details.contains('"after"'))
    while True:
        page = sa.select(audit.c.id, audit.c.details).where(audit.c.id > last, told).order_by(audit.c.id).limit(AT_ONCE)
        rows = connection.execute(page).all()
        for row in rows:
            details = without_values(row.details)
            if details != row.details:
                connection.execute(sa.update(audit).where(audit.c.id == row.id).values(details=details))
        if len(rows) < AT_ONCE:
            return
        last = rows[-1].id


def without_values(text: str) -> str:
    """Return an event's details with only names in both sides of a change.

    A side that cannot be parsed becomes empty.
    """
    details = _object(text)
    for side in ("before", "after"):
        if side in details:
            values = {name: _told(name, value) for name, value in _object(details[side]).items()}
            details[side] = json.dumps(values, separators=(",", ":"), ensure_ascii=False)
    return json.dumps(details, separators=(",", ":"), ensure_ascii=False)


def _told(name: str, value: Any) -> Any:
    if name == "metadata":
        return NOT_TOLD
    if name in HEADERS or name in PAIRS:
        pairs = value if isinstance(value, list) else []
        names = [pair[0] for pair in pairs if isinstance(pair, list) and pair]
        return names if names and all(isinstance(each, str) for each in names) else NOT_TOLD
    return value


def _object(text: object) -> dict[str, Any]:
    try:
        found = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
