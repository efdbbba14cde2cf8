"""Signing out because the provider says so (rows 17, 18, 74)."""

from typing import Any

import httpx
import pytest

from tests.oidc.logout.test_logout_token import HONEST
from tests.oidc.tokens.test_id_token import sign
from tests.oidc.world import APP, EVIL, ISSUER, OTHER_RSA_KEY, PEER, Browser, World, connection
from tunnelrelay.model import Reply
from tunnelrelay.observe.audit import FEW
from tunnelrelay.store.base import StoreError


async def signed_in(world: World, host: str = APP, **claims: object) -> Browser:
    world.provider.claims = claims
    browser = Browser(world)
    await browser.sign_in(host=host)
    return browser


def token(**changes: Any) -> str:
    claims = {**HONEST, "jti": f"t-{len(changes)}-{changes}", **changes}
    return sign({name: value for name, value in claims.items() if value is not None}, typ="logout+jwt")


async def tell(world: World, *tokens: str, path: str = "") -> Reply:
    form = [("logout_token", text) for text in tokens]
    return await world.provider_logout.receive(path, form, peer=PEER.host, request_id="r")


async def test_one_session_of_the_provider_ends_and_the_persons_others_stay() -> None:
    world = World()
    here, elsewhere = await signed_in(world, sid="s-1"), await signed_in(world, sid="s-2")
    assert (await tell(world, token(sid="s-1"))).status == 200
    assert await world.signed_in(here) is None
    assert await world.signed_in(elsewhere)
    assert len(world.ended) == 1


async def test_a_person_who_is_signed_out_everywhere_has_no_session_left() -> None:
    world = World()
    browsers = [await signed_in(world, sid="s-1"), await signed_in(world)]
    somebody_else = await signed_in(world, sub="bob")
    assert (await tell(world, token(sid=None))).status == 200
    assert [await world.signed_in(browser) for browser in browsers] == [None, None]
    assert await world.signed_in(somebody_else)


async def test_a_logout_holds_for_a_relay_that_forgot_the_session() -> None:
    world = World()
    browser = await signed_in(world, sid="s-1")
    world.restart()
    assert (await tell(world, token(sid="s-1"))).status == 200
    assert await world.signed_in(browser) is None


async def test_a_token_counts_once() -> None:
    """Row 18."""
    world = World()
    once = token(sid=None)
    assert (await tell(world, once)).status == 200
    browser = await signed_in(world)
    refused = await tell(world, once)
    assert (refused.status, refused.body) == (400, b'{"error":"invalid_request"}')
    assert await world.signed_in(browser)


@pytest.mark.parametrize(
    "sent",
    [
        (),
        ("",),
        ("a.b.c",),
        ("x" * 20_000,),
        (token(), token(sid="s-2")),
        (token(aud="other"),),
        (token(iss="https://evil.example"),),
        (token(events=None, nonce="n"),),
    ],
)
async def test_what_is_no_token_for_anybody_here_ends_nothing(sent: tuple[str, ...]) -> None:
    """Rows 17, 18."""
    world = World()
    browser = await signed_in(world, sid="s-1")
    answer = await tell(world, *sent)
    assert answer.status == 400
    assert await world.signed_in(browser)


async def test_a_token_about_somebody_else_ends_nothing_of_theirs() -> None:
    world = World()
    browser = await signed_in(world, sid="s-1")
    assert (await tell(world, token(sub="bob"))).status == 200
    assert await world.signed_in(browser)


async def test_anothers_connection_is_not_touched_and_its_path_takes_only_its_own() -> None:
    """Row 18. Two owners with the same client: the token is good for both, each by its own path or both by one."""
    world = World(endpoints={EVIL: connection(id="conn-evil")})
    mine, theirs = await signed_in(world, sid="s-1"), await signed_in(world, EVIL, sid="s-1")
    assert (await tell(world, token(sid="s-1"), path="conn-none")).status == 400
    assert (await tell(world, token(sid="s-1"), path="conn-app")).status == 200
    assert await world.signed_in(mine) is None
    assert await world.signed_in(theirs, EVIL)


