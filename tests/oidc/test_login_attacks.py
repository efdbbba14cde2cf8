"""The login against other tenants, other visitors and the requests they make others send (rows 30-48, 60)."""

from collections.abc import Callable
from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.oidc.world import (
    APP,
    EVIL,
    ISSUER,
    PEER,
    Browser,
    LyingProvider,
    World,
    code_of,
    connection,
    handed_over,
    location,
    request,
    sent_to,
    set_cookies,
    text_of,
)
from tunnelrelay.oidc.cookies import MAX_TRANSACTIONS
from tunnelrelay.policy.classify import may_start_login

# Answers of another provider


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


# Other people's logins


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


# What a visitor's request may not decide


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
    assert (asked["scope"], asked["redirect_uri"]) == (
        "openid email profile",
        "https://idp.tun.example/oauth2/callback",
    )
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


@pytest.mark.parametrize(
    "fields",
    [
        [("Sec-Fetch-Mode", "cors"), ("Sec-Fetch-Dest", "empty"), ("Accept", "text/html")],
        [("X-Requested-With", "XMLHttpRequest"), ("Accept", "text/html")],
        [("Accept", "application/json")],
        [],
    ],
)
def test_row_46_polling_never_starts_a_login(fields: list[tuple[str, str]]) -> None:
    assert not may_start_login(request(APP, "/poll", fields))


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD"])
def test_row_48_only_get_starts_a_login_so_no_body_is_ever_kept(method: str) -> None:
    fields = [("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document"), ("Accept", "text/html")]
    assert not may_start_login(request(APP, "/form", fields, method))
