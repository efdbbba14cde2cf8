"""Adds trust rules: which CI jobs may connect as agents."""

import sqlalchemy as sa
from alembic import op

from tunnelrelay.store.texts import short_text

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the migration. There are no rules yet."""
    op.create_table(
        "trust_rules",
        sa.Column("id", short_text(40), nullable=False),
        sa.Column("owner", short_text(200), nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("updated_at", sa.Float, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("issuer", short_text(2048), nullable=False),
        sa.Column("audience", short_text(1024), nullable=False),
        sa.Column("claims", sa.JSON, nullable=False),
        sa.Column("acl", sa.JSON, nullable=False),
        sa.Column("description", short_text(255), nullable=False),
        sa.Column("metadata", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_trust_rules"),
    )
    for column in ("owner", "issuer"):
        op.create_index(f"ix_trust_rules_{column}", "trust_rules", [column])


def downgrade() -> None:
    """Revert the migration."""
    op.drop_table("trust_rules")
