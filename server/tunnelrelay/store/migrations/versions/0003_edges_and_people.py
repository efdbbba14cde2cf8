"""Adds users, API keys, sign-ins, domains, edges, backends and providers; ACL and expiry of tokens; the actor of
events.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

from tunnelrelay.store.texts import short_text

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the migration. Existing tokens keep all permissions and never expire."""
    op.add_column("tokens", sa.Column("description", short_text(255), nullable=False, server_default=sa.text("''")))
    op.add_column("tokens", sa.Column("metadata", sa.Text, nullable=False, server_default=sa.text("''")))
    op.add_column("tokens", sa.Column("acl", sa.JSON, nullable=False, server_default=sa.text("'[]'")))
    op.add_column("tokens", sa.Column("expires_at", sa.Float))
    op.add_column("tokens", sa.Column("user_id", short_text(40), nullable=False, server_default=sa.text("''")))
    op.create_index("ix_tokens_revoked_at", "tokens", ["revoked_at"])
    op.add_column("audit", sa.Column("actor", short_text(40), nullable=False, server_default=sa.text("''")))
    words = (("description", short_text(255)), ("metadata", sa.Text()))
    _resource(
        "users",
        ("name", short_text(200)),
        ("key", short_text(64)),
        ("role", short_text(20)),
        ("email", short_text(320)),
        ("issuer", short_text(2048)),
        ("subject", short_text(255)),
        optional=(("last_seen_at", sa.Float()), ("disabled_at", sa.Float())),
        unique=("name", "key"),
    )
    _resource(
        "api_keys",
        ("user_id", short_text(40)),
        ("digest", sa.LargeBinary(32)),
        ("scopes", sa.JSON()),
        *words,
        optional=(("expires_at", sa.Float()), ("last_used_at", sa.Float())),
        unique=("digest",),
        index=("user_id",),
    )
    _resource(
        "sign_ins",
        ("user_id", short_text(40)),
        ("key", sa.LargeBinary(32)),
        ("kind", short_text(20)),
        ("last_seen_at", sa.Float()),
        ("expires_at", sa.Float()),
        ("peer", short_text(64)),
        ("agent", short_text(255)),
        unique=("key",),
        index=("user_id", "expires_at"),
    )
    _resource("domains", ("host", short_text(255)), *words, unique=("host",))
    _resource("backends", ("labels", sa.JSON()), *words)
    _resource(
        "edges",
        ("settings", sa.Text()),
        ("sealed", sa.LargeBinary()),
        ("backend_id", short_text(40)),
        *words,
        optional=(("host", short_text(255)),),
        unique=("host",),
        index=("backend_id",),
    )
    _resource(
        "providers",
        ("name", short_text(64)),
        ("owners", sa.JSON()),
        ("settings", sa.Text()),
        ("sealed", sa.LargeBinary()),
        *words,
        unique=("name",),
    )
    op.create_table(
        "revisions",
        sa.Column("kind", short_text(40), nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("kind", name="pk_revisions"),
    )


def downgrade() -> None:
    """Revert the migration."""
    for table in ("revisions", "providers", "edges", "backends", "domains", "sign_ins", "api_keys", "users"):
        op.drop_table(table)
    op.drop_column("audit", "actor")
    op.drop_index("ix_tokens_revoked_at", "tokens")
    for column in ("user_id", "expires_at", "acl", "metadata", "description"):
        op.drop_column("tokens", column)


def _resource(
    name: str,
    *columns: tuple[str, sa.types.TypeEngine[Any]],
    optional: tuple[tuple[str, sa.types.TypeEngine[Any]], ...] = (),
    unique: tuple[str, ...] = (),
    index: tuple[str, ...] = (),
) -> None:
    op.create_table(
        name,
        sa.Column("id", short_text(40), nullable=False),
        sa.Column("owner", short_text(200), nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("updated_at", sa.Float, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        *(sa.Column(column, kind, nullable=False) for column, kind in columns),
        *(sa.Column(column, kind) for column, kind in optional),
        sa.PrimaryKeyConstraint("id", name=f"pk_{name}"),
        *(sa.UniqueConstraint(column, name=f"uq_{name}_{column}") for column in unique),
    )
    for column in ("owner", *index):
        op.create_index(f"ix_{name}_{column}", name, [column])
