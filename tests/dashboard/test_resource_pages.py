"""The pages that all resources have alike."""

from tests.support.dashboard import DashboardClient, InMemory
from tests.support.managed import ADMIN


async def test_a_form_made_of_other_values_than_those_of_now_changes_nothing(
    house: InMemory, admin: DashboardClient
) -> None:
    services = house.managed.services
    user = await services.users.create(ADMIN, "Ann")
    ids = {
        "users": user.id,
        "credentials": (await services.credentials.create(ADMIN))[0].id,
        "trust-rules": (
            await services.trust_rules.create(
                ADMIN, issuer="https://gitlab.com", claims={"project_id": "42"}, acl=["bind:pr-*"]
            )
        ).id,
        "domains": (await services.domains.create(ADMIN, "demo")).id,
        "tcp-ports": (await services.addrs.create(ADMIN)).id,
        "api-keys": (await services.api_keys.create(ADMIN, user_id=user.id))[0].id,
    }
    house.managed.audit.take()

    for kind, row_id in ids.items():
        page = await admin.get(f"/{kind}/{row_id}")
        refused = await admin.post(f"/{kind}/{row_id}", {"description": "new", "name": "new", "seen": "0"})

        assert page.text.count('name="seen"') == 1, kind
        assert refused.status_code == 409, kind
        assert "was changed by another user meanwhile" in refused.text, kind
    assert house.managed.audit.take() == []
