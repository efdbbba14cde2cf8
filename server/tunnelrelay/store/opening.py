"""Opens the store that the setting `database` names."""

from pathlib import Path

from tunnelrelay.config.database import DatabaseUrl
from tunnelrelay.store.sql_store import SqlStore
from tunnelrelay.store.store import FILE_NAME, SqliteStore


async def open_store(
    database: DatabaseUrl | None, data_dir: Path, *, may_make: bool = True, is_patient: bool = False
) -> SqlStore:
    """Open the relay's store: the configured database, or the relay's own file.

    Args:
        may_make: Create the tables if the database has none. A file is always created.
        is_patient: Allow long statements; see `PostgresqlStore.open`.

    Raises:
        StoreError: The store cannot be opened or upgraded.
    """
    if database is None:
        return await SqliteStore.open(data_dir / FILE_NAME)
    from tunnelrelay.store.postgresql import PostgresqlStore  # its driver is slow to import

    return await PostgresqlStore.open(database, may_make=may_make, is_patient=is_patient)
