"""Files that contain keys: readable by their owner only, replaced atomically, changed by one process at a time."""

import contextlib
import errno
import fcntl
import os
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Generic, Protocol, TypeVar

MAX_BYTES = 256 * 1024
"""Maximum bytes of a file, enough for a thousand keys."""
LOCK_SECONDS = 5.0
"""Maximum seconds to wait while another process changes the file, which takes it milliseconds."""


class SecretFileError(Exception):
    """A file of secrets cannot be used; the message says why.

    Attributes:
        message: Description of the error. `str` of the exception is message and hint, for the log.
        hint: What the operator can do.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message}; hint: {hint}" if hint else message)
        self.message = message
        self.hint = hint


class Keys(Protocol):
    """Interface of the content of a key file."""

    def dump(self) -> bytes:
        """Return the content as bytes for the file."""


_Keys = TypeVar("_Keys", bound=Keys)
_Stamp = tuple[int, int, int]


class KeyFile(Generic[_Keys]):
    """A file of keys that several relays and commands read and change.

    Args:
        parse: Function that reads the keys from the file's bytes; raises SecretFileError.
        make: Function that creates the first keys, when there is no file.
        made: Called when newly created keys are in the file.
    """

    def __init__(
        self,
        path: Path,
        *,
        parse: Callable[[bytes], _Keys],
        make: Callable[[], _Keys],
        made: Callable[[], None] = lambda: None,
    ) -> None:
        self.path = path
        self._parse = parse
        self._make = make
        self._made = made
        self._seen: _Stamp | None = None

    def load_or_create(self) -> _Keys:
        """Return the keys in the file, which is created when missing."""
        if not self.path.exists():
            with contextlib.suppress(FileExistsError):  # another relay has created the file meanwhile: use its keys
                write_private_file(self.path, self._make().dump())
                self._made()
        return self.load()

    def load(self) -> _Keys:
        """Return the keys in the file.

        Raises:
            SecretFileError: The file cannot be read, is readable by others, or contains no such keys.
        """
        stamp = _stamp(self.path)  # taken first: a change between the two is noticed next time
        content = read_private_file(self.path)
        try:
            keys = self._parse(content)
        except SecretFileError as error:
            raise SecretFileError(f"{self.path}: {error.message}", error.hint) from error
        self._seen = stamp
        return keys

    def reload(self) -> _Keys | None:
        """Return the keys if the file has changed since it was last read; else, and for a missing file, None.

        Raises:
            SecretFileError: As for `load`, but only once for each change of the file.
        """
        stamp = _stamp(self.path)
        if stamp is None or stamp == self._seen:
            return None
        self._seen = stamp
        return self.load()

    def change(self, step: Callable[[_Keys], _Keys]) -> tuple[_Keys, _Keys]:
        """Replace the keys in the file by the result of `step` on them, under the file's lock.

        Returns:
            The keys before and after. The file is not written when they are equal.

        Raises:
            SecretFileError: As for `load`, or the file cannot be written.
        """
        try:
            with locked(self.path):
                before = self.load()
                after = step(before)
                if after.dump() != before.dump():
                    replace_private_file(self.path, after.dump())
                    self._seen = _stamp(self.path)
        except OSError as error:
            raise SecretFileError(f"cannot change {self.path}: {_words(error)}", _hint(error)) from error
        return before, after


def read_private_file(path: Path) -> bytes:
    """Return the content of a secret file.

    Raises:
        SecretFileError: The file cannot be read, is too large, or its mode lets others read it.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SecretFileError(f"cannot read {path}: {_words(error)}", _hint(error)) from error
    if os.name == "posix" and mode & 0o077:
        raise SecretFileError(f"{path} can be read by others (mode {mode:04o})", f"chmod 600 {path}")
    if len(content) > MAX_BYTES:
        raise SecretFileError(f"{path} is larger than {MAX_BYTES} bytes", "is it the right file?")
    return content


def write_private_file(path: Path, content: bytes) -> None:
    """Create a secret file atomically, with mode 0600.

    The content is first written to a temporary file and then linked into place, so that relays that start at the same
    time cannot read half a key, and a link planted at `path` is not followed.

    Raises:
        FileExistsError: `path` already exists.
    """
    with _draft(path, content) as draft:
        os.link(draft, path)


def replace_private_file(path: Path, content: bytes) -> None:
    """Replace the content of a secret file atomically, mode 0600."""
    with _draft(path, content) as draft:
        draft.replace(path)


@contextlib.contextmanager
def _draft(path: Path, content: bytes) -> Iterator[Path]:
    """Create a temporary file beside `path` with the content, flushed to disk; its name is removed afterwards."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield draft
    finally:
        draft.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a key file. The lock is a file beside it, as the key file itself is replaced at each change."""
    descriptor = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + LOCK_SECONDS
        while not _has_locked(descriptor):
            if time.monotonic() > deadline:
                raise SecretFileError(f"{path} is being changed by another process", "try again")
            time.sleep(0.02)
        yield
    finally:
        os.close(descriptor)


def _words(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()


def _hint(error: OSError) -> str:
    match error.errno:
        case errno.ENOENT:
            return "a relay makes it when it starts: is --keys-file or --data-dir the relay's?"
        case errno.ENOSPC | errno.EDQUOT:
            return "make room on this disk"
        case _:
            return "run it as the user the relay runs as"


def _has_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _stamp(path: Path) -> _Stamp | None:
    """Return a value that changes whenever the file is replaced; None when there is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
