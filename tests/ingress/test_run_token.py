"""The token that an agent makes for its own run: where it lets its holder in, and when it ends."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.ingress.conftest import KeptLog
from tests.ingress.scene import HOST, Scene, error_of
from tests.policy.making import oidc
from tests.support.raw_http import request_bytes
from tests.support.scripted_agent import ScriptedAgent
from tunnelctl.wire.messages import Bound, JwtSpec, PolicySpec, Refused, Unbind
from tunnelrelay.app.relay import Relay

pytestmark = pytest.mark.asyncio(loop_scope="module")

NAME = HOST.partition(".")[0]
TOKEN = f"tr_{'0123456789abcdef' * 4}"
CI = JwtSpec(issuer="https://ci.example", audience="demo")
GUARDED = {
    "login": PolicySpec(oidc=oidc()),
    "login with tokens": PolicySpec(oidc=oidc(bearer=("",))),
    "tokens": PolicySpec(jwt=(CI,)),
    "password": PolicySpec(basic_auth=("ann:correct-horse",)),
}


def digest(token: str = TOKEN) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def get(token: str = TOKEN) -> bytes:
    return request_bytes("GET", "/", host=HOST, fields=[("Authorization", f"Bearer {token}")])


@asynccontextmanager
async def served(
    relay: tuple[Relay, KeptLog], policy: PolicySpec, run_token_sha256: str = digest()
) -> AsyncIterator[tuple[Scene, Bound]]:
    """An agent that serves the endpoint with this token for its run, and what the relay answered to its bind."""
    running, log = relay
    log.kept.clear()
    assert running.http is not None
    agent = ScriptedAgent()
    await agent.connect(running.http[1])
    agent.answers = lambda asked: asked.answer()
    try:
        bound = await agent.bind(NAME, policy=policy, run_token_sha256=run_token_sha256)
        assert isinstance(bound, Bound), bound
        yield Scene(running, agent, log.kept), bound
    finally:
        if agent.closed is None:
            await agent.close()


@pytest.mark.parametrize("policy", GUARDED.values(), ids=GUARDED)
async def test_the_token_lets_the_run_in_beside_any_other_way(relay: tuple[Relay, KeptLog], policy: PolicySpec) -> None:
    async with served(relay, policy) as (scene, bound):
        assert bound.run_token_accepted
        assert (await scene.fetch(get())).status == 200
        assert (await scene.fetch(get(TOKEN[:-1] + "0"))).status == 401
        assert (await scene.fetch()).status == 401
        assert len(scene.agent.asked) == 1


async def test_the_app_sees_that_it_is_the_run_and_not_the_token(relay: tuple[Relay, KeptLog]) -> None:
    async with served(relay, GUARDED["login"]) as (scene, _):
        await scene.fetch(get())
        asked = scene.agent.asked[0]

    assert asked.get(b"x-tunnel-user") == b"run"
    assert asked.get(b"x-tunnel-issuer") == scene.relay.address.url("localhost").encode()
    assert asked.get(b"authorization") is None
    assert TOKEN not in repr(scene.log)


async def test_an_open_endpoint_stays_open_and_keeps_the_token_from_the_app(relay: tuple[Relay, KeptLog]) -> None:
    async with served(relay, PolicySpec()) as (scene, _):
        assert (await scene.fetch()).status == 200
        assert (await scene.fetch(get())).status == 200
        assert (await scene.fetch(get("of-the-app"))).status == 200
        shown = [asked.get(b"authorization") for asked in scene.agent.asked]

    assert shown == [None, None, b"Bearer of-the-app"]


async def test_rules_about_networks_hold_for_the_run_too(relay: tuple[Relay, KeptLog]) -> None:
    async with served(relay, PolicySpec(oidc=oidc(), cidr_deny=("127.0.0.0/8",))) as (scene, _):
        response = await scene.fetch(get())

    assert (response.status, error_of(response)) == (403, "network_denied")


async def test_the_token_ends_with_the_tunnel(relay: tuple[Relay, KeptLog]) -> None:
    async with served(relay, GUARDED["login"]) as (scene, bound):
        assert (await scene.fetch(get())).status == 200
        scene.agent.link.send(Unbind(tunnel=bound.tunnel))
        await scene.agent.round_trip()
        assert isinstance(await scene.agent.bind(NAME, policy=GUARDED["login"]), Bound)
        response = await scene.fetch(get())

    assert (response.status, error_of(response)) == (401, "login_required")


async def test_the_token_of_a_run_opens_no_other_endpoint(relay: tuple[Relay, KeptLog]) -> None:
    async with served(relay, GUARDED["login"]) as (scene, _):
        other = await scene.agent.bind("other", policy=GUARDED["login"], run_token_sha256=digest("tr_another"))
        assert isinstance(other, Bound)
        assert (await scene.fetch(get().replace(HOST.encode(), other.host.encode()))).status == 401


async def test_without_a_token_none_is_confirmed(relay: tuple[Relay, KeptLog]) -> None:
    async with served(relay, GUARDED["login"], run_token_sha256="") as (scene, bound):
        assert not bound.run_token_accepted
        assert (await scene.fetch(get())).status == 401


async def test_what_is_no_digest_is_refused(relay: tuple[Relay, KeptLog]) -> None:
    async with served(relay, PolicySpec()) as (scene, _):
        refused = await scene.agent.bind("other", run_token_sha256=TOKEN)

    assert isinstance(refused, Refused)
    assert refused.code == "policy_invalid"
    assert TOKEN not in repr(refused)
