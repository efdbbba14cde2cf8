"""Creates the tables of tokens, sessions, one-time marks and names."""

import sqlalchemy as sa
from alembic import op

from tunnelrelay.store.texts import short_text

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "tokens",
        sa.Column("id", short_text(40), nullable=False),
        sa.Column("owner", short_text(200), nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("last_used_at", sa.Float),
        sa.Column("revoked_at", sa.Float),
        sa.PrimaryKeyConstraint("id", name="pk_tokens"),
        sa.UniqueConstraint("digest", name="uq_tokens_digest"),
    )
    op.create_index("ix_tokens_owner", "tokens", ["owner"])
    op.create_table(
        "sessions",
        sa.Column("key", sa.LargeBinary(32), nullable=False),
        sa.Column("host", short_text(255), nullable=False),
        sa.Column("connection_id", short_text(200), nullable=False),
        sa.Column("epoch", short_text(100), nullable=False),
        sa.Column("issuer", short_text(2048), nullable=False),
        sa.Column("subject", short_text(255), nullable=False),
        sa.Column("email", short_text(320), nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("last_seen", sa.Float, nullable=False),
        sa.Column("expires_at", sa.Float, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_sessions"),
    )
    op.create_index("ix_sessions_host", "sessions", ["host"])
    op.create_index("ix_sessions_expires_at", "sessions", ["expires_at"])
    op.create_index("ix_sessions_person", "sessions", ["subject", "issuer"])
    op.create_table(
        "used",
        sa.Column("key", sa.LargeBinary(64), nullable=False),
        sa.Column("expires_at", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_used"),
    )
    op.create_index("ix_used_expires_at", "used", ["expires_at"])
    op.create_table(
        "names",
        sa.Column("host", short_text(255), nullable=False),
        sa.Column("owner", short_text(200), nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("host", name="pk_names"),
    )
    op.create_index("ix_names_at", "names", ["at"])


def downgrade() -> None:
    """Drop the tables."""
    for table in ("names", "used", "sessions", "tokens"):
        op.drop_table(table)
