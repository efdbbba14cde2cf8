"""Providers differ in small ways: one test for each way, named after a provider whose documents tell of it.

None of this was run against those providers; the liar of `world.py` plays them.
"""

import logging
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from tests.oidc.world import (
    CLIENT_ID,
    ISSUER,
    RSA_KEY,
    Browser,
    World,
    as_json,
    code_of,
    connection,
    public,
)
from tests.support.every import every
from tunnelrelay.model import Identity
from tunnelrelay.oidc.tokens.claims import claim_at, normalised
from tunnelrelay.policy.rules import Rules, groups_of, verified_email

APP = "app.tun.example"
STAFF = Rules(groups=frozenset({"staff"}))
ACME = Rules(domains=frozenset({"acme.example"}))


async def sign_in(world: World, **changes: Any) -> Identity | str:
    """Who is signed in with a connection of this kind, or the code of the page that says why not."""
    world.endpoints[APP] = connection(**changes)
    browser = Browser(world)
    page = await browser.sign_in()
    session = await world.signed_in(browser)
    if not session:
        return code_of(page)
    identity: Identity = session.identity
    return identity


def claiming(**claims: Any) -> World:
    """A provider that says this in its ID tokens; None leaves a claim out."""
    world = World()
    world.provider.claims, world.provider.userinfo = claims, {"sub": "alice"}
    return world


# E-mail


@pytest.mark.parametrize("mode", ["claim", "text", "assumed"])
async def test_amazon_cognitos_text_true_counts_only_where_the_owner_said_so(mode: str) -> None:
    who = await sign_in(claiming(email_verified="true"), rules=ACME, email_verified=mode)
    assert who == "not_admitted" if mode == "claim" else isinstance(who, Identity)


@pytest.mark.parametrize("mode", ["claim", "text", "assumed"])
async def test_microsoft_entras_missing_claim_counts_only_where_the_owner_assumes_it(mode: str) -> None:
    """Row 20."""
    who = await sign_in(claiming(email_verified=None), rules=ACME, email_verified=mode)
    assert isinstance(who, Identity) if mode == "assumed" else who == "not_admitted"


@every("said", [False, "false", "False", "TRUE", "1", 1, 0, "", [], {}, [True]])
@every("mode", ["claim", "text", "assumed"])
async def test_an_address_the_provider_does_not_vouch_for_never_counts(mode: str, said: Any) -> None:
    """Row 20."""
    assert await sign_in(claiming(email_verified=said), rules=ACME, email_verified=mode) == "not_admitted"


@pytest.mark.parametrize(("edov", "counts"), [(True, True), ("1", True), (False, False), ("0", False), (None, False)])
def test_microsoft_entras_xms_edov_is_believed_when_it_denies(edov: Any, counts: bool) -> None:
    said = {"email": "a@acme.example", "xms_edov": edov}
    assert bool(verified_email(normalised(said, connection(email_verified="assumed")))) is counts


async def test_what_userinfo_denies_is_not_assumed() -> None:
    world = claiming(email_verified=None)
    world.provider.userinfo = {"sub": "alice", "email": "alice@acme.example", "email_verified": False}
    assert await sign_in(world, rules=ACME, email_verified="assumed") == "not_admitted"


# Groups


@pytest.mark.parametrize(
    ("name", "claims"),
    [
        ("groups", {"groups": ["staff", "all"]}),
        ("groups", {"groups": "staff"}),
        ("https://acme.example/groups", {"https://acme.example/groups": ["staff"]}),  # Auth0
        ("roles", {"roles": ["staff"], "groups": ["0760b6cf-170e-4a14-91b3-4b78e0739963"]}),  # Microsoft Entra ID
        ("realm_access.roles", {"realm_access": {"roles": ["offline_access", "staff"]}}),  # Keycloak
        ("resource_access.app.roles", {"resource_access": {"app": {"roles": ["staff"]}}}),  # Keycloak
        ("cognito:groups", {"cognito:groups": ["staff"]}),  # Amazon Cognito
    ],
)
async def test_groups_are_read_where_the_provider_writes_them(name: str, claims: dict[str, Any]) -> None:
    who = await sign_in(claiming(**claims), rules=STAFF, groups_claim=name)
    assert isinstance(who, Identity)
    assert "staff" in who.groups


