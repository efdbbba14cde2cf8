"""`tunnelrelay backup` and `restore`: write all data and keys of a relay to a file, and read them back.

Both work while relays run. A restore checks the whole file first; then it replaces the rows in one transaction, then
the key files, and tells running relays. It also moves a relay from one kind of database to another. `main` has the
flags.
"""

import contextlib
import errno
import io
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import click

import tunnelctl
from tunnelctl.cli.exits import Exit, Failure
from tunnelrelay.app import control_socket
from tunnelrelay.app.start_problems import in_words
from tunnelrelay.cli.archive import Archive, ArchiveError, ArchiveWriter, Manifest
from tunnelrelay.cli.store import COMMAND, Place, check_user, when, with_store
from tunnelrelay.config.config import KEYS_FILE_NAME
from tunnelrelay.keys.assertion import FILE_NAME as SIGNING_FILE
from tunnelrelay.keys.assertion import SigningKeys
from tunnelrelay.keys.key_files import (
    SecretFileError,
    locked,
    read_private_file,
    replace_private_file,
)
from tunnelrelay.keys.keyring import KeyRing
from tunnelrelay.store.base import AuditRow
from tunnelrelay.store.dump import TABLES, replace_all, snapshot
from tunnelrelay.store.sql_store import SqlStore
from tunnelrelay.store.upgrade import HEAD

STREAM = "-"
FILE_MODE = 0o600
"""Mode of a backup's file, for its owner only: with the keys in it, a reader can decrypt sessions and sign as the
relay."""
SUFFIX = ".before-restore"


def backup(place: Place, keys_file: Path, file: str, *, is_forced: bool) -> None:
    """Write a backup of the relay's store and keys to a file or stdout. A file is written completely or not at all."""
    target = None if file == STREAM else Path(file)
    if target is None and sys.stdout.isatty():
        raise Failure(
            Exit.USAGE,
            ["a backup cannot be written to a terminal"],
            "name a file, or send it on: `tunnelrelay backup - > FILE`",
        )
    if target is not None and target.exists() and not is_forced:
        raise Failure(Exit.FAILED, [f"{target} exists already"], "give another name, or --force to replace it")
    try:
        with contextlib.nullcontext(sys.stdout.buffer) if target is None else _draft(target, is_forced) as sink:
            manifest = with_store(place, lambda store: _write(store, keys_file, _Sink(sink)), is_patient=True)
    except FileExistsError as problem:
        raise Failure(
            Exit.FAILED, [f"{target} exists already"], "give another name, or --force to replace it"
        ) from problem
    except OSError as problem:
        raise _file_failure(f"{file} cannot be written", problem) from problem
    click.echo(f"backed up {_counts(manifest)} of {place} to {file}", err=True)
    if not any(name.startswith("keys/") for name in manifest.sha256):
        click.echo(f"warning: without keys: there are none in {keys_file}", err=True)
    click.echo("hint: keep it where only you can read it: the relay's keys are in it", err=True)


def restore(place: Place, keys_file: Path, file: str, *, is_sure: bool) -> None:
    """Replace the relay's store and keys by those in a backup, and tell running relays."""
    if file == STREAM and not is_sure:
        raise Failure(
            Exit.USAGE,
            ["standard input is the backup, so that nothing can be asked"],
            "give --yes to go on without a question",
        )
    try:
        with _opened(file) as source:
            _restore(place, keys_file, Archive(source), is_sure=is_sure)
    except ArchiveError as problem:
        hint = "give a file that `tunnelrelay backup` wrote; an older one, if this one is damaged"
        raise Failure(Exit.FAILED, [f"{problem}; nothing was changed"], hint) from problem
    except SecretFileError as problem:
        raise Failure(Exit.FAILED, [problem.message], problem.hint) from problem


# Writing


class _Sink(io.RawIOBase):
    """The file that a backup is written to. Its OSErrors become `Failure`s, as the store raises OSErrors of its own."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._file = file

    def write(self, data: Any) -> int:
        """Write bytes to the file. Raises Failure when the file cannot be written."""
        with _writing():
            return self._file.write(data)

    def settle(self) -> None:
        """Flush the file's buffers, so that a full disk makes the command fail."""
        with _writing():
            self._file.flush()


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        raise _file_failure("the backup cannot be written", problem) from problem


async def _write(store: SqlStore, keys_file: Path, sink: _Sink) -> Manifest:
    now = time.time()
    with ArchiveWriter(sink) as writer:
        async with snapshot(store) as moment:
            for table in TABLES:
                writer.begin(table)
                async for line in moment.lines(table):
                    writer.row(table, line)
                writer.end(table)
        # Read after the rows, so that the backup has every key that encrypted one of them; a newer key does no harm.
        for name, path, _ in _key_files(keys_file):
            if path.exists():
                writer.member(f"keys/{name}", _read(path))
        manifest = writer.finish(schema=HEAD, release=tunnelctl.__version__, at=str(when(now)))
    sink.settle()
    await store.add_audit([AuditRow(at=now, kind="backup.made", node=COMMAND)])
    return manifest


