"""Adds the protocol of a reservation: a host name or a TCP port."""

import sqlalchemy as sa
from alembic import op

from tunnelrelay.store.texts import short_text

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the migration. All existing reservations are of host names."""
    op.add_column("domains", sa.Column("proto", short_text(8), nullable=False, server_default=sa.text("'http'")))
