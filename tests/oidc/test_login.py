"""The login, step by step, against providers, owners and other visitors that do not keep to it (rows 30-48, 59-60)."""

import asyncio
from base64 import b64decode
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, unquote_plus, urlsplit

import httpx
import pytest

from tests.oidc.world import (
    APP,
    CLIENT_ID,
    CLIENT_SECRET,
    EVIL,
    ISSUER,
    PEER,
    Browser,
    LyingProvider,
    World,
    as_json,
    code_of,
    connection,
    location,
    request,
    set_cookies,
)
from tunnelrelay.address import PublicAddress
from tunnelrelay.model import Reply
from tunnelrelay.oidc.cookies import MAX_TRANSACTIONS
from tunnelrelay.policy.rules import Rules
from tunnelrelay.store.base import StoreError


def sent_to(reply: Reply) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(location(reply)).query))


def text_of(reply: Reply) -> str:
    return reply.body.decode()


async def handed_over(world: World, browser: Browser, **lies: str) -> Reply:
    """Up to the callback's redirect."""
    return await browser.callback(world.provider.authorize(location(await browser.start()), **lies))


# The way through


async def test_a_visitor_signs_in_and_arrives_where_they_wanted_to_go() -> None:
    world = World()
    browser = Browser(world)
    reply = await browser.sign_in("/x?y=1")
    assert location(reply) == f"https://{APP}/x?y=1"
    session = await world.signed_in(browser)
    assert (session.identity.issuer, session.identity.subject) == (ISSUER, "alice")
    assert session.identity.email == "alice@acme.example"
    assert not [name for name in browser.jars[APP] if b"-tx-" in name]


async def test_the_provider_is_asked_for_a_code_with_everything_that_binds_it() -> None:
    world = World()
    reply = await Browser(world).start()
    asked = sent_to(reply)
    assert location(reply).startswith(f"{ISSUER}/authorize?")
    assert asked["redirect_uri"] == "https://idp.tun.example/oauth2/callback"
    assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
    assert (asked["client_id"], asked["scope"]) == (CLIENT_ID, "openid email profile")
    assert len(asked["nonce"]) >= 43
    assert len(asked["code_challenge"]) == 43
    assert len(asked["state"]) < 600
    fields = dict(reply.fields)
    assert fields[b"Cache-Control"] == b"no-store"
    assert fields[b"Referrer-Policy"] == b"no-referrer"


async def test_cookies_are_host_only_secure_and_lax() -> None:
    world = World()
    browser = Browser(world)
    (tx_cookie,) = set_cookies(await browser.start())
    assert tx_cookie.startswith(b"__Host-tunnel-tx-")
    assert tx_cookie.endswith(b"; Path=/; Max-Age=600; HttpOnly; SameSite=Lax; Secure")
    assert len(tx_cookie) < 3500
    session_cookie = set_cookies(await browser.sign_in())[-1]
    assert session_cookie.startswith(b"__Host-tunnel=")
    assert session_cookie.endswith(b"; Path=/; HttpOnly; SameSite=Lax; Secure")


async def test_on_plain_http_the_cookies_have_no_prefix() -> None:
    world = World(address=PublicAddress(scheme="http", domain="localhost", port=8080))
    host = "app.localhost"
    world.endpoints[host] = connection()
    started = await Browser(world).start(host=host)
    (tx_cookie,) = set_cookies(started)
    assert tx_cookie.startswith(b"tunnel-tx-")
    assert b"Secure" not in tx_cookie
    assert sent_to(started)["redirect_uri"] == "http://localhost:8080/oauth2/callback"


async def test_the_secret_is_form_encoded_before_it_is_shown_by_basic() -> None:
    world = World()
    await Browser(world).sign_in()
    (call,) = world.provider.calls_to("/token")
    user, _, password = b64decode(call.headers["authorization"].removeprefix("Basic ")).decode().partition(":")
    assert (unquote_plus(user), unquote_plus(password)) == (CLIENT_ID, CLIENT_SECRET)
    form = dict(parse_qsl(call.content.decode()))
    assert form["redirect_uri"] == world.address.redirect_uri
    assert "client_secret" not in form