@contextlib.contextmanager
def _draft(target: Path, is_forced: bool) -> Iterator[IO[bytes]]:
    """Context manager: a temporary file that replaces the target on success.

    Raises:
        FileExistsError: The target exists, and `is_forced` is not set.
    """
    draft = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    try:
        with os.fdopen(descriptor, "wb") as sink:
            yield sink
            sink.flush()
            os.fsync(sink.fileno())
        if is_forced:
            draft.replace(target)
        else:
            os.link(draft, target)
    finally:
        draft.unlink(missing_ok=True)


# Restoring


def _restore(place: Place, keys_file: Path, archive: Archive, *, is_sure: bool) -> None:
    manifest = archive.manifest
    if manifest.schema != HEAD:
        maker = f"tunnelrelay {manifest.release}"
        if manifest.release == tunnelctl.__version__:
            maker += " from the checkout that made it"
        raise Failure(
            Exit.FAILED,
            [f"the backup is of tunnelrelay {manifest.release} (schema {manifest.schema}), this one restores {HEAD}"],
            f"restore it with {maker}"
            + (", then start this release: it upgrades the database" if manifest.schema < HEAD else ""),
        )
    archive.demand_rows()
    files = _new_keys(keys_file, archive)
    if not is_sure:
        _ask(place, manifest)
    with_store(place, lambda store: _replace(store, archive), may_make=True, is_patient=True)
    for path, content in files.items():
        _put(path, content)
    live = _tell(place)
    click.echo(f"restored {_counts(manifest)} of {manifest.at} into {place}; {live}", err=True)
    if files:
        click.echo(f"hint: the keys are the backup's; those there were lie beside as *{SUFFIX}", err=True)
        click.echo("hint: restart relays that ran with other keys, once it suits", err=True)


async def _replace(store: SqlStore, archive: Archive) -> None:
    now = time.time()
    await replace_all(store, archive.rows(), now)
    await store.add_audit([AuditRow(at=now, kind="backup.restored", node=COMMAND)])


def _new_keys(keys_file: Path, archive: Archive) -> dict[Path, bytes]:
    """Return the new contents of each key file. Raises SecretFileError for invalid keys or files we cannot replace."""
    found = {}
    for name, path, parse in _key_files(keys_file):
        content = archive.keys.get(name)
        if content is None:
            continue
        check_user(path)
        parse(content)
        if path.exists():
            read_private_file(path)
        found[path] = content
    return found


def _put(path: Path, content: bytes) -> None:
    """Replace a key file, completely or not at all. The former file is kept under its name and a suffix."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(path):
            if path.exists():
                replace_private_file(path.with_name(path.name + SUFFIX), read_private_file(path))
            replace_private_file(path, content)
    except (OSError, SecretFileError) as problem:
        why = problem.message if isinstance(problem, SecretFileError) else in_words(problem)
        raise Failure(
            Exit.FAILED,
            [f"the rows are restored, but {path} is not: {why}"],
            "make room or put the rights right, then restore once more",
        ) from problem


def _ask(place: Place, manifest: Manifest) -> None:
    if not sys.stdin.isatty():
        raise Failure(
            Exit.USAGE, ["this replaces everything the relay keeps, and there is no terminal to ask"], "give --yes"
        )
    click.echo(f"This replaces everything in {place} by the backup of {manifest.at}: {_counts(manifest)}.", err=True)
    if not click.confirm("Go on?", err=True):
        raise Failure(Exit.FAILED, ["nothing was changed: the answer was no"], "answer y, or give --yes")


def _tell(place: Place) -> str:
    try:
        done = control_socket.tell(place.data_dir, control_socket.Order(restored=True))
    except control_socket.ControlError as problem:
        raise Failure(
            Exit.FAILED,
            [f"restored, but {problem}"],
            control_socket.UNTOLD_HINT,
        ) from problem
    return "no relay is running here" if done is None else "relays that run here were told"


@contextlib.contextmanager
def _opened(file: str) -> Iterator[IO[bytes]]:
    """Context manager: a backup's file, open to be read more than once; stdin is copied to a temporary file."""
    try:
        with tempfile.TemporaryFile() if file == STREAM else Path(file).open("rb") as source:
            if file == STREAM:
                shutil.copyfileobj(sys.stdin.buffer, source)
            yield source
    except OSError as problem:
        raise _file_failure(f"{file} cannot be read", problem) from problem


def _key_files(keys_file: Path) -> tuple[tuple[str, Path, Callable[[bytes], object]], ...]:
    """Return name in a backup, path and parser of each key file."""
    return (
        (KEYS_FILE_NAME, keys_file, KeyRing.parse),
        (SIGNING_FILE, keys_file.with_name(SIGNING_FILE), SigningKeys.parse),
    )


def _read(path: Path) -> bytes:
    try:
        return read_private_file(path)
    except SecretFileError as problem:
        raise Failure(Exit.FAILED, [problem.message], problem.hint) from problem


def _file_failure(what: str, problem: OSError) -> Failure:
    hint = "make room there, or name another file" if problem.errno == errno.ENOSPC else "name another file"
    return Failure(Exit.FAILED, [f"{what}: {problem.strerror or problem}"], hint)


def _counts(manifest: Manifest) -> str:
    total = sum(manifest.rows.values())
    return f"{total} row{'s'[: total != 1]} in {sum(map(bool, manifest.rows.values()))} tables"
