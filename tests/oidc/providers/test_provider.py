"""Metadata and keys: what is refused, and how seldom they are fetched (rows 26, 27, 42; decision on slashes)."""

import asyncio
from typing import Any

import httpx
import pytest

from tests.oidc.world import ISSUER, OTHER_RSA_KEY, RSA_KEY, Browser, Gate, World, as_json, code_of, connection, public
from tunnelctl.oidc.errors import ProviderError
from tunnelrelay.oidc.providers.known_providers import (
    BUSY_SECONDS,
    MAX_OWNERS_CALLS,
    MAX_PROVIDERS,
    Busy,
)

DISCOVERY = "/.well-known/openid-configuration"


async def problems(world: World, **changes: Any) -> list[str]:
    return await world.providers.check(connection(**changes))


async def test_a_provider_in_order_has_no_problems() -> None:
    assert await problems(World()) == []


@pytest.mark.parametrize("configured", [ISSUER, ISSUER + "/"])
@pytest.mark.parametrize("told", [ISSUER, ISSUER + "/"])
async def test_one_slash_at_the_end_of_the_issuer_is_forgiven_and_the_metadata_decides(
    configured: str, told: str
) -> None:
    world = World()
    world.provider.metadata["issuer"] = told
    assert await problems(world, issuer=configured) == []
    assert (await world.providers.metadata(connection(issuer=configured))).issuer == told


@pytest.mark.parametrize("told", [ISSUER + "//", ISSUER.upper(), "https://evil.example", ISSUER + "/x", "", None, 7])
async def test_another_issuer_in_the_metadata_is_refused(told: Any) -> None:
    world = World()
    world.provider.metadata["issuer"] = told
    (problem,) = await problems(world)
    assert ISSUER in problem


@pytest.mark.parametrize("name", ["common", "organizations", "consumers", "Common"])
async def test_entras_shared_issuers_are_refused_with_a_hint(name: str) -> None:
    world = World()
    (problem,) = await problems(world, issuer=f"https://login.microsoftonline.com/{name}/v2.0")
    assert "TENANT-ID" in problem
    assert world.provider.calls == []


