"""Reads secrets as people give them: `env:NAME`, `file:PATH`, `-` for standard input, or the secret itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

MAX_SECRET = 8 * 1024
"""Characters of a secret's file that are read: far above any token, far below a mistake like `file:/dev/zero`."""
_FORMS = ("env:", "file:")


class SecretMissing(ValueError):
    """The form names nothing that can be read. Its message never holds a secret."""


@dataclass(frozen=True, slots=True)
class GivenSecret:
    """A secret, and whether it stood on the command line for every `ps` and shell history to see."""

    value: str = field(repr=False)
    is_literal: bool = False


def names_a_source(text: str) -> bool:
    """Whether the text is `env:NAME` or `file:PATH`, and so no secret itself."""
    return text.startswith(_FORMS)


def read_source(text: str, environ: Mapping[str, str]) -> str:
    """What `env:NAME` or `file:PATH` names, without blanks around it; any other text is returned as it is.

    Raises:
        SecretMissing: There is no such variable or file, or it is empty.
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
    """The secret that `text` names.

    Args:
        what: Its flag or key, for messages.
        environ: For `env:`.
        stdin: For `-`; its first line.

    Raises:
        SecretMissing: There is no such variable or file, or it is empty, or is no line of ASCII.
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
