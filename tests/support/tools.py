"""Tools a test needs from outside Python: skipped where they are missing on a developer's machine, never in CI."""

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ARTIFACTS = ROOT / "tests" / "artifacts"
"""Where screenshots and logs of failed journeys go; not in git."""


def in_ci() -> bool:
    """True where a skipped test would hide a hole."""
    return os.environ.get("CI", "").lower() in {"1", "true", "yes"}


def require_tool(name: str, hint: str = "") -> str:
    """The path of command `name`; without it the test is skipped, and in CI it fails.

    Args:
        name: A command on PATH, or an absolute path.
        hint: What to install; default is the command's name as a Debian package.
    """
    path = shutil.which(name)
    if path is None:
        missing(f"{name} is not installed (apt-get install {hint or Path(name).name})")
    assert path is not None
    return path


def missing(reason: str) -> None:
    """Skips the running test for want of something on this machine; in CI, fails it."""
    if in_ci():
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