@pytest.mark.parametrize(
    ("name", "claims"),
    [
        ("groups", {"groups": "staff,all"}),
        ("groups", {"groups": "staff all"}),
        ("groups", {"groups": ["staff", 7]}),
        ("groups", {"groups": {"staff": True}}),
        ("groups", {"groups": [["staff"]]}),
        ("roles", {"groups": ["staff"]}),
        ("roles", {"groups": ["staff"], "roles": ["other"]}),
        ("roles", {"groups": ["staff"], "roles": None}),
        ("realm_access.roles", {"realm_access": ["staff"]}),
        ("realm_access.roles", {"realm_access": {"roles": {"staff": 1}}}),
        ("realm_access.roles.x", {"realm_access": {"roles": ["staff"]}}),
        ("a.b.c.d.e.f.g.h.i.j", {"a": {}}),
    ],
)
async def test_what_is_no_list_of_groups_under_the_name_that_was_given_is_none(name: str, claims: Any) -> None:
    assert await sign_in(claiming(**claims), rules=STAFF, groups_claim=name) == "not_admitted"


def test_a_claim_whose_name_holds_dots_wins_over_the_path() -> None:
    assert claim_at({"a.b": 1, "a": {"b": 2}}, "a.b") == 1
    assert claim_at({"a": {"b": 2}}, "a.b") == 2


