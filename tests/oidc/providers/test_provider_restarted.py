"""A provider that was restarted or set up anew: other keys under old names, other algorithms, other addresses.

The relay notices at the first login, and no flood of bad tokens makes it call the provider again and again.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from joserfc.jwk import ECKey, RSAKey

from tests.oidc.logout.test_logout_token import HONEST
from tests.oidc.logout.test_provider_logout import tell
from tests.oidc.sessions.rechecking import due, refreshing
from tests.oidc.sessions.test_access_tokens import Relay
from tests.oidc.tokens.test_id_token import sign
from tests.oidc.world import (
    CLIENT_ID,
    ISSUER,
    OTHER_RSA_KEY,
    RSA_KEY,
    Browser,
    LyingProvider,
    World,
    as_json,
    code_of,
    connection,
    public,
    signed_in,
)
from tunnelctl.oidc.errors import ProviderError
from tunnelrelay.oidc.providers.known_providers import KEYS_AGAIN_SECONDS, MAX_FAILED_SECONDS, MIN_FAILED_SECONDS
from tunnelrelay.oidc.sessions.access_tokens import Program, TokenRefused

DISCOVERY = "/.well-known/openid-configuration"
EC_KEY = ECKey.generate_key("P-256", {"kid": "k1"})
THIRD_KEY = RSAKey.generate_key(2048, {"kid": "k1"})


def with_key(provider: LyingProvider, key: Any, kid: str | None = "k1", algorithm: str = "RS256") -> None:
    """The provider begins to sign with another key, and publishes only that."""
    provider.key, provider.header = key, {"kid": kid, "alg": algorithm}
    published = public(key, kid=kid)
    provider.jwks = {"keys": [{name: value for name, value in published.items() if value is not None}]}
    provider.metadata["id_token_signing_alg_values_supported"] = [algorithm]


def same_kid(provider: LyingProvider) -> None:
    with_key(provider, OTHER_RSA_KEY)


def no_kid(provider: LyingProvider) -> None:
    with_key(provider, OTHER_RSA_KEY, None)


def other_kid(provider: LyingProvider) -> None:
    with_key(provider, OTHER_RSA_KEY, "k2")


def other_algorithm(provider: LyingProvider) -> None:
    with_key(provider, EC_KEY, "k1", "ES256")


def other_hash(provider: LyingProvider) -> None:
    with_key(provider, RSA_KEY, "k1", "RS512")


def keys_elsewhere(provider: LyingProvider) -> None:
    """The keys move; at the old address stay the old ones."""
    old = provider.jwks
    with_key(provider, OTHER_RSA_KEY)
    provider.answers["/new/jwks"] = as_json(provider.jwks)
    provider.jwks = old
    provider.metadata["jwks_uri"] = f"{ISSUER}/new/jwks"


RESTARTS = [same_kid, no_kid, other_kid, other_algorithm, other_hash, keys_elsewhere]


@pytest.mark.parametrize("restart", RESTARTS)
async def test_the_first_login_after_a_restart_succeeds(restart: Callable[[LyingProvider], None]) -> None:
    world = World()
    await signed_in(world)
    restart(world.provider)
    await signed_in(world)


async def test_a_provider_without_key_names_may_change_its_key() -> None:
    world = World()
    with_key(world.provider, RSA_KEY, None)
    await signed_in(world)
    no_kid(world.provider)
    await signed_in(world)


async def test_every_one_of_many_restarts_within_a_minute_is_noticed() -> None:
    world = World()
    for number in range(6):
        with_key(world.provider, [RSA_KEY, OTHER_RSA_KEY, THIRD_KEY][number % 3])
        await signed_in(world)


async def test_logins_under_way_during_a_restart_all_succeed_by_one_fetch() -> None:
    world = World()
    await signed_in(world)
    same_kid(world.provider)
    world.provider.calls.clear()
    browsers = [Browser(world) for _ in range(10)]
    await asyncio.gather(*(browser.sign_in() for browser in browsers))
    assert all([await world.signed_in(browser) for browser in browsers])
    assert len(world.provider.calls_to("/jwks")) == len(world.provider.calls_to(DISCOVERY)) == 1


async def test_the_old_keys_tokens_are_refused_after_a_restart() -> None:
    world = World()
    await signed_in(world)
    same_kid(world.provider)
    await signed_in(world)
    world.provider.key = RSA_KEY
    assert code_of(await Browser(world).sign_in()) == "provider_error"


async def test_bad_signatures_cause_one_fetch_a_minute() -> None:
    """Rows 5 and 27."""
    world = World()
    await signed_in(world)
    world.provider.calls.clear()
    world.provider.key = OTHER_RSA_KEY  # signs, and is not published
    for _ in range(24):
        assert code_of(await Browser(world).sign_in()) == "provider_error"
        world.clock.now += 5
    minutes = 24 * 5 / KEYS_AGAIN_SECONDS
    assert len(world.provider.calls_to("/jwks")) == len(world.provider.calls_to(DISCOVERY)) == minutes


@pytest.mark.parametrize("restart", RESTARTS)
async def test_a_flood_of_strangers_tokens_does_not_keep_a_login_from_noticing(
    restart: Callable[[LyingProvider], None],
) -> None:
    world = World()
    await signed_in(world)
    for number in range(20):
        forged = sign({**HONEST, "jti": f"{number}"}, key=THIRD_KEY, typ="logout+jwt")
        assert (await tell(world, forged)).status == 400
    assert len(world.provider.calls_to("/jwks")) == 2
    restart(world.provider)
    await signed_in(world)


@pytest.mark.parametrize("kid", ["k1", None])
async def test_a_logout_token_of_the_new_key_counts_at_once(kid: str | None) -> None:
    world = World()
    browser = await signed_in(world)
    with_key(world.provider, OTHER_RSA_KEY, kid)
    everywhere = {name: value for name, value in HONEST.items() if name != "sid"}
    assert (await tell(world, sign(everywhere, key=OTHER_RSA_KEY, typ="logout+jwt", kid=kid))).status == 200
    assert await world.signed_in(browser) is None


@pytest.mark.parametrize(
    ("key", "header"), [(OTHER_RSA_KEY, {}), (EC_KEY, {"alg": "ES256"}), (RSA_KEY, {"alg": "PS256"})]
)
async def test_a_programs_token_of_the_new_key_is_taken_at_once(key: Any, header: dict[str, str]) -> None:
    relay = Relay()
    await relay.admits(relay.token())
    with_key(relay.provider, key, "k1", header.get("alg", "RS256"))
    assert isinstance(await relay.shows(relay.token(key=key, header=header)), Program)


async def test_a_flood_of_programs_bad_signatures_becomes_one_fetch_and_good_tokens_stay_good() -> None:
    relay = Relay()
    await relay.admits(relay.token())
    for number in range(15):
        assert isinstance(await relay.shows(relay.token(key=OTHER_RSA_KEY, sub=f"robot-{number}")), TokenRefused)
    assert len(relay.provider.calls_to("/jwks")) == 2
    await relay.admits(relay.token(sub="another"))


async def test_a_session_outlives_a_change_of_keys() -> None:
    world = refreshing()
    browser = await due(world)
    same_kid(world.provider)
    assert world.find(browser)
    await world.rechecked()
    assert world.told("session.refresh") == ["ok"]


async def test_a_signed_userinfo_answer_of_a_new_key_is_taken() -> None:
    world = World()
    world.provider.claims = {"email": None}
    world.provider.jwks = {"keys": [public(RSA_KEY, alg="RS256"), public(THIRD_KEY, alg="RS384")]}

    def answers_by(key: RSAKey) -> None:
        who = {"iss": ISSUER, "aud": CLIENT_ID, "sub": "alice", "email": "a@acme.example", "email_verified": True}
        token = sign(who, key=key, alg="RS384").encode()
        world.provider.answers["/userinfo"] = httpx.Response(
            200, content=token, headers={"content-type": "application/jwt"}
        )

    answers_by(THIRD_KEY)
    await signed_in(world)
    answers_by(OTHER_RSA_KEY)
    world.provider.jwks = {"keys": [public(RSA_KEY, alg="RS256"), public(OTHER_RSA_KEY, alg="RS384", kid="k1")]}
    await signed_in(world)


# Endpoints


GONE = {
    "not there": as_json({}, 404),
    "a page": httpx.Response(404, content=b"<h1>Not found</h1>", headers={"content-type": "text/html"}),
    "a redirect": httpx.Response(302, headers={"location": f"{ISSUER}/new/token"}),
    "away": httpx.ConnectError("refused"),
    "another client authentication": as_json({"error": "invalid_client"}, 401),
    "broken": as_json({"error": "server_error"}, 500),
}


def moved(provider: LyingProvider, name: str, gone: httpx.Response | Exception) -> None:
    """An endpoint moves; at its old address is something else."""
    path = name.removesuffix("_endpoint")
    provider.answers[f"/{path}"] = gone
    provider.metadata[name] = f"{ISSUER}/new/{path}"


class MovedProvider(LyingProvider):
    """Answers under `/new` what it would honestly answer at the old addresses."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        super().__init__(clock=clock)
        self.moved_calls: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if not request.url.path.startswith("/new/"):
            return await super().handle_async_request(request)
        self.moved_calls.append(request.url.path)
        request.url = request.url.copy_with(path=request.url.path.removeprefix("/new"))
        lies, self.answers = self.answers, {}
        try:
            return await super().handle_async_request(request)
        finally:
            self.answers = lies


