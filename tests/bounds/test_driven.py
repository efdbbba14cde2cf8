"""Each declared bound is driven past its limit, as the peer in question would, and holds.

A new bound needs a driver in one of the `drive_*` modules beside this one: it fills the real object to about twice the
limit and shows that the count stays within it, that what the declaration says happens, and that what is held takes no
more memory than declared when each entry is as large as a peer can make it.
"""

import inspect

import pytest

from tests.bounds import (  # noqa: F401  # they enter their drivers
    drive_agents,
    drive_ingress,
    drive_inspector,
    drive_link,
    drive_login,
    drive_messages,
    drive_observe,
    drive_registry,
    drive_services,
)
from tests.bounds.driving import DRIVERS
from tests.bounds.found import declared

pytestmark = pytest.mark.thorough


@pytest.mark.parametrize("name", declared())
async def test_a_bound_holds_when_it_is_driven_past(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert name in DRIVERS, f"{declared()[name][0]} declares {name!r}, and no driver shows that it holds"
    _, bound = declared()[name]
    driven = DRIVERS[name](bound, monkeypatch)
    if inspect.isawaitable(driven):
        await driven


def test_every_driver_drives_a_bound_that_is_declared() -> None:
    assert DRIVERS.keys() - declared().keys() == set()
