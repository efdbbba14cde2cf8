"""Opens the store that the setting `database` names."""

from pathlib import Path

from tunnelrelay.config.database import DatabaseUrl
from tunnelrelay.store.sql_store import SqlStore
from tunnelrelay.store.store import FILE_NAME, SqliteStore


async def open_store(
    database: DatabaseUrl | None, data_dir: Path, *, may_make: bool = True, is_patient: bool = False
) -> SqlStore:
    """The relay's store: the database named, or the relay's own file.

    Args:
        may_make: Make tables in a database that has none. The file is always made.
        is_patient: Allow long statements; see `PostgresqlStore.open`.

    Raises:
        StoreError: As the stores' `open`.
    """
    if database is None:
        return await SqliteStore.open(data_dir / FILE_NAME)
    from tunnelrelay.store.postgresql import PostgresqlStore  # its driver is slow to import

    return await PostgresqlStore.open(database, may_make=may_make, is_patient=is_patient)