@pytest.mark.parametrize(
    "claims",
    [
        {
            "_claim_names": {"groups": "src1"},
            "_claim_sources": {"src1": {"endpoint": "https://graph.windows.net/x/getMemberObjects"}},
        },
        {"hasgroups": True},
        {"hasgroups": "true", "groups": ["staff"]},
        {"_claim_names": {"groups": "src1"}, "groups": ["staff"]},
    ],
)
async def test_microsoft_entras_group_overage_is_no_group_and_the_log_names_the_way_out(
    claims: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    world = claiming(**claims)
    with caplog.at_level(logging.WARNING):
        assert await sign_in(world, rules=STAFF) == "not_admitted"
    assert "--oidc-groups-claim" in caplog.text
    assert {call.url.host for call in world.provider.calls} == {"idp.acme.example"}


async def test_group_overage_does_not_matter_where_roles_are_used() -> None:
    world = claiming(_claim_names={"groups": "src1"}, roles=["staff"])
    assert isinstance(await sign_in(world, rules=STAFF, groups_claim="roles"), Identity)


async def test_auth0_keeps_namespaced_groups_to_userinfo_and_they_are_found_there() -> None:
    world = World()
    world.provider.userinfo = {"sub": "alice", "https://acme.example/groups": ["staff"]}
    assert isinstance(await sign_in(world, rules=STAFF, groups_claim="https://acme.example/groups"), Identity)


async def test_new_rules_read_the_groups_of_old_sessions_under_the_same_name() -> None:
    world = claiming(realm_access={"roles": ["staff"]})
    world.endpoints[APP] = connection(rules=STAFF, groups_claim="realm_access.roles")
    browser = Browser(world)
    await browser.sign_in()
    other = Rules(groups=frozenset({"board"}))
    world.endpoints[APP] = connection(rules=other, groups_claim="realm_access.roles", rules_version="rules-2")
    assert not await world.signed_in(browser)


# Issuers and endpoints


async def test_auth0s_issuer_ends_in_a_slash_and_may_be_given_without() -> None:
    world = World()
    world.provider.metadata["issuer"] = ISSUER + "/"
    world.provider.claims = {"iss": ISSUER + "/"}
    who = await sign_in(world, issuer=ISSUER)
    assert isinstance(who, Identity)
    assert who.issuer == ISSUER + "/"


async def test_a_token_must_carry_the_slash_that_the_metadata_has() -> None:
    world = World()
    world.provider.metadata["issuer"] = ISSUER + "/"
    world.provider.claims = {"iss": ISSUER}
    assert await sign_in(world, issuer=ISSUER) == "provider_error"


async def test_glewlwyds_endpoints_with_two_slashes_are_called_as_they_are() -> None:
    world = World()
    world.provider.metadata = {"token_endpoint": f"{ISSUER}//api//token"}
    world.provider.answers["//api//token"] = as_json({"error": "invalid_grant"}, 400)
    await sign_in(world)
    assert [call.url.raw_path for call in world.provider.calls if b"token" in call.url.raw_path] == [b"//api//token"]


async def test_lemonldap_sends_no_iss_with_its_answers() -> None:
    assert isinstance(await sign_in(World()), Identity)


# Tokens


@pytest.mark.parametrize("algorithm", ["RS512", "RS384", "PS256"])
async def test_canaille_signs_with_another_hash_than_most(algorithm: str) -> None:
    world = World()
    world.provider.metadata["id_token_signing_alg_values_supported"] = ["none", "HS256", "RS256", algorithm]
    world.provider.header = {"alg": algorithm}
    assert isinstance(await sign_in(world), Identity)


async def test_authentiks_elliptic_keys_stand_beside_rsa_ones() -> None:
    world, key = World(), ECKey.generate_key("P-256")
    world.provider.jwks = {"keys": [public(RSA_KEY), {**public(key, kid="e1"), "alg": "ES256"}]}
    world.provider.metadata["id_token_signing_alg_values_supported"] = ["RS256", "ES256"]
    world.provider.make_token = lambda claims: jwt.encode({"alg": "ES256", "kid": "e1"}, claims, key)
    assert isinstance(await sign_in(world), Identity)


async def test_an_algorithm_the_provider_does_not_advertise_is_refused() -> None:
    world = World()
    world.provider.header = {"alg": "RS512"}
    assert await sign_in(world) == "provider_error"


@pytest.mark.parametrize("access_token", ["opaque", "..", "eyJhbGciOiJub25lIn0.e30.", "a" * 5000, "x.y.z"])
async def test_googles_access_tokens_are_opaque_and_never_looked_into(access_token: str) -> None:
    world = World()
    world.provider.token_answer = {"access_token": access_token}
    assert isinstance(await sign_in(world), Identity)


async def test_an_at_hash_must_be_that_of_the_access_token() -> None:
    world = World()
    world.provider.claims = {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}
    assert await sign_in(world) == "provider_error"


@pytest.mark.parametrize(("skew", "passes"), [(-59, True), (59, True), (61, False)])
async def test_a_clock_may_be_wrong_by_a_minute(skew: int, passes: bool) -> None:
    world = World()
    now = int(world.clock())
    world.provider.claims = {"iat": now + skew, "exp": now + skew + 300, "nbf": now + skew}
    assert isinstance(await sign_in(world), Identity) is passes


async def test_glewlwyds_auth_time_zero_is_no_reason_to_refuse() -> None:
    assert isinstance(await sign_in(claiming(auth_time=0)), Identity)


async def test_amr_and_acr_can_be_ruled_by() -> None:
    """Okta and Entra say by them how somebody logged in."""
    world = claiming(amr=["pwd", "mfa"], acr="urn:okta:loa:2fa:any")
    assert isinstance(await sign_in(world, rules=Rules(claims=frozenset({("amr", "mfa")}))), Identity)
    assert await sign_in(world, rules=Rules(claims=frozenset({("acr", "other")}))) == "not_admitted"


# Signed userinfo


def signed(claims: dict[str, Any], *, status: int = 200, key: Any = RSA_KEY, **header: Any) -> httpx.Response:
    token = jwt.encode({"alg": "RS256", "kid": "k1", **header}, claims, key)
    return httpx.Response(status, content=token.encode(), headers={"content-type": "application/jwt; charset=utf-8"})


HONEST = {"iss": ISSUER, "aud": CLIENT_ID, "sub": "alice", "groups": ["staff"]}


async def test_keycloaks_signed_userinfo_is_checked_and_read() -> None:
    world = World()
    world.provider.answers["/userinfo"] = signed(HONEST)
    assert isinstance(await sign_in(world, rules=STAFF), Identity)


@pytest.mark.parametrize(
    "answer",
    [
        signed({**HONEST, "aud": "another"}),
        signed({**HONEST, "iss": "https://evil.example"}),
        signed({name: value for name, value in HONEST.items() if name != "aud"}),
        signed({name: value for name, value in HONEST.items() if name != "iss"}),
        signed({**HONEST, "sub": "mallory"}),
        signed({**HONEST, "exp": 1}),
        signed(HONEST, status=401),
        signed(HONEST, key=ECKey.generate_key("P-256"), alg="ES256"),
        httpx.Response(200, content=b"eyJhbGciOiJub25lIn0.e30.", headers={"content-type": "application/jwt"}),
        httpx.Response(200, content=b"\xff\x00", headers={"content-type": "application/jwt"}),
        httpx.Response(200, content=b"", headers={"content-type": "application/jwt"}),
    ],
)
async def test_signed_userinfo_that_is_not_in_order_ends_the_login(answer: httpx.Response) -> None:
    world = World()
    world.provider.answers["/userinfo"] = answer
    assert await sign_in(world, rules=STAFF) == "provider_error"


async def test_a_token_is_taken_from_nowhere_but_userinfo() -> None:
    world = World()
    world.provider.answers["/jwks"] = signed(HONEST)
    assert await sign_in(world) == "provider_error"


def test_normalising_changes_nothing_a_provider_says_in_the_usual_way() -> None:
    claims = {"sub": "a", "email": "a@x.example", "email_verified": True, "groups": ["g"], "amr": ["pwd"], "acr": "0"}
    assert normalised(claims, connection()) == claims
    assert groups_of(normalised(claims, connection())) == ("g",)
