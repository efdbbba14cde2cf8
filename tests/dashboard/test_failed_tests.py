"""What was just seen to fail is saved only when somebody says that they want it all the same."""

import re

import pytest

from tests.dashboard.test_edges import OIDC, made
from tests.dashboard.test_providers import NEW
from tests.support.dashboard import DashboardClient, InMemory
from tunnelctl.oidc.findings import error, ok

BROKEN = [error("scopes", "it lists no scope `groups`", fix="to use --oidc-allow-group, have the provider send groups")]
CONFIRMED = re.compile(r'name="confirmed" value="([^"]+)"')


@pytest.fixture(params=["an edge's login", "a provider"])
async def form(request: pytest.FixtureRequest, house: InMemory) -> tuple[str, str, dict[str, str]]:
    """Where a form is saved, where it is tested, and what is in it."""
    if request.param == "a provider":
        return "/providers/new", "/providers/test", NEW
    path = f"/edges/{await made(house)}/oidc"
    return path, f"{path}/test", OIDC


async def test_it_is_saved_by_save_anyway_only(house: InMemory, admin: DashboardClient, form) -> None:
    save, test, fields = form
    house.managed.provider.findings = BROKEN

    tried = await admin.post(test, fields)
    warned = await admin.post(save, fields)
    (confirmed,) = CONFIRMED.findall(warned.text)
    saved = await admin.post(save, fields | {"confirmed": confirmed})

    assert re.search(r"(Save|Register) anyway</button>", tried.text)
    assert warned.status_code == 409
    assert "failed its test a moment ago" in warned.text
    assert re.search(r"(Save|Register) anyway</button>", warned.text)
    assert saved.status_code == 303


async def test_findings_speak_of_the_form(house: InMemory, admin: DashboardClient, form) -> None:
    _, test, fields = form
    house.managed.provider.findings = BROKEN

    tried = await admin.post(test, fields)

    assert "it lists no scope <code>groups</code>" in tried.text
    assert "to use “Groups”, have the provider" in tried.text


async def test_a_test_that_passes_takes_the_warning_back(house: InMemory, admin: DashboardClient, form) -> None:
    save, test, fields = form
    house.managed.provider.findings = BROKEN
    await admin.post(test, fields)
    house.managed.provider.findings = [ok("discovery", "there")]

    tried = await admin.post(test, fields)
    saved = await admin.post(save, fields)

    assert "anyway" not in tried.text
    assert saved.status_code == 303
