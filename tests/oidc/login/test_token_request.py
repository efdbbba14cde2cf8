"""What a code is exchanged for, and how: codes of others, weak proofs, and answers that are none."""

import pytest

from tests.oidc.world import (
    Browser,
    World,
    code_of,
    location,
    sent_to,
)


@pytest.mark.parametrize("checks_pkce", [True, False])
async def test_an_injected_code_is_refused_with_and_without_pkce_at_the_provider(checks_pkce: bool) -> None:
    """Row 41."""
    world = World()
    world.provider.checks_pkce = checks_pkce
    attacker, victim = Browser(world), Browser(world)
    stolen = dict(world.provider.authorize(location(await attacker.start())))["code"]
    params = dict(world.provider.authorize(location(await victim.start())))
    reply = await victim.finish(await victim.callback([("code", stolen), ("state", params["state"])]))
    assert code_of(reply) == "provider_error"
    assert await world.signed_in(victim) is None


async def test_s256_is_sent_to_a_provider_that_lists_only_plain() -> None:
    """Row 42."""
    world = World()
    world.provider.metadata["code_challenge_methods_supported"] = ["plain"]
    asked = sent_to(await Browser(world).start())
    assert asked["code_challenge_method"] == "S256"
