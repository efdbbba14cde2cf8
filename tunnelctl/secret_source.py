"""Reads secrets as users give them: `env:NAME`, `file:PATH`, `-` for standard input, or the secret itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

MAX_SECRET = 8 * 1024
"""Maximum characters read from a secret's file: far above any token, and safe against a mistake like
`file:/dev/zero`."""
_FORMS = ("env:", "file:")


class SecretMissing(ValueError):
    """The source of a secret cannot be read. The message never contains a secret."""


@dataclass(frozen=True, slots=True)
class GivenSecret:
    """A secret, and whether it was given on the command line, where `ps` and the shell history show it."""

    value: str = field(repr=False)
    is_literal: bool = False


def names_a_source(text: str) -> bool:
    """Return whether the text is `env:NAME` or `file:PATH`, and so not the secret itself."""
    return text.startswith(_FORMS)


def read_source(text: str, environ: Mapping[str, str]) -> str:
    """Read the secret from `env:NAME` or `file:PATH` and strip it. Any other text is returned unchanged.

    Raises:
        SecretMissing: The variable or file does not exist, or is empty.
    """
    kind, _, name = text.partition(":")
    if not names_a_source(text):
        return text
    if kind == "file":
        value = _read_file(Path(name).expanduser())
    else:
        value = environ.get(name, "").strip()
    if not value:
        raise SecretMissing(f"{text} is empty" if kind == "file" else f"the environment variable {name} is not set")
    return value


def read_secret(text: str, *, what: str, environ: Mapping[str, str], stdin: TextIO) -> GivenSecret:
    """Read a secret from the source that `text` names.

    Args:
        what: Name of the flag or key, for messages.
        environ: Environment variables for `env:`.
        stdin: Standard input for `-`; only its first line is read.

    Raises:
        SecretMissing: The variable or file does not exist, is empty, or is not one line of ASCII.
    """
    try:
        value = stdin.readline(MAX_SECRET).strip() if text == "-" else read_source(text, environ).strip()
    except SecretMissing as error:
        raise SecretMissing(f"{what}: {error}") from error
    if not value:
        raise SecretMissing(f"{what}: {'standard input' if text == '-' else 'it'} is empty")
    if not value.isprintable() or not value.isascii():
        raise SecretMissing(
            f"{what}: the secret holds a character that cannot be sent (one line of plain ASCII, please)"
        )
    return GivenSecret(value, is_literal=text != "-" and not names_a_source(text))


def _read_file(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(MAX_SECRET).strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise SecretMissing(f"cannot read {path}: {reason}") from error