def movable(world: World) -> MovedProvider:
    """The world's provider from now on."""
    provider = MovedProvider(clock=world.clock)
    provider.gives_refresh = world.provider.gives_refresh
    world.provider = provider
    world.restart()
    return provider


@pytest.mark.parametrize("gone", GONE.values(), ids=GONE.keys())
async def test_a_token_endpoint_that_moved_is_found_at_the_first_login(gone: httpx.Response | Exception) -> None:
    world = World()
    movable(world)
    await signed_in(world)
    moved(world.provider, "token_endpoint", gone)
    await signed_in(world)


@pytest.mark.parametrize("gone", [GONE["not there"], GONE["away"], GONE["a page"]])
async def test_a_userinfo_endpoint_that_moved_is_found_at_the_first_login(gone: httpx.Response | Exception) -> None:
    world = World()
    movable(world)
    world.provider.claims = {"email": None}
    world.provider.userinfo = {"sub": "alice", "email": "alice@acme.example", "email_verified": True}
    await signed_in(world)
    moved(world.provider, "userinfo_endpoint", gone)
    await signed_in(world)


async def test_keys_that_moved_are_found_when_they_are_read_for_the_first_time() -> None:
    world = World()
    movable(world)
    await world.providers.metadata(connection())
    world.provider.answers["/jwks"] = as_json({}, 404)
    world.provider.metadata["jwks_uri"] = f"{ISSUER}/new/jwks"
    await signed_in(world)


