"""Answers of one provider that are brought to another one's login: the COAT attack, and `iss` against it.

Alice owns `app` and trusts an honest provider. Mallory owns `evil` on the same relay, and a provider that lies: he
wants the code that Alice's provider gives one of her users, delivered into a login of his own.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest

from tests.oidc.world import (
    APP,
    CLIENT_ID,
    EVIL,
    ISSUER,
    SHARED,
    TUN_EXAMPLE,
    Browser,
    LyingProvider,
    World,
    code_of,
    connection,
    location,
    sent_to,
    text_of,
)
from tests.support.every import every
from tunnelrelay.model import Reply
from tunnelrelay.oidc.login.callback import ArrivedAt

STRANGERS = replace(TUN_EXAMPLE, is_multi_tenant=True)
MALLORYS = "https://b.example"
ISS = "authorization_response_iss_parameter_supported"
WISHES = ("relay", "shared", "host")


class Network(httpx.AsyncBaseTransport):
    """Two providers on one network."""

    def __init__(self, *providers: LyingProvider) -> None:
        self.providers = {urlsplit(provider.issuer).netloc: provider for provider in providers}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self.providers[request.url.host].handle_async_request(request)


class Scene:
    """A relay with two owners who are strangers to each other, each with a provider."""

    def __init__(self, *, alices: str = "relay", mallorys: str = "relay", sends_iss: bool = False) -> None:
        self.world = world = World(address=STRANGERS, owners={APP: "alice", EVIL: "mallory"})
        self.honest, self.hostile = world.provider, LyingProvider(MALLORYS, clock=world.clock)
        self.sends_iss = sends_iss
        self.honest.metadata[ISS] = sends_iss
        # Without the promise he could not use the shared callback at all.
        self.hostile.metadata[ISS] = mallorys == "shared"
        world.provider = Network(self.honest, self.hostile)
        world.endpoints[APP] = connection(id="conn-alice", callback=alices)
        world.endpoints[EVIL] = connection(
            id="conn-mallory", issuer=MALLORYS, client_id=CLIENT_ID, client_secret="x", callback=mallorys
        )
        world.shared_owners = frozenset({"alice"})
        world.restart()
        self.registered = STRANGERS.redirect_uri(alices, "conn-alice", APP)
        self.victim = Browser(world)

    def bounced(self, started: Reply) -> str:
        """Mallory's login page sends the victim on to Alice's provider: her client, her redirect URI, his state.

        Challenge and nonce are those of a login he began himself, so that he knows the verifier.
        """
        asked = sent_to(started) | {"client_id": CLIENT_ID, "redirect_uri": self.registered}
        return f"{ISSUER}/authorize?{urlencode(asked)}"

    async def signs_in_at_alices(self, address: str) -> Reply | None:
        """The victim signs in at Alice's provider, which sends the answer where her client registered it.

        None when the provider itself refuses, as every provider does for a redirect URI that is not registered.
        """
        asked = dict(parse_qsl(urlsplit(address).query))
        if asked["redirect_uri"] != self.registered:
            return None
        params = self.honest.authorize(address, iss=ISSUER if self.sends_iss else "")
        path = urlsplit(self.registered).path
        if urlsplit(self.registered).netloc == APP:
            return (await self.world.login.finish_here(self.victim.asking("r"), params)).reply
        own = path.removeprefix("/oauth2/callback").removeprefix("/")
        return await self.victim.callback(params, ArrivedAt("connection", own) if own else SHARED)

    def assert_nothing_came_out(self, reply: Reply | None) -> None:
        """Nobody's token endpoint was called, and the code is in nothing that anybody gets."""
        assert self.hostile.calls_to("/token") == []
        assert self.honest.calls_to("/token") == []
        if reply is not None:
            assert code_of(reply) in ("login_state_invalid", "login_restart")
            assert dict(reply.fields).get(b"Location") is None
            assert "code-0" not in text_of(reply)


CASES = list(product(WISHES, WISHES, (True, False)))


@pytest.mark.parametrize(("alices", "mallorys", "sends_iss"), CASES)
async def test_a_code_never_leaves_for_the_provider_that_sent_the_visitor_to_another(
    alices: str, mallorys: str, sends_iss: bool
) -> None:
    """Row 30."""
    scene = Scene(alices=alices, mallorys=mallorys, sends_iss=sends_iss)
    started = await scene.victim.start(host=EVIL)
    assert location(started).startswith(MALLORYS)
    reply = await scene.signs_in_at_alices(scene.bounced(started))
    assert reply is not None
    scene.assert_nothing_came_out(reply)


@pytest.mark.parametrize(("alices", "mallorys", "sends_iss"), CASES)
async def test_a_discovery_document_that_mixes_two_providers_gets_no_code(
    alices: str, mallorys: str, sends_iss: bool
) -> None:
    """Row 31. Login page of Alice's provider, token endpoint of Mallory's."""
    scene = Scene(alices=alices, mallorys=mallorys, sends_iss=sends_iss)
    scene.hostile.metadata["authorization_endpoint"] = f"{ISSUER}/authorize"
    started = await scene.victim.start(host=EVIL)
    assert location(started).startswith(f"{ISSUER}/authorize")
    scene.assert_nothing_came_out(await scene.signs_in_at_alices(location(started)))
    # And should he have brought the victim to send the registered one:
    scene.assert_nothing_came_out(await scene.signs_in_at_alices(scene.bounced(started)))