async def test_the_secret_goes_in_the_form_when_that_is_all_the_provider_takes() -> None:
    world = World()
    world.provider.metadata["token_endpoint_auth_methods_supported"] = ["client_secret_post"]
    browser = Browser(world)
    await browser.sign_in()
    assert await world.signed_in(browser)
    (call,) = world.provider.calls_to("/token")
    assert "authorization" not in call.headers
    assert dict(parse_qsl(call.content.decode()))["client_secret"] == CLIENT_SECRET


async def test_a_client_without_a_secret_shows_none() -> None:
    world = World(endpoints={APP: connection(client_secret="")})
    await Browser(world).sign_in()
    (call,) = world.provider.calls_to("/token")
    assert "authorization" not in call.headers
    assert dict(parse_qsl(call.content.decode()))["client_id"] == CLIENT_ID


# Rows 30-33: answers of another provider


def other_tenant(world: World) -> LyingProvider:
    """B, who owns `evil` and a provider of his own; A's provider serves `app`."""
    world.endpoints[EVIL] = connection(id="conn-evil", issuer="https://b.example", client_id="b")
    return LyingProvider("https://b.example", clock=world.clock)


@pytest.mark.parametrize("lie", ["authorization endpoint bounces", "metadata names A's endpoint"])
async def test_rows_30_31_a_code_of_one_provider_does_not_go_to_anothers_endpoint(lie: str) -> None:
    world = World()
    mallory = other_tenant(world)
    honest, world.provider = world.provider, mallory
    honest.metadata["authorization_response_iss_parameter_supported"] = True
    world.restart()
    if lie == "metadata names A's endpoint":
        mallory.metadata["authorization_endpoint"] = f"{ISSUER}/authorize"
    victim = Browser(world)
    started = await victim.start(host=EVIL)
    # The victim signs in at A, which says so; B's state comes back with A's code.
    refused = await victim.callback([*honest.authorize(location(started)), ("iss", ISSUER)])
    assert code_of(refused) == "login_state_invalid"
    assert mallory.calls_to("/token") == []


@pytest.mark.parametrize("advertised", [True, False])
@pytest.mark.parametrize(
    "issuers", [["https://evil.example"], [ISSUER + "/"], [ISSUER, ISSUER], [ISSUER, "https://evil.example"], [""]]
)
@pytest.mark.parametrize("kind", ["code", "error"])
async def test_row_33_an_answer_that_names_another_issuer_is_refused(
    advertised: bool, issuers: list[str], kind: str
) -> None:
    world = World()
    world.provider.metadata["authorization_response_iss_parameter_supported"] = advertised
    browser = Browser(world)
    state = sent_to(await browser.start())["state"]
    refused = await browser.callback([(kind, "x"), ("state", state), *(("iss", issuer) for issuer in issuers)])
    assert code_of(refused) == "login_state_invalid"


@pytest.mark.parametrize("kind", ["code", "error"])
async def test_row_33_a_promised_issuer_that_is_missing_is_missed(kind: str) -> None:
    world = World()
    world.provider.metadata["authorization_response_iss_parameter_supported"] = True
    browser = Browser(world)
    state = sent_to(await browser.start())["state"]
    assert code_of(await browser.callback([(kind, "x"), ("state", state)])) == "login_state_invalid"


async def test_row_33_the_right_issuer_passes_whether_promised_or_not() -> None:
    for promised in (True, False):
        world = World()
        world.provider.metadata["authorization_response_iss_parameter_supported"] = promised
        browser = Browser(world)
        await browser.sign_in(iss=ISSUER)
        assert await world.signed_in(browser)


@pytest.mark.parametrize("name", ["code", "state", "iss", "error", "error_description"])
async def test_row_33_a_parameter_that_stands_there_twice_is_refused(name: str) -> None:
    world = World()
    browser = Browser(world)
    params = world.provider.authorize(location(await browser.start()), iss=ISSUER)
    value = dict(params).get(name, "x")
    reply = await browser.callback([*params, (name, value), (name, value)])
    assert code_of(reply) == "login_state_invalid"


# Rows 34-41: other people's logins


async def test_row_34_a_finished_answer_of_somebody_else_signs_nobody_in() -> None:
    world = World()
    attacker, victim = Browser(world), Browser(world)
    handed = await handed_over(world, attacker)
    refused = await victim.finish(handed)
    assert code_of(refused) == "login_restart"
    assert set_cookies(refused) == []
    assert world.provider.calls_to("/token") == []


