"""Connects Alembic to the database: over the connection that `upgrade.py` passes, or over the URL of alembic.ini."""

from alembic import context
from sqlalchemy import Connection, create_engine

from tunnelrelay.store.schema import metadata


def migrate(connection: Connection) -> None:
    """Run the requested migrations. SQLite can alter a table only by copying it, hence the batch mode."""
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True, transactional_ddl=True)
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    migrate(given)
else:
    with create_engine(context.config.get_main_option("sqlalchemy.url") or "").begin() as own:
        migrate(own)
