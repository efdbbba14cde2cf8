"""A PostgreSQL server for tests: one for each pytest worker, with a database for each test, copied from a template."""

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
    "fsync": "off",  # tests need no safety against power cuts
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
    """A PostgreSQL server on a loopback port, which asks for no password.

    Attributes:
        folder: The server's folder, owned by the user that the server runs as: PostgreSQL does not run as root.
        bin: Folder with PostgreSQL's programs.
        settings: Further settings of `postgresql.conf`, for the next start.
    """

    folder: Path
    port: int
    bin: Path
    settings: dict[str, str] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))
    _process: "subprocess.Popen[bytes] | None" = None
    _has_template: bool = False

    def url(self, database: str) -> str:
        """Return the URL of a database on this server, as `--database` takes it."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    def make(self) -> None:
        """Create the server's data directory, which must not exist yet."""
        args = ["-D", str(self.data), "-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C.UTF-8"]
        subprocess.run([*_as_nobody(), str(self.bin / "initdb"), *args], check=True, capture_output=True)

    @property
    def data(self) -> Path:
        """The server's data directory."""
        return self.folder / "data"

    def start(self) -> None:
        """Start the server, and wait until it accepts connections."""
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
        """Stop the server and cut all connections; `at_once` without a clean shutdown, as after a power failure."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT if at_once else signal.SIGINT)
            self._process.wait(PATIENCE)
            self._process = None

    async def database(self) -> str:
        """Create a database with the relay's tables, which are empty. Returns its URL."""
        if not self._has_template:
            await self.run('CREATE DATABASE "template"')
            await (await PostgresqlStore.open(DatabaseUrl(self.url("template")))).close()
            self._has_template = True
        return await self.empty_database("template")

    async def empty_database(self, template: str = "template0") -> str:
        """Create a database without tables, or as a copy of `template`. Returns its URL."""
        name = f"test_{next(self._numbers)}"
        await self.run(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url(name)

    async def run(self, statement: str, database: str = "postgres") -> None:
        """Run one SQL statement as the superuser `USER`."""
        connection = await asyncpg.connect(self.url(database))
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


def new_database(server: PostgresServer) -> str:
    """Create a database with the relay's tables, for tests that are not async. Returns its URL."""
    return asyncio.run(server.database())


@contextmanager
def postgres_server(**settings: str) -> Iterator[PostgresServer]:
    """Context manager: a running server, whose files are deleted afterwards. Without PostgreSQL the test is skipped."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"), reverse=True)
    initdb = found[0] if found else shutil.which("initdb")
    if initdb is None:
        missing("PostgreSQL is not installed (apt-get install postgresql)")
    assert initdb is not None
    # Not in pytest's own directories, which the user that the server runs as cannot open.
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
    """Return the words before a command that run PostgreSQL's programs as another user when the tests run as root."""
    return () if os.geteuid() else ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--")