async def test_row_35_a_login_begun_by_somebody_else_cannot_be_finished() -> None:
    world = World()
    attacker, victim = Browser(world), Browser(world)
    started = await attacker.start()
    await victim.start()
    refused = await victim.finish(await victim.callback(world.provider.authorize(location(started))))
    assert code_of(refused) == "login_restart"
    assert world.provider.calls_to("/token") == []


async def test_row_36_a_hand_off_works_once() -> None:
    world = World()
    browser = Browser(world)
    handed = await handed_over(world, browser)
    kept = dict(browser.jars[APP])
    assert (await browser.finish(handed)).status == 303
    thief = Browser(world)
    thief.jars[APP] = kept
    assert code_of(await thief.finish(handed)) == "login_restart"
    assert len(world.provider.calls_to("/token")) == 1


async def test_row_36_a_hand_off_works_on_one_host() -> None:
    world = World()
    world.endpoints[EVIL] = connection()
    browser = Browser(world)
    params = parse_qsl(urlsplit(location(await handed_over(world, browser))).query)
    browser.jars[EVIL] = browser.jars[APP]
    assert code_of(await browser.open_handoff(params, EVIL)) == "login_restart"


async def test_row_36_a_hand_off_works_for_a_minute() -> None:
    world = World()
    browser = Browser(world)
    handed = await handed_over(world, browser)
    world.clock.now += 61
    assert code_of(await browser.finish(handed)) == "login_restart"


async def test_row_36_a_hand_off_is_remembered_as_used_by_the_next_process_too() -> None:
    world = World()
    browser = Browser(world)
    handed = await handed_over(world, browser)
    kept = dict(browser.jars[APP])
    await browser.finish(handed)
    world.restart()
    thief = Browser(world)
    thief.jars[APP] = kept
    assert code_of(await thief.finish(handed)) == "login_restart"


async def test_row_37_a_hand_off_of_one_login_does_not_go_with_the_cookie_of_another() -> None:
    world = World()
    first, second = Browser(world), Browser(world)
    handed = await handed_over(world, first)
    await second.start()
    (name,), (value,) = first.jars[APP], second.jars[APP].values()
    second.jars[APP] = {name: value}
    assert code_of(await second.finish(handed)) == "login_restart"
    assert world.provider.calls_to("/token") == []


@pytest.mark.parametrize("spoil", ["", "x", "v1.", "v1.x.y", "A" * 100_000, "\x00", "é", "v1..", "../../etc/passwd"])
async def test_row_39_a_state_that_is_none_is_refused(spoil: str) -> None:
    reply = await Browser(World()).callback([("code", "c"), ("state", spoil)])
    assert code_of(reply) == "login_state_invalid"
    assert "Traceback" not in text_of(reply)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda state: state[:-1],
        lambda state: state[: len(state) // 2],
        lambda state: state[:-2] + ("A" if state[-2] != "A" else "B") + state[-1],
        lambda state: state.replace("v1.", "v2."),
        lambda state: "v1.deadbeef." + state.split(".")[2],
        lambda state: state + state,
    ],
)
async def test_row_39_a_state_that_was_changed_is_refused(spoil: Callable[[str], str]) -> None:
    world = World()
    browser = Browser(world)
    state = sent_to(await browser.start())["state"]
    assert code_of(await browser.callback([("code", "c"), ("state", spoil(state))])) == "login_state_invalid"


async def test_row_39_every_refused_state_looks_the_same() -> None:
    world = World()
    browser = Browser(world)
    state = sent_to(await browser.start())["state"]
    world.clock.now += 601
    replies = [await browser.callback([("code", "c"), ("state", value)]) for value in ("", "x", state, state[:-1])]
    assert len({reply.body for reply in replies}) == 1


async def test_row_39_a_blob_of_another_purpose_is_no_state() -> None:
    world = World()
    browser = Browser(world)
    handed = await handed_over(world, browser)
    for blob in (sent_to(handed)["h"], *(value.decode() for value in browser.jars[APP].values())):
        assert code_of(await browser.callback([("code", "c"), ("state", blob)])) == "login_state_invalid"