async def test_garbage_causes_no_calls() -> None:
    """Row 128."""
    world = World()
    for text in ("a.b.c", token(aud="other"), "x" * 20_000):
        await tell(world, text)
    assert world.provider.calls == []


async def test_a_store_that_is_away_is_said_so_that_the_provider_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()

    async def away(*_: object) -> bool:
        raise StoreError("away")

    monkeypatch.setattr(world.store, "use_once", away)
    assert (await tell(world, token())).status == 503


def refused(world: World) -> list[tuple[str, str]]:
    return [(event.connection, event.reason) for event in world.audit.take() if event.kind == "backchannel.refused"]


async def test_a_refusal_is_told_of_the_connection_that_was_meant_and_of_none_that_the_sender_made_up() -> None:
    """Row 129. Each has a limit of its own, which nobody can use up for another."""
    world = World()
    await tell(world, token(exp=1), path="conn-app")
    await tell(world, token(exp=1))
    for number in range(100):
        await tell(world, token(), path=f"conn-{number}")
    told = refused(world)
    assert told[:2] == [("conn-app", "token"), ("conn-app", "token")]
    assert set(told[2:]) == {("", "unknown")}
    assert len(told) == 2 + FEW


async def come_back(world: World, browser: Browser, host: str = APP, **changes: Any) -> Any:
    """The agent comes back; what is left of the session then."""
    world.endpoints[host] = connection(**changes)
    return await world.signed_in(browser, host)


@pytest.mark.parametrize("names", [{"sid": "s-1"}, {"sid": None}, {"sid": "s-1", "sub": None}])
@pytest.mark.parametrize("path", ["", "conn-app"])
async def test_a_session_ends_though_its_tunnel_is_not_there(names: dict[str, Any], path: str) -> None:
    world = World()
    browser = await signed_in(world, sid="s-1")
    world.endpoints.clear()
    world.restart()
    assert (await tell(world, token(**names), path=path)).status == 200
    assert await come_back(world, browser) is None
    assert len(world.ended) == 1


async def test_a_session_ends_at_the_relay_that_has_its_tunnel_when_the_token_comes_to_the_other() -> None:
    """Row 74."""
    world = World()
    browser = await signed_in(world, sid="s-1")
    digest = world.find(browser).id_digest
    other = world.second_relay()
    other.endpoints.clear()
    once = token(sid="s-1")
    assert (await tell(other, once)).status == 200
    await world.sessions.apply_revocations()
    assert world.ended == [digest]
    assert await world.signed_in(browser) is None

    again = await signed_in(world, sid="s-1")
    assert [(await tell(relay, once)).status for relay in (other, world)] == [400, 400]
    assert await world.signed_in(again)


@pytest.mark.parametrize(
    ("sent", "path"),
    [
        (token(aud="other"), ""),
        (token(iss="https://evil.example"), ""),
        (token(sub="bob"), ""),
        (token(sub=7), ""),
        (token(), "conn-none"),
        (token(exp=1), ""),
        (token(events=None, nonce="n"), ""),
        (sign({**HONEST, "jti": "strange"}, key=OTHER_RSA_KEY, typ="logout+jwt"), ""),
    ],
)
async def test_a_tunnel_that_is_not_there_makes_no_token_good(sent: str, path: str) -> None:
    """Rows 17, 18."""
    world = World()
    browser = await signed_in(world, sid="s-1")
    world.endpoints.clear()
    assert (await tell(world, sent, path=path)).status == 400
    assert await come_back(world, browser)


async def test_nobody_else_is_meant_while_both_tunnels_are_away_but_who_shares_the_client_and_the_path() -> None:
    """Row 18."""
    world = World(endpoints={EVIL: connection(id="conn-evil")})
    mine, theirs = await signed_in(world, sid="s-1"), await signed_in(world, EVIL, sid="s-1")
    world.endpoints.clear()
    assert (await tell(world, token(sid="s-1"), path="conn-app")).status == 200
    assert await come_back(world, mine) is None
    assert await come_back(world, theirs, EVIL, id="conn-evil")

    world.endpoints.clear()
    assert (await tell(world, token(sid=None))).status == 200
    assert await come_back(world, theirs, EVIL, id="conn-evil") is None


