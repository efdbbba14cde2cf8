"""A relay for each journey; every test here starts real processes."""

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.stack import Stack, stacked

HERE = Path(__file__).parent
OPEN_FILES = 16384
"""A thousand visitors, the app's side of them and the agent's: child processes inherit the limit."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder is a journey, also for `-m`."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.journey)


@pytest.fixture(scope="session", autouse=True)
def many_open_files() -> None:
    """Raises the soft limit as far as the hard one goes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """A relay on loopback with domain `localhost`, as `tunnelrelay serve` gives without a flag."""
    with stacked(tmp_path / "data") as stack:
        yield stack