async def test_row_40_a_state_is_of_no_use_after_its_login() -> None:
    world = World()
    browser = Browser(world)
    started = await browser.start()
    kept = dict(browser.jars[APP])
    await browser.finish(await browser.callback(world.provider.authorize(location(started))))
    browser.jars[APP] = kept
    again = await browser.finish(await browser.callback(world.provider.authorize(location(started))))
    assert code_of(again) == "login_restart"
    assert len(world.provider.calls_to("/token")) == 1


@pytest.mark.parametrize("checks_pkce", [True, False])
async def test_row_41_an_injected_code_is_refused_with_and_without_pkce_at_the_provider(checks_pkce: bool) -> None:
    world = World()
    world.provider.checks_pkce = checks_pkce
    attacker, victim = Browser(world), Browser(world)
    stolen = dict(world.provider.authorize(location(await attacker.start())))["code"]
    params = dict(world.provider.authorize(location(await victim.start())))
    reply = await victim.finish(await victim.callback([("code", stolen), ("state", params["state"])]))
    assert code_of(reply) == "provider_error"
    assert await world.signed_in(victim) is None


async def test_row_42_s256_is_sent_to_a_provider_that_lists_only_plain() -> None:
    world = World()
    world.provider.metadata["code_challenge_methods_supported"] = ["plain"]
    asked = sent_to(await Browser(world).start())
    assert asked["code_challenge_method"] == "S256"


# Rows 43-48, 58: what a visitor's request may not decide


@pytest.mark.parametrize("target", ["//evil.example/x", "/\\evil.example", "/%09/evil", "/..//evil", "/" + "a" * 4000])
async def test_row_43_a_login_ends_on_the_host_it_began_on(target: str) -> None:
    world = World()
    reply = await Browser(world).sign_in(target)
    assert urlsplit(location(reply)).netloc == APP


async def test_rows_44_58_nothing_in_a_visitors_request_changes_where_a_login_leads() -> None:
    world = World()
    target = "/?rd=//evil&redirect_uri=https://evil&prompt=none&scope=admin&acr_values=x&login_hint=y&state=z&next=https://evil"
    fields = [("X-Auth-Request-Redirect", "https://evil"), ("X-Forwarded-Uri", "//evil"), ("X-Forwarded-Host", "evil")]
    reply = await world.login.start(APP, world.endpoints[APP], request(APP, target, fields), "r", PEER)
    asked = sent_to(reply)
    assert asked.keys().isdisjoint({"prompt", "acr_values", "login_hint", "rd", "next"})
    assert (asked["scope"], asked["redirect_uri"]) == ("openid email profile", world.address.redirect_uri)
    assert "evil" not in location(reply)


async def test_row_45_a_providers_words_are_shown_as_text_on_the_endpoints_host_only() -> None:
    world = World()
    browser = Browser(world)
    state = sent_to(await browser.start())["state"]
    words = "<script>alert(1)</script>\r\nSet-Cookie: a=b " + "x" * 50_000
    params = [
        ("error", "server_error"),
        ("error_description", words),
        ("error_uri", "javascript:alert(1)"),
        ("state", state),
    ]
    handed = await browser.callback(params)
    assert handed.body == b""
    page = await browser.finish(handed)
    assert code_of(page) == "provider_error"
    assert "&lt;script&gt;" in text_of(page)
    assert "<script" not in text_of(page)
    assert "javascript:" not in text_of(page)
    assert "x" * 1000 not in text_of(page)


async def test_a_declined_login_is_a_page_that_says_whom_to_ask() -> None:
    world = World()
    browser = Browser(world)
    state = sent_to(await browser.start())["state"]
    handed = await browser.callback(
        [
            ("error", "access_denied"),
            ("error_description", "User is not assigned to the client application."),
            ("state", state),
        ]
    )
    page = await browser.finish(handed)
    assert (page.status, code_of(page)) == (403, "access_denied")
    assert "User is not assigned to the client application." in text_of(page)
    assert "Grace Hopper" in text_of(page)
    assert world.provider.calls_to("/token") == []


async def test_an_error_needs_the_cookie_of_its_login_too() -> None:
    world = World()
    state = sent_to(await Browser(world).start())["state"]
    stranger = Browser(world)
    page = await stranger.finish(await stranger.callback([("error", "access_denied"), ("state", state)]))
    assert code_of(page) == "login_restart"


