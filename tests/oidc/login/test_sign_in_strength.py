"""How, and how long ago, a visitor must have signed in at the provider, when the owner asks for it."""

from typing import Any

import msgspec
import pytest

from tests.oidc.world import (
    APP,
    CLIENT_ID,
    CLIENT_SECRET,
    ISSUER,
    Browser,
    World,
    code_of,
    connection,
    location,
    sent_to,
    text_of,
)
from tests.policy.making import KEY, typed
from tunnelctl.policy.parse import build_policy
from tunnelctl.wire.messages import Bind, Message
from tunnelrelay.oidc.tokens.id_token import LEEWAY
from tunnelrelay.policy.compile import compile_policy

STRONG = frozenset({"urn:acme:mfa", "phrh"})


def asking_for(**fields: Any) -> World:
    """A world whose owner asks for more than a login."""
    return World(endpoints={APP: connection(**fields)})


def recent(seconds: int) -> World:
    """A world whose owner wants sign-ins of the last `seconds`."""
    return asking_for(max_age=seconds, request_params=(("max_age", str(seconds)),))


def reasons(world: World) -> list[str]:
    return [event.reason for event in world.audit.take() if event.kind == "login.error"]


# What is sent


async def test_the_owners_parameters_are_sent() -> None:
    world = asking_for(request_params=(("prompt", "consent"), ("domain_hint", "acme")))
    asked = sent_to(await Browser(world).start())
    assert (asked["prompt"], asked["domain_hint"]) == ("consent", "acme")


@pytest.mark.parametrize("name", ["state", "nonce", "redirect_uri", "scope", "client_id", "response_type"])
async def test_no_parameter_of_an_owner_takes_the_place_of_ours(name: str) -> None:
    """Row 58."""
    world = asking_for(request_params=((name, "evil"),))
    world.provider.metadata["authorization_endpoint"] = f"{world.provider.issuer}/authorize?{name}=evil"
    assert "evil" not in location(await Browser(world).start())
    browser = Browser(world)
    await browser.sign_in()
    assert await world.signed_in(browser)


async def test_the_strength_that_is_required_is_asked_for() -> None:
    assert sent_to(await Browser(asking_for(required_acr=STRONG)).start())["acr_values"] == "phrh urn:acme:mfa"


async def test_the_owners_own_words_for_the_strength_win() -> None:
    world = asking_for(required_acr=STRONG, request_params=(("acr_values", "gold"),))
    assert sent_to(await Browser(world).start())["acr_values"] == "gold"


API = "https://api.acme.com"


def asking_for_the_api(**flags: str) -> World:
    """A world of an agent with `--oidc-audience`, whose rules have come over the wire."""
    login = {"oidc": ISSUER, "oidc_client_id": CLIENT_ID, "oidc_client_secret": CLIENT_SECRET}
    asked = build_policy(typed(**login, oidc_audience=API, **flags))
    sent = msgspec.json.encode(Bind(tunnel=1, name="web", upstream="http://a", policy=asked))
    bind = msgspec.json.decode(sent, type=Message)
    assert isinstance(bind, Bind)
    compiled = compile_policy(bind.policy, upstream=bind.upstream, owner="ann", key=KEY).connection
    assert compiled is not None
    return World(endpoints={APP: compiled})


async def test_the_audience_of_the_flag_is_sent_to_the_provider() -> None:
    world = asking_for_the_api()
    browser = Browser(world)
    assert sent_to(await browser.start("/x?audience=https://evil"))["audience"] == API
    await browser.sign_in()
    assert await world.signed_in(browser)
    assert "audience" not in sent_to(await Browser(World()).start())


@pytest.mark.parametrize("aud", [API, [API], [CLIENT_ID, API]])
async def test_the_audience_is_none_that_an_id_token_may_have(aud: Any) -> None:
    world = asking_for_the_api()
    world.provider.claims |= {"aud": aud, "azp": None}
    browser = Browser(world)
    assert code_of(await browser.sign_in()) == "provider_error"
    assert browser.session_cookie() is None


# Strength


async def test_a_login_of_the_required_strength_passes() -> None:
    world = asking_for(required_acr=STRONG)
    world.provider.claims["acr"] = "phrh"
    browser = Browser(world)
    assert location(await browser.sign_in()) == f"https://{APP}/x?y=1"


@pytest.mark.parametrize("acr", [None, "0", "PHRH", "phrh ", "", ["phrh"], {"phrh": 1}, True, 1])
async def test_a_weaker_login_is_a_page_and_never_a_circle(acr: Any) -> None:
    world = asking_for(required_acr=STRONG)
    world.provider.claims["acr"] = acr
    browser = Browser(world)
    page = await browser.sign_in()
    assert (page.status, code_of(page)) == (401, "login_required")
    assert 'href="/x?y=1"' in text_of(page)
    assert browser.session_cookie() is None
    assert browser.cookies() == []
    assert reasons(world) == ["too_weak"]


# Age


@pytest.mark.parametrize("ago", [0, 300, 299 + LEEWAY])
async def test_a_recent_sign_in_passes(ago: int) -> None:
    world = recent(300)
    world.provider.claims["auth_time"] = int(world.clock()) - ago
    browser = Browser(world)
    await browser.sign_in()
    assert await world.signed_in(browser)


async def test_the_provider_is_asked_once_more_when_it_overlooked_how_old_a_sign_in_may_be() -> None:
    world = recent(300)
    browser = Browser(world)
    world.provider.claims["auth_time"] = int(world.clock()) - 3600
    started = await browser.start("/wanted")
    assert "prompt" not in sent_to(started)
    again = await browser.finish(await browser.callback(world.provider.authorize(location(started))))
    assert (sent_to(again)["prompt"], sent_to(again)["max_age"]) == ("login", "300")
    assert sent_to(again)["nonce"] != sent_to(started)["nonce"]

    world.provider.claims["auth_time"] = int(world.clock())
    done = await browser.finish(await browser.callback(world.provider.authorize(location(again))))
    assert location(done) == f"https://{APP}/wanted"
    assert browser.outcomes == ["started", "started", "ok"]


async def test_a_provider_that_will_not_ask_again_ends_on_a_page() -> None:
    world = recent(300)
    browser = Browser(world)
    world.provider.claims["auth_time"] = 0
    again = await browser.sign_in()
    page = await browser.finish(await browser.callback(world.provider.authorize(location(again))))
    assert (page.status, code_of(page)) == (401, "login_required")
    assert browser.outcomes == ["started", "started", "failed"]
    assert browser.session_cookie() is None
    assert reasons(world) == ["too_old"]


@pytest.mark.parametrize("auth_time", [None, "1800000000", True, 1.5, [], 1_800_000_000 + 61, 10**30])
async def test_a_time_that_is_none_is_refused(auth_time: Any) -> None:
    world = recent(300)
    world.provider.claims["auth_time"] = auth_time
    browser = Browser(world)
    assert code_of(await browser.sign_in()) == "provider_error"
    assert browser.session_cookie() is None


@pytest.mark.parametrize("auth_time", ["long ago", 10**400, -(10**400), True])
async def test_what_nobody_asked_for_is_not_looked_at(auth_time: Any) -> None:
    world = World()
    world.provider.claims |= {"auth_time": auth_time, "acr": ["anything"]}
    browser = Browser(world)
    await browser.sign_in()
    assert await world.signed_in(browser)