@pytest.mark.parametrize(
    "lies",
    [
        {"authorization_endpoint": None},
        {"token_endpoint": "http://idp.acme.example/token"},
        {"token_endpoint": "https://user@idp.acme.example/token"},
        {"jwks_uri": "https://idp.acme.example/jwks#x"},
        {"jwks_uri": "file:///etc/passwd"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": "https://idp.acme.example/a b"},
        {"authorization_endpoint": "https://idp.acme.example/a\r\nX: y"},
        {"userinfo_endpoint": "http://idp.acme.example/userinfo"},
        {"response_types_supported": ["id_token"]},
        {"id_token_signing_alg_values_supported": ["none", "HS256"]},
        {"token_endpoint_auth_methods_supported": ["private_key_jwt"]},
    ],
)
async def test_metadata_that_no_safe_login_can_go_by_is_refused(lies: dict[str, Any]) -> None:
    world = World()
    world.provider.metadata.update(lies)
    assert len(await problems(world)) == 1


async def test_row_42_a_provider_that_lists_only_plain_is_warned_of() -> None:
    world = World()
    world.provider.metadata["code_challenge_methods_supported"] = ["plain"]
    (problem,) = await problems(world)
    assert "S256" in problem


async def test_row_135_problems_do_not_tell_what_the_network_looks_like() -> None:
    world = World()
    world.provider.answers[DISCOVERY] = httpx.ConnectError("connection refused by 10.1.2.3:443")
    (problem,) = await problems(world)
    assert "10.1.2.3" not in problem
    assert "could not be reached" in problem


async def test_metadata_is_fetched_once_by_many_at_the_same_time() -> None:
    world = World()
    await asyncio.gather(*(world.providers.metadata(connection()) for _ in range(50)))
    assert len(world.provider.calls) == 1


async def test_metadata_is_read_again_after_an_hour_and_kept_for_a_day_when_that_fails() -> None:
    world = World()
    await world.providers.metadata(connection())
    world.provider.answers[DISCOVERY] = httpx.ConnectError("away")
    world.clock.now += 3601
    assert await world.providers.metadata(connection())
    assert len(world.provider.calls) == 2
    world.clock.now += 86_400
    with pytest.raises(ProviderError):
        await world.providers.metadata(connection())


async def test_a_failure_is_remembered_for_half_a_minute() -> None:
    world = World()
    world.provider.answers[DISCOVERY] = as_json({}, 500)
    for _ in range(10):
        with pytest.raises(ProviderError):
            await world.providers.metadata(connection())
    assert len(world.provider.calls) == 1
    del world.provider.answers[DISCOVERY]
    world.clock.now += 31
    assert await world.providers.metadata(connection())


async def test_one_owners_provider_does_not_answer_for_anothers() -> None:
    world = World()
    await world.providers.metadata(connection())
    await world.providers.metadata(connection(id="conn-other"))
    await world.providers.metadata(connection(owner="eve"))
    assert len(world.provider.calls) == 3


async def test_what_an_owner_can_change_about_a_client_fetches_nothing_anew_and_pushes_nobody_out() -> None:
    world = World()
    await world.providers.metadata(connection(owner="ann"))
    for number in range(MAX_PROVIDERS + 1):
        changed = connection(id="conn-eve", owner="eve", epoch=f"epoch-{number}", client_secret=f"secret-{number}")
        await world.providers.metadata(changed)
    await world.providers.metadata(connection(owner="ann"))
    assert len(world.provider.calls) == 2


async def test_an_owner_who_invents_clients_pushes_out_his_own() -> None:
    world = World()
    await world.providers.metadata(connection(owner="ann"))
    for number in range(MAX_PROVIDERS + 1):
        await world.providers.metadata(connection(id=f"conn-{number}", owner="eve"))
    calls = len(world.provider.calls)
    await world.providers.metadata(connection(owner="ann"))
    await world.providers.metadata(connection(id=f"conn-{MAX_PROVIDERS}", owner="eve"))
    assert len(world.provider.calls) == calls
    await world.providers.metadata(connection(id="conn-0", owner="eve"))
    assert len(world.provider.calls) == calls + 1


async def test_of_too_many_owners_providers_the_one_goes_that_was_not_used_for_longest() -> None:
    world = World()
    for number in range(MAX_PROVIDERS):
        await world.providers.metadata(connection(owner=f"owner-{number}"))
    await world.providers.metadata(connection(owner="owner-0"))
    await world.providers.metadata(connection(owner="one more"))
    calls = len(world.provider.calls)
    assert calls == MAX_PROVIDERS + 1
    await world.providers.metadata(connection(owner="owner-0"))
    assert len(world.provider.calls) == calls
    await world.providers.metadata(connection(owner="owner-1"))
    assert len(world.provider.calls) == calls + 1


async def test_an_owner_whose_providers_never_answer_holds_up_only_his_own_calls() -> None:
    world = World()
    hung = world.provider.gates["/hung" + DISCOVERY] = Gate()
    eves = [connection(id=f"conn-{number}", owner="eve", issuer=ISSUER + "/hung") for number in range(100)]
    calls = [asyncio.ensure_future(world.providers.metadata(eve)) for eve in eves]
    await hung.reached.wait()
    assert await world.providers.metadata(connection(owner="ann"))
    assert len(world.provider.calls_to("/hung" + DISCOVERY)) == MAX_OWNERS_CALLS

    hung.open()
    await asyncio.gather(*calls, return_exceptions=True)
    assert len(world.provider.calls_to("/hung" + DISCOVERY)) == len(eves)


async def test_calls_that_are_given_up_give_their_turns_back() -> None:
    world = World()
    hung = world.provider.gates[DISCOVERY] = Gate()
    connections = [connection(id=f"conn-{number}", owner="eve") for number in range(2 * MAX_OWNERS_CALLS)]
    calls = [asyncio.ensure_future(world.providers.metadata(each)) for each in connections]
    await hung.reached.wait()
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    hung.open()
    assert await world.providers.metadata(connection(owner="eve"))


async def test_a_call_that_got_no_turn_is_not_held_against_the_provider_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tunnelrelay.oidc.providers.provider.QUEUE_SECONDS", 0)
    world = World()
    hung = world.provider.gates["/hung" + DISCOVERY] = Gate()
    eves = [connection(id=f"conn-{number}", owner="eve", issuer=ISSUER + "/hung") for number in range(MAX_OWNERS_CALLS)]
    calls = [asyncio.ensure_future(world.providers.metadata(eve)) for eve in eves]
    await hung.reached.wait()
    with pytest.raises(Busy):
        await world.providers.metadata(connection(owner="eve"))
    hung.open()
    await asyncio.gather(*calls, return_exceptions=True)
    world.clock.now += BUSY_SECONDS
    assert await world.providers.metadata(connection(owner="eve"))


async def test_row_26_new_keys_are_found_by_one_fetch_and_old_ones_refused_after_it() -> None:
    world = World()
    await Browser(world).sign_in()
    world.provider.key, world.provider.jwks = OTHER_RSA_KEY, {"keys": [public(OTHER_RSA_KEY)]}
    world.provider.header = {"kid": "k2"}
    world.clock.now += 61
    browser = Browser(world)
    await browser.sign_in()
    assert await world.signed_in(browser)
    assert len(world.provider.calls_to("/jwks")) == 2
    world.provider.key, world.provider.header = RSA_KEY, {"kid": "k1"}
    assert code_of(await Browser(world).sign_in()) == "provider_error"


async def test_row_26_many_logins_during_a_change_of_keys_all_succeed_by_one_fetch() -> None:
    world = World()
    await Browser(world).sign_in()
    world.provider.key, world.provider.jwks = OTHER_RSA_KEY, {"keys": [public(OTHER_RSA_KEY)]}
    world.provider.header = {"kid": "k2"}
    world.clock.now += 61
    browsers = [Browser(world) for _ in range(10)]
    await asyncio.gather(*(browser.sign_in() for browser in browsers))
    assert all([await world.signed_in(browser) for browser in browsers])
    assert len(world.provider.calls_to("/jwks")) == 2


async def test_rows_5_27_unknown_keys_cause_one_fetch_a_minute_at_most() -> None:
    world = World()
    for number in range(20):
        world.provider.header = {"kid": f"random-{number}"}
        world.clock.now += 5
        assert code_of(await Browser(world).sign_in()) == "provider_error"
    # Once because none were known, then for the first unknown one and once a minute.
    assert len(world.provider.calls_to("/jwks")) <= 2 + 100 // 60