async def test_row_46_a_login_in_one_tab_survives_others_and_the_oldest_goes_first() -> None:
    world = World()
    browser = Browser(world)
    tabs = []
    for number in range(MAX_TRANSACTIONS + 2):
        tabs.append(await browser.start(f"/tab-{number}"))
        world.clock.now += 1
    assert len(browser.jars[APP]) == MAX_TRANSACTIONS
    ends = [
        await browser.finish(await browser.callback(world.provider.authorize(location(tab))))
        for tab in (tabs[0], tabs[2])
    ]
    assert code_of(ends[0]) == "login_restart"
    assert location(ends[1]).endswith("/tab-2")


async def test_stray_login_cookies_are_removed() -> None:
    world = World()
    browser = Browser(world)
    browser.jars[APP] = {b"__Host-tunnel-tx-%08x" % number: b"junk" for number in range(30)}
    reply = await browser.start()
    assert len(browser.jars[APP]) == 30 - 20 + 1
    assert len(set_cookies(reply)) == 21


async def test_row_66_two_session_cookies_are_both_cleared_when_a_login_begins() -> None:
    world = World()
    head = request(APP, "/", [("Cookie", "__Host-tunnel=A; __Host-tunnel=B")])
    reply = await world.login.start(APP, world.endpoints[APP], head, "r", PEER)
    assert any(value.startswith(b"__Host-tunnel=; ") and b"Max-Age=0" in value for value in set_cookies(reply))


# B8: tabs, back button, double submits


async def test_the_newest_login_wins_and_ends_the_session_it_replaces() -> None:
    world = World()
    browser = Browser(world)
    await browser.sign_in()
    first = await world.signed_in(browser)
    old_cookie = browser.session_cookie()
    world.provider.claims["sub"] = "bob"
    await browser.sign_in()
    session = await world.signed_in(browser)
    assert session.identity.subject == "bob"
    assert world.ended == [first.id_digest]
    assert old_cookie is not None
    assert await world.sessions.recall(old_cookie, APP, world.endpoints[APP], world.clock()) is None


async def test_the_back_button_onto_the_hand_off_leads_into_the_app() -> None:
    world = World()
    browser = Browser(world)
    handed = await handed_over(world, browser)
    await browser.finish(handed)
    assert location(await browser.finish(handed)) == f"https://{APP}/"


class Slow(LyingProvider):
    """Answers the token endpoint when told."""

    gate = asyncio.Event()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/token":
            await self.gate.wait()
        return await super().handle_async_request(request)


async def test_a_double_click_is_one_login_with_one_answer() -> None:
    world = World()
    world.provider = Slow(clock=world.clock)
    world.provider.gate = asyncio.Event()
    world.restart()
    browser = Browser(world)
    handed = await handed_over(world, browser)
    clicks = [asyncio.ensure_future(browser.finish(handed)) for _ in range(2)]
    await asyncio.sleep(0)
    world.provider.gate.set()
    first, second = await asyncio.gather(*clicks)
    assert first == second
    assert len(world.provider.calls_to("/token")) == 1


async def test_a_login_whose_visitor_went_away_leaves_nothing_behind() -> None:
    world = World()
    world.provider = Slow(clock=world.clock)
    world.provider.gate = asyncio.Event()
    world.restart()
    browser = Browser(world)
    handed = await handed_over(world, browser)
    first, second = (asyncio.ensure_future(browser.finish(handed)) for _ in range(2))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()
    assert code_of(await second) == "login_restart"
    assert world.login._finisher._under_way == {}


# Rows 59-60, and what a token endpoint may say


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(
            302, headers={"location": "http://127.0.0.1/", "content-type": "application/json"}, content=b"{}"
        ),
        httpx.Response(200, headers={"content-type": "text/html"}, content=b"<html>"),
        httpx.Response(200, headers={"content-type": "application/json"}, content=b"x" * 1_000_000),
        httpx.ReadTimeout("slow"),
        as_json([]),
        as_json({"error": "invalid_client", "error_description": "<script>"}, 401),
        as_json({}, 500),
    ],
)
async def test_row_59_a_token_endpoint_that_misbehaves_ends_the_login(answer: httpx.Response | Exception) -> None:
    world = World()
    world.provider.answers["/token"] = answer
    browser = Browser(world)
    page = await browser.sign_in()
    assert code_of(page) in ("provider_error", "provider_unreachable")
    assert "script>" not in text_of(page)
    assert browser.session_cookie() is None
    assert not [name for name in browser.jars[APP] if b"-tx-" in name]


