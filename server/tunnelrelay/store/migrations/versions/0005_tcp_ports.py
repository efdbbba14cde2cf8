"""Reservations are of host names or of tcp ports."""

import sqlalchemy as sa
from alembic import op

from tunnelrelay.store.texts import short_text

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward. All there are so far are host names."""
    op.add_column("domains", sa.Column("proto", short_text(8), nullable=False, server_default=sa.text("'http'")))
