"""The guides to a provider do what they say. They all need an app, a relay and a provider, and share them."""

from collections.abc import Iterator

import pytest

from tests.docs.desk import GUIDES, PROVIDER_GUIDES, Desk, desk_tools
from tests.docs.examples import steps

pytestmark = pytest.mark.journey
NAMES = [
    name if name == "okta.md" else pytest.param(name, marks=pytest.mark.thorough) for name in sorted(PROVIDER_GUIDES)
]


@pytest.fixture(scope="module")
def shared_desk(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Desk]:
    desk_tools()
    desk = Desk(tmp_path_factory.mktemp("desk"), lambda: request.getfixturevalue("postgres"))
    yield desk
    desk.clear()


@pytest.mark.parametrize("name", NAMES)
def test_the_guide_to_a_provider_does_what_it_says(name: str, shared_desk: Desk) -> None:
    try:
        for step in steps((GUIDES / name).read_text()):
            shared_desk.do(step)
    finally:
        shared_desk.turn_page()