@pytest.mark.parametrize("wish", WISHES)
async def test_the_honest_owners_logins_work_all_the_while(wish: str) -> None:
    """Row 30."""
    scene = Scene(alices=wish)
    started = await scene.victim.start()
    assert sent_to(started)["redirect_uri"] == scene.registered
    reply = await scene.signs_in_at_alices(location(started))
    assert reply is not None
    if wish != "host":
        reply = await scene.victim.finish(reply)
    assert location(reply) == f"https://{APP}/x?y=1"
    (call,) = scene.honest.calls_to("/token")
    assert dict(parse_qsl(call.content.decode()))["redirect_uri"] == scene.registered


def callbacks_but(kind: str) -> Iterator[ArrivedAt]:
    """Every callback an answer could come to, except the one of this kind for `app`."""
    right = {"shared": SHARED, "connection": ArrivedAt("connection", "conn-alice"), "host": ArrivedAt("host", APP)}
    wrong = (
        ArrivedAt("connection", "conn-mallory"),
        ArrivedAt("connection", ""),
        ArrivedAt("connection", "CONN-ALICE"),
    )
    return (arrived for arrived in (*right.values(), *wrong) if arrived != right[kind])


@pytest.mark.parametrize("wish", WISHES)
async def test_an_answer_counts_at_the_callback_whose_address_was_sent_and_at_no_other(wish: str) -> None:
    """Row 30."""
    scene = Scene(alices=wish)
    params = scene.honest.authorize(location(await scene.victim.start()))
    for arrived in callbacks_but(STRANGERS.callback_kind(wish)):
        assert code_of(await scene.victim.callback(params, arrived)) == "login_state_invalid", arrived


async def test_the_shared_callback_needs_a_provider_that_names_itself() -> None:
    """Row 30."""
    scene = Scene(mallorys="shared")
    scene.hostile.metadata[ISS] = None
    scene.world.restart()
    refused = await scene.victim.start(host=EVIL)
    assert (refused.status, code_of(refused)) == (502, "provider_error")
    scene.world.shared_owners = frozenset({"mallory"})
    scene.world.restart()
    assert location(await scene.victim.start(host=EVIL)).startswith(MALLORYS)


async def test_a_client_without_a_secret_gets_no_shared_callback_whoever_its_owner_is() -> None:
    """Row 32. Else Mallory could use the id of Alice's public client, whose redirect URI is the same."""
    scene = Scene(mallorys="shared")
    scene.world.endpoints[EVIL] = connection(id="conn-mallory", client_secret="", callback="shared")
    scene.world.shared_owners = frozenset({"alice", "mallory"})
    scene.honest.metadata[ISS] = True
    scene.world.restart()
    assert code_of(await scene.victim.start(host=EVIL)) == "provider_error"


async def test_another_tenants_client_id_is_of_no_use_at_ones_own_callback() -> None:
    """Row 32. The provider knows Alice's redirect URI and no other."""
    scene = Scene()
    scene.world.endpoints[EVIL] = connection(id="conn-mallory", client_secret="guess")
    started = await scene.victim.start(host=EVIL)
    assert sent_to(started)["client_id"] == CLIENT_ID
    assert sent_to(started)["redirect_uri"] != scene.registered
    scene.assert_nothing_came_out(await scene.signs_in_at_alices(location(started)))


@pytest.mark.parametrize("kind", ["bounced", "mixed"])
async def test_owners_of_one_organisation_are_told_apart_by_iss(kind: str) -> None:
    """Rows 30, 31. There is one callback for all of them; what a provider promises is held against its absence too."""
    world = World()
    mallory = LyingProvider(MALLORYS, clock=world.clock)
    honest = world.provider
    honest.metadata[ISS] = True
    world.provider = Network(honest, mallory)
    world.endpoints[EVIL] = connection(id="conn-evil", issuer=MALLORYS, client_id="b")
    if kind == "mixed":
        mallory.metadata["authorization_endpoint"] = f"{ISSUER}/authorize"
    world.restart()
    victim = Browser(world)
    started = await victim.start(host=EVIL)
    refused = await victim.callback([*honest.authorize(location(started)), ("iss", ISSUER)])
    assert code_of(refused) == "login_state_invalid"
    assert mallory.calls_to("/token") == []


@every("advertised", [True, False])
@every("issuers", [["https://evil.example"], [ISSUER + "/"], [ISSUER, ISSUER], [ISSUER, "https://evil.example"], [""]])
@every("kind", ["code", "error"])
async def test_an_answer_that_names_another_issuer_is_refused(advertised: bool, issuers: list[str], kind: str) -> None:
    """Row 33."""
    world = World()
    world.provider.metadata["authorization_response_iss_parameter_supported"] = advertised
    browser = Browser(world)
    state = sent_to(await browser.start())["state"]
    refused = await browser.callback([(kind, "x"), ("state", state), *(("iss", issuer) for issuer in issuers)])
    assert code_of(refused) == "login_state_invalid"


@pytest.mark.parametrize("kind", ["code", "error"])
async def test_a_promised_issuer_that_is_missing_is_missed(kind: str) -> None:
    """Row 33."""
    world = World()
    world.provider.metadata["authorization_response_iss_parameter_supported"] = True
    browser = Browser(world)
    state = sent_to(await browser.start())["state"]
    assert code_of(await browser.callback([(kind, "x"), ("state", state)])) == "login_state_invalid"


async def test_the_right_issuer_passes_whether_promised_or_not() -> None:
    """Row 33."""
    for promised in (True, False):
        world = World()
        world.provider.metadata["authorization_response_iss_parameter_supported"] = promised
        browser = Browser(world)
        await browser.sign_in(iss=ISSUER)
        assert await world.signed_in(browser)