async def test_tokens_for_a_tunnel_that_is_not_there_cause_few_calls() -> None:
    """Row 128."""
    world = World()
    await signed_in(world, sid="s-1")
    world.endpoints.clear()
    world.restart()
    world.provider.calls.clear()
    for number in range(50):
        await tell(world, token(aud="other"), path="conn-app")
        await tell(world, token(sub="nobody"), path="conn-app")
        await tell(world, sign({**HONEST, "jti": f"{number}"}, key=OTHER_RSA_KEY, typ="logout+jwt"))
        await tell(world, sign({**HONEST, "jti": f"{number}"}, key=OTHER_RSA_KEY, typ="logout+jwt", kid="k9"))
    assert [call.url.path for call in world.provider.calls] == [
        "/.well-known/openid-configuration",
        "/jwks",
        "/jwks",
    ]


async def test_a_login_after_the_tunnel_is_back_goes_by_metadata_of_its_own() -> None:
    """For checking logout tokens less of a provider's metadata is looked at than a login needs."""
    world = World()
    await signed_in(world, sid="s-1")
    world.endpoints.clear()
    world.restart()
    assert (await tell(world, token(sid="s-1"))).status == 200
    world.endpoints[APP] = connection()
    assert await world.signed_in(await signed_in(world))


async def frame(world: World, *params: tuple[str, str]) -> Reply:
    return await world.provider_logout.leave_frame(APP, world.endpoints[APP], params)


async def test_a_providers_hidden_frame_ends_the_session_it_names() -> None:
    world = World()
    here, elsewhere = await signed_in(world, sid="s-1"), await signed_in(world, sid="s-2")
    page = await frame(world, ("iss", ISSUER), ("sid", "s-1"))
    assert (page.status, page.body) == (200, b"")
    assert b"X-Frame-Options" not in dict(page.fields)
    assert await world.signed_in(here) is None
    assert await world.signed_in(elsewhere)


@pytest.mark.parametrize(
    "params",
    [
        (),
        (("iss", ISSUER),),
        (("sid", "s-1"),),
        (("iss", "https://evil.example"), ("sid", "s-1")),
        (("iss", ISSUER), ("sid", "")),
        (("iss", ISSUER), ("sid", "s-2")),
        (("iss", ISSUER), ("sid", "s-1"), ("sid", "s-2")),
        (("iss", ISSUER), ("iss", ISSUER), ("sid", "s-1")),
    ],
)
async def test_a_frame_that_names_no_session_of_this_provider_ends_none(params: tuple[tuple[str, str], ...]) -> None:
    """Row 76."""
    world = World()
    browser, without_sid = await signed_in(world, sid="s-1"), await signed_in(world)
    assert (await frame(world, *params)).status == 200
    assert await world.signed_in(browser)
    assert await world.signed_in(without_sid)


async def test_a_frame_of_a_provider_that_is_away_is_an_empty_page_all_the_same() -> None:
    world = World()
    await signed_in(world, sid="s-1")
    world.restart()
    world.provider.answers["/.well-known/openid-configuration"] = httpx.ConnectError("away")
    assert (await frame(world, ("iss", ISSUER), ("sid", "s-1"))).status == 200


async def test_a_neighbours_provider_is_not_asked_about_a_token_of_another_issuer() -> None:
    """Row 128. Another owner's client has the same name at a provider of his own, which answers slowly or never."""
    world = World(endpoints={EVIL: connection(id="conn-evil", issuer="https://idp.evil.example")})
    browser = await signed_in(world, sid="s-1")
    before = len(world.provider.calls)
    assert (await tell(world, token(sid="s-1"))).status == 200
    assert await world.signed_in(browser) is None
    assert {call.url.host for call in world.provider.calls[before:]} <= {"idp.acme.example"}
