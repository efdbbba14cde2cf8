"""The file format of a backup: a gzipped tar with the tables' rows, the key files, and a manifest at the end.

It is written and read as a stream, so that it can go through a pipe and the database is never in memory as a whole.

    tables/tokens/00001.jsonl   rows of a table as JSON lines, about `PIECE` bytes a file
    keys/keys.json              the key ring; keys/assertion.json the signing keys
    manifest.json               `Manifest`
"""

import gzip
import hashlib
import io
import tarfile
import zlib
from collections.abc import Iterator
from typing import IO, Any, Self

import msgspec
from sqlalchemy import Table

from tunnelrelay.store.dump import TABLES, RowError, parse

FORMAT = 1
PIECE = 1 << 20
"""Bytes of rows that are buffered before they are written to the archive as one file."""
MAX_MEMBER = 64 << 20
"""Bytes of one file in the archive; a larger one is refused. A file of rows ends after the row that fills `PIECE`, and
rows have a few megabytes at most."""
MANIFEST = "manifest.json"


class ArchiveError(Exception):
    """Raised when a file is no backup of a relay, is damaged, or is incomplete."""


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table of contents of a backup, the last file in it.

    Attributes:
        schema: The newest database migration of the store that the rows come from.
        release: Version of the program that wrote the backup.
        at: Time of the backup, as people read it.
        rows: Number of rows by table.
        sha256: SHA-256 in hexadecimal of each other file in the backup, by name.
    """

    format: int
    schema: str
    release: str
    at: str
    rows: dict[str, int]
    sha256: dict[str, str]


class ArchiveWriter:
    """Context manager that writes a backup. The file is valid only after `finish`, which writes the manifest."""

    def __init__(self, file: io.RawIOBase) -> None:
        self._tar = tarfile.open(fileobj=file, mode="w|gz")  # noqa: SIM115 (`__exit__` closes it)
        self._sha256: dict[str, str] = {}
        self._rows: dict[str, int] = {}
        self._piece = bytearray()
        self._number = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._tar.close()

    def begin(self, table: Table) -> None:
        """Start to write a table's rows; `row` adds them, `end` ends the table."""
        self._rows[table.name] = 0
        self._number = 0

    def row(self, table: Table, line: bytes) -> None:
        """Add one row of the table, a line of JSON as `dump.Snapshot.lines` yields it."""
        self._rows[table.name] += 1
        self._piece += line
        if len(self._piece) >= PIECE:
            self.end(table)

    def end(self, table: Table) -> None:
        """Write the table's rows that are still buffered to the archive."""
        if self._piece:
            self._number += 1
            self.member(f"tables/{table.name}/{self._number:05}.jsonl", bytes(self._piece))
            self._piece.clear()

    def member(self, name: str, content: bytes) -> None:
        """Add a file to the archive, and its SHA-256 to the manifest."""
        self._sha256[name] = hashlib.sha256(content).hexdigest()
        self._add(name, content)

    def finish(self, *, schema: str, release: str, at: str) -> Manifest:
        """Write the manifest, which completes the backup. Returns it."""
        manifest = Manifest(format=FORMAT, schema=schema, release=release, at=at, rows=self._rows, sha256=self._sha256)
        self._add(MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")
        return manifest

    def _add(self, name: str, content: bytes) -> None:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        info.mode = 0o600
        self._tar.addfile(info, io.BytesIO(content))


class Archive:
    """A backup to read. The constructor reads the whole file once, to check that it is complete.

    Args:
        file: A seekable file, as it is read more than once.

    Raises:
        ArchiveError: The file is no complete backup.

    Attributes:
        keys: The contents of the key files in the backup, by name.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.keys: dict[str, bytes] = {}
        self.manifest = self._looked_through()

    def rows(self) -> Iterator[tuple[Table, dict[str, Any]]]:
        """Yield every row with its table. Raises ArchiveError when the file has changed since it was checked."""
        for name, content in self._members():
            if name != MANIFEST and hashlib.sha256(content).hexdigest() != self.manifest.sha256.get(name):
                raise ArchiveError("the backup changed while it was read")
            if (table := _table(name)) is not None:
                yield from ((table, row) for row in _rows(table, name, content))

    def _looked_through(self) -> Manifest:
        """Read the whole archive and return its manifest. Raises ArchiveError when both do not agree."""
        sha256: dict[str, str] = {}
        counts = dict.fromkeys((table.name for table in TABLES), 0)
        manifest = None
        problem: ArchiveError | None = None
        for name, content in self._members():
            if manifest is not None or name in sha256:
                raise ArchiveError(f"the backup holds something it should not: `{name}`")
            if name == MANIFEST:
                manifest = _manifest(content)
                continue
            sha256[name] = hashlib.sha256(content).hexdigest()
            if (table := _table(name)) is not None:
                try:
                    counts[table.name] += sum(1 for _ in _rows(table, name, content))
                except ArchiveError as error:
                    problem = problem or error  # raised later: the manifest may show that it is of another schema
            elif name.startswith("keys/"):
                self.keys[name.removeprefix("keys/")] = content
            else:
                problem = problem or ArchiveError(f"the backup holds something it should not: `{name}`")
        if manifest is None:
            raise ArchiveError("the backup is not whole: its end is missing")
        if sha256 != manifest.sha256:
            raise ArchiveError("the backup is damaged: its parts are not those it was written with")
        self._problem = problem or (None if counts == manifest.rows else ArchiveError("the backup lacks rows"))
        return manifest

    def demand_rows(self) -> None:
        """Raise ArchiveError when the backup's rows do not have this release's database schema."""
        if self._problem is not None:
            raise self._problem

    def _members(self) -> Iterator[tuple[str, bytes]]:
        self._file.seek(0)
        try:
            with tarfile.open(fileobj=self._file, mode="r|gz") as tar:
                for info in tar:
                    if not info.isreg() or info.size > MAX_MEMBER:
                        raise ArchiveError(f"the backup holds something it should not: `{info.name}`")
                    content = tar.extractfile(info)
                    assert content is not None  # it is a regular file
                    yield info.name, content.read()
        except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise ArchiveError("the file is no backup, or is damaged") from error


def _manifest(content: bytes) -> Manifest:
    try:
        manifest = msgspec.json.decode(content, type=Manifest)
    except msgspec.MsgspecError as problem:
        raise ArchiveError("the backup's manifest cannot be read; was it written by a newer release?") from problem
    if manifest.format != FORMAT:
        raise ArchiveError(f"the backup is of format {manifest.format}, this release reads {FORMAT}")
    return manifest


def _table(name: str) -> Table | None:
    parts = name.split("/")
    return next((table for table in TABLES if parts[:2] == ["tables", table.name]), None)


def _rows(table: Table, name: str, content: bytes) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(content.splitlines(), 1):
        try:
            yield parse(table, line)
        except RowError as problem:
            raise ArchiveError(f"{name}, line {number}: {problem}") from problem