async def test_a_session_is_refreshed_at_a_token_endpoint_that_moved() -> None:
    world = refreshing()
    provider = movable(world)
    browser = await due(world)
    moved(world.provider, "token_endpoint", as_json({}, 404))
    assert world.find(browser)
    await world.rechecked()
    assert world.told("session.refresh") == ["ok"]
    assert provider.moved_calls == ["/new/token"]


async def test_a_code_is_sent_once_where_the_metadata_is_as_it_was() -> None:
    world = World()
    await signed_in(world)
    world.provider.calls.clear()
    world.provider.answers["/token"] = as_json({"error": "server_error"}, 500)
    for _ in range(5):
        assert code_of(await Browser(world).sign_in()) == "provider_error"
    assert len(world.provider.calls_to("/token")) == 5
    assert len(world.provider.calls_to(DISCOVERY)) == 1


async def test_a_bad_code_is_no_reason_to_read_anything_again() -> None:
    world = World()
    await signed_in(world)
    world.provider.calls.clear()
    world.provider.answers["/token"] = as_json({"error": "invalid_grant"}, 400)
    await Browser(world).sign_in()
    assert [call.url.path for call in world.provider.calls] == ["/token"]


async def test_a_provider_that_was_away_for_its_restart_is_noticed_as_soon_as_it_is_back() -> None:
    """Re-reads that failed do not count as made."""
    world = World()
    movable(world)
    await signed_in(world)
    for path in ("/token", "/jwks", DISCOVERY):
        world.provider.answers[path] = httpx.ConnectError("restarting")
    assert code_of(await Browser(world).sign_in()) == "provider_unreachable"
    world.provider.answers.clear()
    world.clock.now += MIN_FAILED_SECONDS
    same_kid(world.provider)
    moved(world.provider, "token_endpoint", as_json({}, 404))
    await signed_in(world)


# Down when it is first asked


async def test_a_provider_that_starts_after_its_tunnel_is_found_by_the_next_visitor() -> None:
    world = World()
    world.provider.answers[DISCOVERY] = httpx.ConnectError("not yet")
    assert await world.providers.check(connection())
    world.provider.answers.clear()
    world.clock.now += MIN_FAILED_SECONDS
    await signed_in(world)


async def test_a_provider_is_remembered_as_away_no_longer_than_it_was() -> None:
    world = World()
    world.provider.answers[DISCOVERY] = httpx.ConnectError("away")
    waited = 0.0
    while waited < 600:
        with pytest.raises(ProviderError):
            await world.providers.metadata(connection())
        world.clock.now += MIN_FAILED_SECONDS
        waited += MIN_FAILED_SECONDS
    # 1, 2, 4, 8 and 16 seconds after each other, then twice a minute.
    assert len(world.provider.calls) <= 6 + 600 / MAX_FAILED_SECONDS
    world.provider.answers.clear()
    world.clock.now += MAX_FAILED_SECONDS
    assert await world.providers.metadata(connection())
