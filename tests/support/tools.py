"""Finds programs that tests need. Without one, a test is skipped on a developer's machine and fails in CI."""

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ARTIFACTS = ROOT / "tests" / "artifacts"
"""Folder for screenshots and logs of failed journeys, which git ignores."""


def in_ci() -> bool:
    """Whether the tests run in CI, where a missing program must fail a test."""
    return os.environ.get("CI", "").lower() in {"1", "true", "yes"}


def require_tool(name: str, hint: str = "") -> str:
    """Return the path of a command. Without the command the test is skipped; in CI it fails.

    Args:
        name: A command on PATH, or an absolute path.
        hint: The Debian package to install; by default the command's name.
    """
    path = shutil.which(name)
    if path is None:
        missing(f"{name} is not installed (apt-get install {hint or Path(name).name})")
    assert path is not None
    return path


def missing(reason: str) -> None:
    """Skip the running test, as something is missing on this machine; in CI, fail it."""
    if in_ci():
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