@pytest.mark.parametrize(
    "lies",
    [
        {"id_token": None}, {"id_token": ""}, {"id_token": 7}, {"id_token": "x.y.z"}, {"token_type": "DPoP"}, {"token_type": None},
        {"access_token": None}, {"access_token": "a\r\nb"}, {"access_token": 7}, {"access_token": "é"},
    ],
)  # fmt: skip
async def test_row_59_a_token_answer_without_what_must_be_there_ends_the_login(lies: dict[str, Any]) -> None:
    world = World()
    world.provider.token_answer.update(lies)
    assert code_of(await Browser(world).sign_in()) == "provider_error"


@pytest.mark.parametrize("expires_in", ["abc", -1, None, 10**99, [], True])
async def test_row_59_a_strange_life_of_the_access_token_changes_nothing(expires_in: Any) -> None:
    world = World()
    world.provider.token_answer["expires_in"] = expires_in
    browser = Browser(world)
    await browser.sign_in()
    assert await world.signed_in(browser)


@pytest.mark.parametrize("when", ["callback", "finish"])
@pytest.mark.parametrize("change", [{"epoch": "epoch-2"}, {"id": "conn-2"}, None])
async def test_row_60_a_login_under_another_configuration_starts_again(
    when: str, change: dict[str, str] | None
) -> None:
    world = World()
    browser = Browser(world)
    started = await browser.start()
    handed = await browser.callback(world.provider.authorize(location(started)))
    if when == "callback":
        del world.endpoints[APP]
        if change is not None:
            world.endpoints[APP] = connection(**change)
        reply = await browser.callback(world.provider.authorize(location(started)))
        assert code_of(reply) == "login_restart"
    elif change is not None:
        world.endpoints[APP] = connection(**change)
        assert code_of(await browser.finish(handed)) == "login_restart"
    assert world.provider.calls_to("/token") == []


# Who is let in


async def test_rows_1_to_16_a_token_that_fails_the_check_list_signs_nobody_in() -> None:
    for lies in ({"aud": "other"}, {"nonce": "other"}, {"exp": 1}, {"iss": ISSUER + "/"}, {"sub": None}):
        world = World()
        world.provider.claims.update(lies)
        browser = Browser(world)
        assert code_of(await browser.sign_in()) == "provider_error"
        assert browser.session_cookie() is None


async def test_row_12_a_login_is_used_up_by_a_wrong_nonce() -> None:
    world = World()
    browser = Browser(world)
    world.provider.claims["nonce"] = "other"
    handed = await handed_over(world, browser)
    kept = dict(browser.jars[APP])
    await browser.finish(handed)
    browser.jars[APP] = kept
    assert code_of(await browser.finish(handed)) == "login_restart"


@pytest.mark.parametrize(
    "email",
    [
        "alice@good.com@evil.com", '"a@good.com "@evil', "a@good.com\x00", "a@good.com\n", "a@gооd.com", "a@sub.good.com",
        "a@good.com.evil", "good.com", "@good.com", "a@good.com,b@evil", "a@good.com ", "a@xgood.com", ["a@good.com"],
    ],
)  # fmt: skip
async def test_row_19_an_address_that_only_looks_right_is_not_admitted(email: Any) -> None:
    world = World(endpoints={APP: connection(rules=Rules(domains=frozenset({"good.com"})))})
    world.provider.claims["email"] = email
    browser = Browser(world)
    assert code_of(await browser.sign_in()) == "not_admitted"
    assert browser.session_cookie() is None


async def test_row_19_case_does_not_matter() -> None:
    world = World(endpoints={APP: connection(rules=Rules(domains=frozenset({"good.com"})))})
    world.provider.claims["email"] = "a@GOOD.com"
    browser = Browser(world)
    await browser.sign_in()
    assert (await world.signed_in(browser)).identity.email == "a@good.com"


@pytest.mark.parametrize("verified", [False, None, "false", "true", 1, 0, []])
async def test_row_20_an_address_that_is_not_verified_admits_nobody(verified: Any) -> None:
    world = World(endpoints={APP: connection(rules=Rules(emails=frozenset({"alice@acme.example"})))})
    world.provider.claims["email_verified"] = verified
    world.provider.userinfo = {"sub": "alice"}
    page = await Browser(world).sign_in()
    assert (page.status, code_of(page)) == (403, "not_admitted")
    assert "Alice Adams" in text_of(page)
    assert "verified" in text_of(page)
    assert "Grace Hopper" in text_of(page)


