"""Adds refreshable sessions that end on all relays, names with generations, and the audit log."""

import sqlalchemy as sa
from alembic import op

from tunnelrelay.store.texts import counter, short_text

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the migration. Existing sessions are kept: they end at their limits, or at the next login."""
    op.add_column("sessions", sa.Column("version", sa.Integer, nullable=False, server_default="1"))
    op.add_column("sessions", sa.Column("sid", sa.LargeBinary(32)))
    op.add_column("sessions", sa.Column("client_id", short_text(1024)))
    op.create_index("ix_sessions_at_connection", "sessions", ["connection_id", "subject"])
    op.create_index("ix_sessions_sid", "sessions", ["connection_id", "sid"])
    op.create_index("ix_sessions_client", "sessions", ["client_id", "issuer"])
    op.create_table(
        "ended",
        sa.Column("key", sa.LargeBinary(32), nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_ended"),
    )
    op.create_index("ix_ended_at", "ended", ["at"])
    op.add_column("names", sa.Column("generation", sa.Integer, nullable=False, server_default="1"))
    op.add_column("names", sa.Column("released_at", sa.Float))
    op.create_table(
        "audit",
        sa.Column("id", counter(), nullable=False, autoincrement=True),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("kind", short_text(40), nullable=False),
        sa.Column("host", short_text(255), nullable=False),
        sa.Column("owner", short_text(200), nullable=False),
        sa.Column("connection", short_text(200), nullable=False),
        sa.Column("subject", short_text(64), nullable=False),
        sa.Column("peer", short_text(64), nullable=False),
        sa.Column("request_id", short_text(64), nullable=False),
        sa.Column("node", short_text(64), nullable=False),
        sa.Column("reason", short_text(200), nullable=False),
        sa.Column("details", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
    )
    for column in ("at", "kind", "host"):
        op.create_index(f"ix_audit_{column}", "audit", [column])


def downgrade() -> None:
    """Revert the migration."""
    op.drop_table("audit")
    op.drop_column("names", "released_at")
    op.drop_column("names", "generation")
    op.drop_table("ended")
    op.drop_index("ix_sessions_client", "sessions")
    op.drop_index("ix_sessions_sid", "sessions")
    op.drop_index("ix_sessions_at_connection", "sessions")
    op.drop_column("sessions", "client_id")
    op.drop_column("sessions", "sid")
    op.drop_column("sessions", "version")
