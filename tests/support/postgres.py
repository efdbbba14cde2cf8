"""A PostgreSQL server of the tests' own: one for each worker, and a database for each test, copied from a template."""

import asyncio
import glob
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import asyncpg

from tests.support.ports import free_port
from tests.support.tools import missing
from tests.support.waiting import PATIENCE
from tunnelrelay.config.database import DatabaseUrl
from tunnelrelay.store.postgresql import PostgresqlStore

USER = "tunnelrelay"
SETTINGS = {
    "fsync": "off",  # what a power cut loses, no test misses
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "60",
    "shared_buffers": "16MB",
    "autovacuum": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}


@dataclass
class PostgresServer:
    """A server on a loopback port, without passwords.

    Attributes:
        folder: Owned by the user it runs as: PostgreSQL does not run as root.
        bin: Where its programs are.
        settings: More of `postgresql.conf`, from the next start on.
    """

    folder: Path
    port: int
    bin: Path
    settings: dict[str, str] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))
    _process: "subprocess.Popen[bytes] | None" = None
    _has_template: bool = False

    def url(self, database: str) -> str:
        """What `--database` is given."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    def make(self) -> None:
        """Makes its data directory; it must not exist."""
        args = ["-D", str(self.data), "-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C.UTF-8"]
        subprocess.run([*_as_nobody(), str(self.bin / "initdb"), *args], check=True, capture_output=True)

    @property
    def data(self) -> Path:
        """Where it keeps its files."""
        return self.folder / "data"

    def start(self) -> None:
        """Starts it, and returns once it answers."""
        settings = {**SETTINGS, "port": str(self.port), "listen_addresses": "127.0.0.1", **self.settings}
        settings["unix_socket_directories"] = str(self.folder)
        args = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*_as_nobody(), str(self.bin / "postgres"), "-D", str(self.data), *args],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + PATIENCE
        while subprocess.run([self.bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]).returncode:
            log_text = (self.folder / "log").read_text(errors="replace")
            assert self._process.poll() is None, f"PostgreSQL did not start\n{log_text}"
            assert time.monotonic() < deadline, f"PostgreSQL does not answer\n{log_text}"
            time.sleep(0.05)

    def stop(self, *, at_once: bool = True) -> None:
        """Ends it, cutting every connection; `at_once` as if the power had failed."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT if at_once else signal.SIGINT)
            self._process.wait(PATIENCE)
            self._process = None

    async def database(self) -> str:
        """The URL of a new database with our tables, empty."""
        if not self._has_template:
            await self.run('CREATE DATABASE "template"')
            await (await PostgresqlStore.open(DatabaseUrl(self.url("template")))).close()
            self._has_template = True
        return await self.empty_database("template")

    async def empty_database(self, template: str = "template0") -> str:
        """The URL of a new database without tables."""
        name = f"test_{next(self._numbers)}"
        await self.run(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url(name)

    async def run(self, statement: str, database: str = "postgres") -> None:
        """One statement, as the superuser that `USER` is."""
        connection = await asyncpg.connect(self.url(database))
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


def new_database(server: PostgresServer) -> str:
    """As `PostgresServer.database`, for tests that are not async."""
    return asyncio.run(server.database())


@contextmanager
def postgres_server(**settings: str) -> Iterator[PostgresServer]:
    """A running server; its files go with it. Without PostgreSQL on this machine the test is skipped."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"), reverse=True)
    initdb = found[0] if found else shutil.which("initdb")
    if initdb is None:
        missing("PostgreSQL is not installed (apt-get install postgresql)")
    assert initdb is not None
    # Not pytest's own directories: they are closed to the user that the server runs as.
    folder = Path(tempfile.mkdtemp(prefix="tunnel-pg-"))
    if os.geteuid() == 0:
        shutil.chown(folder, "nobody")
    server = PostgresServer(folder, free_port(), Path(initdb).parent, dict(settings))
    try:
        server.make()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _as_nobody() -> Sequence[str]:
    """The prefix of a command that PostgreSQL's programs need where the tests run as root."""
    return () if os.geteuid() else ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--")
