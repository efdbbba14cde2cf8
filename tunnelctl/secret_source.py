"""Secrets as people give them: `env:NAME`, `file:PATH`, `-` for standard input, or the secret itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

MAX_SECRET = 8 * 1024
"""Bytes of a secret's file that are read: far above any token, far below a mistake like `file:/dev/zero`."""


class SecretMissing(ValueError):
    """The form names nothing that can be read. Its message never holds a secret."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret, and whether it stood on the command line for every `ps` and shell history to see."""

    value: str = field(repr=False)
    is_literal: bool = False


def read_secret(text: str, *, what: str, environ: Mapping[str, str], stdin: TextIO) -> Secret:
    """The secret that `text` names.

    Args:
        what: Its flag or key, for messages.
        environ: For `env:`.
        stdin: For `-`; its first line.

    Raises:
        SecretMissing: There is no such variable or file, or it is empty.
    """
    if text == "-":
        secret = Secret(stdin.readline(MAX_SECRET).strip())
    elif text.startswith("env:"):
        secret = Secret(environ.get(text[4:], "").strip())
    elif text.startswith("file:"):
        secret = Secret(_read_file(Path(text[5:]).expanduser(), what))
    else:
        secret = Secret(text.strip(), is_literal=True)
    if not secret.value:
        raise SecretMissing(f"{what}: {_empty_words(text)}")
    if not secret.value.isprintable() or not secret.value.isascii():
        raise SecretMissing(
            f"{what}: the secret holds a character that cannot be sent (one line of plain ASCII, please)"
        )
    return secret


def _read_file(path: Path, what: str) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(MAX_SECRET).strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise SecretMissing(f"{what}: cannot read {path}: {reason}") from error


def _empty_words(text: str) -> str:
    if text == "-":
        return "standard input is empty"
    if text.startswith("env:"):
        return f"the environment variable {text[4:]} is not set"
    return f"{text} is empty" if text.startswith("file:") else "it is empty"