async def test_row_20_an_address_that_is_not_verified_reaches_no_app() -> None:
    world = World()
    world.provider.claims["email_verified"] = False
    browser = Browser(world)
    await browser.sign_in()
    assert (await world.signed_in(browser)).identity.email == ""


# Userinfo


async def test_userinfo_is_not_asked_when_the_id_token_says_it_all() -> None:
    world = World()
    await Browser(world).sign_in()
    assert world.provider.calls_to("/userinfo") == []


async def test_userinfo_fills_in_what_the_rules_need() -> None:
    world = World(endpoints={APP: connection(rules=Rules(groups=frozenset({"ops"})))})
    world.provider.userinfo = {"sub": "alice", "groups": ["ops"], "email": "mallory@evil.example", "iss": "evil"}
    browser = Browser(world)
    await browser.sign_in()
    identity = (await world.signed_in(browser)).identity
    assert (identity.groups, identity.email, identity.issuer) == (("ops",), "alice@acme.example", ISSUER)
    (call,) = world.provider.calls_to("/userinfo")
    assert call.headers["authorization"] == "Bearer at"


async def test_userinfo_does_not_verify_the_address_of_another_document() -> None:
    world = World(endpoints={APP: connection(rules=Rules(emails=frozenset({"alice@acme.example"})))})
    world.provider.claims["email_verified"] = None
    world.provider.userinfo = {"sub": "alice", "email": "other@acme.example", "email_verified": True}
    assert code_of(await Browser(world).sign_in()) == "not_admitted"
    world.provider.userinfo["email"] = "alice@acme.example"
    browser = Browser(world)
    await browser.sign_in()
    assert await world.signed_in(browser)


@pytest.mark.parametrize(
    "answer",
    [
        as_json({"sub": "bob", "groups": ["ops"]}),
        as_json({"groups": ["ops"]}),
        as_json({"sub": "alice", "groups": ["ops"]}, 401),
        httpx.Response(200, headers={"content-type": "application/jwt"}, content=b"eyJhbGciOiJub25lIn0.e30."),
        httpx.Response(
            302, headers={"location": "http://169.254.169.254/", "content-type": "application/json"}, content=b"{}"
        ),
        httpx.Response(200, headers={"content-type": "text/html"}, content=b"<html>"),
    ],
)
async def test_rows_14_15_userinfo_that_cannot_be_believed_ends_the_login(answer: httpx.Response) -> None:
    world = World(endpoints={APP: connection(rules=Rules(groups=frozenset({"ops"})))})
    world.provider.answers["/userinfo"] = answer
    browser = Browser(world)
    assert code_of(await browser.sign_in()) == "provider_error"
    assert browser.session_cookie() is None


# The relay's own troubles


class BrokenStore:
    """A store that has gone away."""

    def __getattr__(self, name: str) -> Any:
        async def fail(*_: Any, **__: Any) -> None:
            raise StoreError("away")

        return fail


async def test_row_61_no_login_without_a_store() -> None:
    world = World(store=BrokenStore())
    browser = Browser(world)
    page = await browser.sign_in()
    assert (page.status, code_of(page)) == (503, "relay_busy")
    assert browser.session_cookie() is None
    assert world.provider.calls_to("/token") == []


async def test_a_provider_that_is_away_is_said_to_be() -> None:
    world = World()
    world.provider.answers["/.well-known/openid-configuration"] = httpx.ConnectError("no route")
    page = await Browser(world).start()
    assert code_of(page) == "provider_unreachable"
    assert set_cookies(page) == []


async def test_row_158_no_log_line_holds_a_secret_of_the_login(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    world = World()
    browser = Browser(world)
    started = await browser.start("/private?token=canary-query")
    params = world.provider.authorize(location(started))
    handed = await browser.callback(params)
    await browser.finish(handed)
    await browser.finish(handed)
    secrets = [sent_to(started)["state"], sent_to(handed)["h"], dict(params)["code"], CLIENT_SECRET, "canary-query"]
    secrets += [value.decode() for value in browser.jars[APP].values()]
    assert not [secret for secret in secrets if secret in caplog.text]
