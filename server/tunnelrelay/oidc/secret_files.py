"""Files that hold keys: readable by nobody else, written whole or not at all."""

import os
import secrets
from pathlib import Path

MAX_BYTES = 64 * 1024


class SecretFileError(Exception):
    """A file of secrets cannot be used; the text says why and what to do."""


def read_private_file(path: Path) -> bytes:
    """A secret file's content.

    Raises:
        SecretFileError: When it cannot be read, is too large, or its mode lets others read it.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SecretFileError(f"cannot read {path}: {error.strerror}") from error
    if os.name == "posix" and mode & 0o077:
        raise SecretFileError(f"{path} can be read by others (mode {mode:04o}); hint: chmod 600 {path}")
    if len(content) > MAX_BYTES:
        raise SecretFileError(f"{path} is larger than {MAX_BYTES} bytes")
    return content


def write_private_file(path: Path, content: bytes) -> None:
    """Writes a new secret file, whole or not at all, mode 0600.

    The content goes to a file of its own first and is linked into place, so that two starting relays cannot see half a
    key, and a link planted at `path` is not followed.

    Raises:
        FileExistsError: When there is something at `path` already.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    finally:
        draft.unlink()
