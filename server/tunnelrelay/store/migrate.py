"""Runs the schema migrations on either database. Imported only for an old schema, as the import is slow."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from tunnelrelay.store.base import StoreTooNewError


def migrate(connection: Connection, found: str | None, head: str, *, name: str) -> None:
    """Migrate the schema from one migration to another, in the connection's current transaction.

    Args:
        found: Migration that the database is at; None for an empty database.
        name: Name of the database in messages.

    Raises:
        StoreTooNewError: This release does not know the migration `found`.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        what = f"{name} was written by a newer tunnelrelay (schema {found}, this one knows {head})"
        raise StoreTooNewError(what, "run the newer release again, or restore a backup that this one wrote")
    config.attributes["connection"] = connection
    command.upgrade(config, head)
