"""One's own sign-ins: shown, and ended from any browser."""

import pytest

from tests.support.dashboard import DashboardClient, InMemory
from tests.support.managed import ADMIN
from tunnelrelay.dashboard.views.account import browser_of

CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 Version/18.1 Safari/604.1"
HOSTILE = "<script>alert(1)</script>"


async def with_agent(house: InMemory, client: DashboardClient, user_id: str, agent: str) -> None:
    """Signs in a browser that calls itself so."""
    client.http.headers["User-Agent"] = agent
    code = await house.managed.services.sign_ins.invite(None, user_id)
    assert (await client.sign_in(code)).status_code == 303


async def test_one_sees_where_one_is_signed_in_and_ends_it_there(house, admin):
    """Row 145."""
    user = (await house.managed.store.users.all())[0]
    async with house.stranger() as phone:
        await with_agent(house, phone, user.id, "Phone")
        page = await admin.get("/account")
        assert "Phone" in page.text
        assert page.text.count("This browser") == 1
        rows = await house.managed.services.sign_ins.page(ADMIN, user.id)
        other = next(row for row in rows if row.agent == "Phone")

        await admin.post(f"/account/sign-ins/{other.id}/revoke")

        assert (await phone.get("/account")).status_code == 303
        assert (await admin.get("/account")).status_code == 200


async def test_what_a_browser_calls_itself_is_text(house, admin):
    """Row 139."""
    user = (await house.managed.store.users.all())[0]
    async with house.stranger() as other:
        await with_agent(house, other, user.id, HOSTILE)

    page = (await admin.get("/account")).text

    assert HOSTILE not in page
    assert "&lt;script&gt;" in page


async def test_a_member_ends_nobody_elses_sign_in_and_sees_none(house, admin):
    """Row 138."""
    root = (await house.managed.store.users.all())[0]
    (theirs,) = await house.managed.services.sign_ins.page(ADMIN, root.id)
    async with house.signed_in(await house.user("ann", "ann")) as ann:
        assert theirs.id not in (await ann.get("/account")).text
        answer = await ann.post(f"/account/sign-ins/{theirs.id}/revoke")

    assert answer.status_code == 404
    assert (await admin.get("/account")).status_code == 200


@pytest.mark.parametrize(
    ("agent", "said"),
    [(CHROME, "Chrome on Linux"), (IPHONE, "Safari on iPhone"), ("curl/8.5.0", "curl/8.5.0"), ("", "unknown")],
)
def test_a_browser_is_called_as_people_call_it(agent, said):
    assert browser_of(agent) == said


async def test_signing_out_everywhere_ends_every_browser_of_ones_own_and_nobody_elses(house, admin):
    """Rows 138, 145."""
    user = await house.user("ann", "ann")
    async with house.signed_in(user) as laptop, house.signed_in(user) as phone:
        answer = await laptop.post("/account/sign-out-everywhere")

        assert answer.headers["location"] == "/sign-in?flash=signed_out"
        assert [(await one.get("/account")).status_code for one in (laptop, phone, admin)] == [303, 303, 200]
