"""Tokens of programs against an issuer and senders that lie: who is let in, who is refused, and who is not judged."""

import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jws, jwt
from joserfc.jwk import KeySet

from tests.bounds.driving import bound_of, table
from tests.oidc.world import (
    APP,
    CLIENT_ID,
    EVIL,
    ISSUER,
    OTHER_RSA_KEY,
    RSA_KEY,
    TUN_EXAMPLE,
    Clock,
    LyingProvider,
    as_json,
    connection,
    public,
)
from tests.support.every import every
from tunnelctl.oidc.base64url import b64url
from tunnelrelay.keys.assertion import AssertionSigner
from tunnelrelay.observe.audit import Audit
from tunnelrelay.oidc.providers.fetch import Fetcher
from tunnelrelay.oidc.providers.known_providers import KEYS_AGAIN_SECONDS
from tunnelrelay.oidc.providers.provider import ProviderClient
from tunnelrelay.oidc.sessions import access_tokens as bearer_module
from tunnelrelay.oidc.sessions.access_tokens import (
    BURST_REFUSED,
    CHECKED_SECONDS,
    REFUSED_PER_SECOND,
    AccessTokens,
    Program,
    TokenRefused,
)
from tunnelrelay.oidc.tokens.access_token import claimed_issuer, may_be_token, token_in
from tunnelrelay.oidc.tokens.id_token import LEEWAY
from tunnelrelay.policy.rules import Bearer, Connection, Rules, TokenIssuer

AUDIENCE = "https://app.tun.example"
SIGNER = AssertionSigner.generate(issuer=TUN_EXAMPLE.url(TUN_EXAMPLE.domain))
MISSING = object()
CI = connection(id="jwt-1", client_id="", client_secret="", epoch="")
"""The same issuer where nobody logs in."""


def by_login(version: str = "v1", *audiences: str, **changes: Any) -> Bearer:
    """Tokens of the login's own issuer, for its client or for these audiences."""
    issuer = TokenIssuer(connection=connection(**changes), audiences=frozenset(audiences or (CLIENT_ID,)))
    return Bearer((issuer,), version)


def by_ci(*claims: tuple[str, str], version: str = "v1", issuer: Connection = CI) -> Bearer:
    """Tokens of an issuer where nobody logs in."""
    rules = tuple((name, frozenset({value})) for name, value in claims)
    return Bearer((TokenIssuer(connection=issuer, audiences=frozenset({AUDIENCE}), claims=rules),), version)


class Relay:
    """What a relay knows of tokens, and the issuer it asks."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.monotonic = Clock()
        self.provider = LyingProvider(clock=self.clock)
        self.audit = Audit(clock=self.clock)
        self.bearers = AccessTokens(
            address=TUN_EXAMPLE,
            providers=ProviderClient(fetcher=Fetcher(self.provider, total_seconds=0.5), clock=self.clock),
            signer=SIGNER,
            clock=self.clock,
            monotonic=self.monotonic,
            audit=self.audit,
        )

    def claims(self, **changes: Any) -> dict[str, Any]:
        now = int(self.clock())
        honest = {"iss": ISSUER, "aud": CLIENT_ID, "sub": "robot-1", "iat": now, "exp": now + 300}
        return {name: value for name, value in {**honest, **changes}.items() if value is not MISSING}

    def token(self, *, key: Any = RSA_KEY, header: dict[str, Any] | None = None, **changes: Any) -> str:
        return sign(self.claims(**changes), key=key, **(header or {}))

    async def shows(self, token: str, bearer: Bearer | None = None, host: str = APP) -> Program | TokenRefused | None:
        return await self.sends([f"Bearer {token}"], bearer, host)

    async def sends(
        self, values: list[str], bearer: Bearer | None = None, host: str = APP
    ) -> Program | TokenRefused | None:
        shown = [value.encode("latin-1") for value in values]
        return await self.bearers.judge(bearer or by_login(), host, shown, peer="192.0.2.1", request_id="r-1")

    def finds(self, token: str, bearer: Bearer | None = None, host: str = APP) -> Program | None:
        return self.bearers.find(bearer or by_login(), host, f"Bearer {token}".encode(), self.clock())

    async def refuses(self, token: str, bearer: Bearer | None = None) -> str:
        """The check at which a token fails."""
        found = await self.shows(token, bearer)
        assert isinstance(found, TokenRefused)
        assert found.code == "bearer_invalid"
        return found.reason

    async def admits(self, token: str, bearer: Bearer | None = None) -> Program:
        found = await self.shows(token, bearer)
        assert isinstance(found, Program), found
        return found


def sign(claims: dict[str, Any], *, key: Any = RSA_KEY, **header: Any) -> str:
    """By hand: a library refuses to write much of what must be refused here."""
    header = {name: value for name, value in {"alg": "RS256", "kid": "k1", **header}.items() if value is not None}
    signed = f"{b64url(json.dumps(header).encode())}.{b64url(json.dumps(claims).encode())}"
    return f"{signed}.{b64url(jws.JWSRegistry.algorithms[header['alg']].sign(signed.encode(), key))}"


@pytest.fixture
def relay() -> Relay:
    return Relay()


# Good tokens


async def test_a_token_for_the_client_names_its_holder(relay: Relay) -> None:
    program = await relay.admits(relay.token(email="bot@acme.example", email_verified=True))

    assert (program.identity.issuer, program.identity.subject) == (ISSUER, "robot-1")
    assert program.identity.email == "bot@acme.example"
    assert b"X-Tunnel-User: robot-1\r\n" in program.fields
    assert b"X-Tunnel-Issuer: https://idp.acme.example\r\n" in program.fields


async def test_the_app_gets_an_assertion_for_this_endpoint(relay: Relay) -> None:
    program = await relay.admits(relay.token())
    assertion = program.fields.partition(b"X-Tunnel-Assertion: ")[2].strip().decode()

    claims = jwt.decode(assertion, KeySet.import_key_set(SIGNER.jwks()), algorithms=["ES256"]).claims
    assert (claims["aud"], claims["sub"], claims["idp"]) == ("https://app.tun.example", "robot-1", ISSUER)


@pytest.mark.parametrize("kind", ["JWT", "at+jwt", "AT+JWT", "application/at+jwt", None])
async def test_access_tokens_old_and_new_are_taken(relay: Relay, kind: str | None) -> None:
    await relay.admits(relay.token(header={"typ": kind}))


async def test_an_id_token_of_the_own_client_is_taken(relay: Relay) -> None:
    await relay.admits(relay.token(nonce="n-1"))


async def test_a_token_that_has_been_good_for_days_is_as_good(relay: Relay) -> None:
    await relay.admits(relay.token(iat=int(relay.clock()) - 5 * 86_400))
    await relay.admits(relay.token(iat=MISSING))


async def test_a_token_for_others_too_is_taken_when_one_of_ours_asked_for_it(relay: Relay) -> None:
    bearer = by_login("v1", AUDIENCE, "ci")

    await relay.admits(relay.token(aud=[AUDIENCE, "account"], azp="ci"), bearer)
    await relay.admits(relay.token(aud=[AUDIENCE, "account"], client_id="ci"), bearer)
    await relay.admits(relay.token(aud=[AUDIENCE, "ci"]), bearer)
    await relay.admits(relay.token(aud=AUDIENCE, azp="whoever"), bearer)


async def test_an_issuer_without_a_login_needs_to_publish_its_keys_only(relay: Relay) -> None:
    document = {"issuer": ISSUER, "jwks_uri": f"{ISSUER}/jwks", "response_types_supported": ["id_token"]}
    relay.provider.answers["/.well-known/openid-configuration"] = as_json(document)

    await relay.admits(relay.token(aud=AUDIENCE, repo="acme/app"), by_ci(("repo", "acme/app")))
    assert isinstance(await relay.shows(relay.token()), TokenRefused)  # it has no login to offer


# Not ours to judge


@pytest.mark.parametrize(
    "value",
    [
        "Basic dXNlcjpwYXNz",
        "Bearer",
        "Bearer opaque-token",
        "Bearer a.b.c",
        "Bearer ..",
        "DPoP e30.e30.x",
        "Bearer " + "e30." * 4 + "e30",
        "",
        "Bearer é.é.é",
    ],
)
async def test_what_is_no_token_of_ours_is_the_apps(relay: Relay, value: str) -> None:
    assert await relay.sends([value]) is None
    assert relay.provider.calls == []


@pytest.mark.parametrize(
    "issuer", ["https://other.example", ISSUER + ".evil", ISSUER.upper(), "", 7, None, ISSUER[:-1]]
)
async def test_a_token_of_an_issuer_nobody_named_is_the_apps(relay: Relay, issuer: Any) -> None:
    assert await relay.shows(relay.token(iss=issuer)) is None
    assert relay.provider.calls == []


async def test_row24_a_payload_that_two_readers_read_differently_is_nobodys_token(relay: Relay) -> None:
    for payload in (
        b'{"iss":"%b","iss":"x"}' % ISSUER.encode(),
        b"[" * 60_000,
        b'{"iss":"\\ud800"}',
        b"\xff",
        b"1e999",
    ):
        assert await relay.shows(f"{b64url(b'{}')}.{b64url(payload)}.AAAA") is None
    assert relay.provider.calls == []


@given(value=st.binary(max_size=200) | st.builds(b"Bearer ".__add__, st.binary(max_size=200)))
def test_reading_whatever_stands_in_the_field_never_fails(value: bytes) -> None:
    assert isinstance(may_be_token(value), bool)
    assert isinstance(claimed_issuer(token_in(value)), str)


@given(text=st.text(alphabet="abcXYZ019-_.=", max_size=80))
def test_what_names_an_issuer_has_the_form_of_a_token(text: str) -> None:
    if claimed_issuer(text):
        assert may_be_token(f"Bearer {text}".encode())


# Bad tokens of ours

NOW = int(Clock()())
BAD: dict[str, tuple[Callable[[Relay], str], str]] = {
    "row1 none": (lambda relay: unsigned(relay, "none"), "missing"),
    "row1 nOnE": (lambda relay: unsigned(relay, "nOnE", "AAAA"), "algorithm"),
    "row1 cut": (lambda relay: relay.token().rpartition(".")[0] + ".", "missing"),
    "row2 hmac": (lambda relay: hmac_by_public_key(relay), "algorithm"),
    "row3 jwk": (lambda relay: relay.token(key=OTHER_RSA_KEY, header={"jwk": public(OTHER_RSA_KEY)}), "signature"),
    "row3 jku": (lambda relay: relay.token(key=OTHER_RSA_KEY, header={"jku": "https://evil.example/k"}), "signature"),
    "row4 crit": (lambda relay: relay.token(header={"crit": ["x"], "x": 1}), "demands"),
    "row5 kid": (lambda relay: relay.token(header={"kid": "../../x"}), "no key"),
    "row5 long kid": (lambda relay: relay.token(header={"kid": "k" * 2000}), "kid"),
    "row7 aud": (lambda relay: relay.token(aud="other"), "aud"),
    "row7 no aud": (lambda relay: relay.token(aud=MISSING), "aud"),
    "row7 empty aud": (lambda relay: relay.token(aud=[]), "aud"),
    "row7 odd aud": (lambda relay: relay.token(aud=[CLIENT_ID, 7]), "aud"),
    "row8 two aud": (lambda relay: relay.token(aud=[CLIENT_ID, "evil"]), "others too"),
    "row8 azp": (lambda relay: relay.token(aud=[CLIENT_ID, "evil"], azp="evil"), "others too"),
    "row8 client_id": (lambda relay: relay.token(aud=[CLIENT_ID, "evil"], azp="evil", client_id=CLIENT_ID), "others"),
    "row8 odd azp": (lambda relay: relay.token(aud=[CLIENT_ID, "evil"], azp=[CLIENT_ID]), "others too"),
    "row9 slash": (lambda relay: relay.token(iss=ISSUER + "/"), "to the letter"),
    "row10 past": (lambda relay: relay.token(exp=NOW - LEEWAY - 1), "expired"),
    "row10 no exp": (lambda relay: relay.token(exp=MISSING), "exp"),
    "row10 text": (lambda relay: relay.token(exp=str(NOW + 300)), "exp"),
    "row10 bool": (lambda relay: relay.token(exp=True), "exp"),
    "row10 huge": (lambda relay: relay.token(exp=10**400), "unreadable"),
    "row11 iat": (lambda relay: relay.token(iat=NOW + 3600), "future"),
    "row11 iat text": (lambda relay: relay.token(iat="now"), "iat"),
    "row11 nbf": (lambda relay: relay.token(nbf=NOW + 3600), "future"),
    "row14 no sub": (lambda relay: relay.token(sub=MISSING), "sub"),
    "row14 empty sub": (lambda relay: relay.token(sub=""), "sub"),
    "row14 number": (lambda relay: relay.token(sub=7), "sub"),
    "row14 long": (lambda relay: relay.token(sub="s" * 256), "sub"),
    "row14 nul": (lambda relay: relay.token(sub="a\x00b"), "sub"),
    "row16 logout typ": (lambda relay: relay.token(header={"typ": "logout+jwt"}), "another kind"),
    "row16 event": (lambda relay: relay.token(events={"https://x/backchannel-logout": {}}), "event"),
    "row16 dpop": (lambda relay: relay.token(header={"typ": "dpop+jwt"}), "another kind"),
    "row16 typ": (lambda relay: relay.token(header={"typ": 7}), "another kind"),
    "bound": (lambda relay: relay.token(cnf={"jkt": "x"}), "bound to a key"),
}  # fmt: skip


def unsigned(relay: Relay, algorithm: str, signature: str = "") -> str:
    header = b64url(json.dumps({"alg": algorithm, "kid": "k1"}).encode())
    return f"{header}.{b64url(json.dumps(relay.claims()).encode())}.{signature}"


def hmac_by_public_key(relay: Relay) -> str:
    signed = unsigned(relay, "HS256").rpartition(".")[0]
    return f"{signed}.{b64url(hmac.digest(RSA_KEY.as_pem(private=False), signed.encode(), 'sha256'))}"


@every("case", BAD)
async def test_a_bad_token_of_ours_is_refused_at_its_check(relay: Relay, case: str) -> None:
    """Rows 1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 14, 16, 28."""
    make, reason = BAD[case]

    assert reason in await relay.refuses(make(relay))
    assert relay.finds(make(relay)) is None


async def test_an_id_token_of_a_login_at_another_client_opens_nothing(relay: Relay) -> None:
    """Row 28. Its client is an audience that is taken here, and a person was signed in by it."""
    bearer = by_login("v1", CLIENT_ID, "https://api.example")

    assert "another client" in await relay.refuses(relay.token(aud="https://api.example", nonce="n"), bearer)
    assert "another client" in await relay.refuses(relay.token(aud=AUDIENCE, nonce="n"), by_ci())
    await relay.admits(relay.token(aud="https://api.example"), bearer)


async def test_an_algorithm_the_issuer_does_not_advertise_is_refused(relay: Relay) -> None:
    assert "algorithm" in await relay.refuses(relay.token(header={"alg": "RS512"}))


async def test_two_authorization_fields_are_refused_whatever_they_hold(relay: Relay) -> None:
    good = f"Bearer {relay.token()}"

    for values in ([good, good], ["Basic x", good], [good, "Basic x"]):
        found = await relay.sends(values)
        assert isinstance(found, TokenRefused)
        assert found.code == "bearer_invalid"


async def test_tokens_of_one_tenants_issuer_open_nothing_at_anothers(relay: Relay) -> None:
    """Row 28. An owner who signs whatever he likes names another owner's issuer in it."""
    evil = connection(id="conn-evil", issuer="https://idp.evil.example")
    forged = sign({**relay.claims(), "iss": ISSUER}, key=OTHER_RSA_KEY)

    await relay.refuses(forged)
    both = Bearer((*by_login().issuers, TokenIssuer(connection=evil, audiences=frozenset({CLIENT_ID}))), "v2")
    await relay.refuses(forged, both)


# Rules


async def test_the_rules_for_people_hold_for_programs_of_the_same_issuer(relay: Relay) -> None:
    bearer = by_login(rules=Rules(domains=frozenset({"acme.example"})))

    await relay.admits(relay.token(email="bot@acme.example", email_verified=True), bearer)
    for claims in ({}, {"email": "bot@acme.example"}, {"email": "bot@evil.example", "email_verified": True}):
        assert await relay.shows(relay.token(**claims), bearer) == TokenRefused(
            "bearer_not_admitted", "email" if len(claims) == 2 else "email_unverified"
        )


async def test_claims_are_read_as_the_owner_said_and_userinfo_is_not_asked(relay: Relay) -> None:
    rules = Rules(groups=frozenset({"ops"}), emails=frozenset({"bot@acme.example"}))
    bearer = by_login(rules=rules, groups_claim="realm_access.roles", email_verified="text")
    claims = {"email": "bot@acme.example", "email_verified": "true", "realm_access": {"roles": ["ops"]}}

    program = await relay.admits(relay.token(**claims), bearer)
    assert program.identity.groups == ("ops",)
    assert isinstance(await relay.shows(relay.token(email="bot@acme.example"), bearer), TokenRefused)
    assert relay.provider.calls_to("/userinfo") == []


async def test_an_extra_issuers_own_rules_decide_and_nobody_elses(relay: Relay) -> None:
    bearer = by_ci(("repository", "acme/app"), ("ref", "refs/heads/main"))

    await relay.admits(relay.token(aud=AUDIENCE, repository="acme/app", ref="refs/heads/main"), bearer)
    for claims in ({"repository": "acme/app"}, {"repository": "evil/app", "ref": "refs/heads/main"}):
        found = await relay.shows(relay.token(aud=AUDIENCE, **claims), bearer)
        assert found == TokenRefused("bearer_not_admitted", "claim")


async def test_what_is_asked_of_peoples_logins_is_asked_of_tokens_of_the_same_issuer(relay: Relay) -> None:
    strong = by_login(required_acr=frozenset({"mfa"}))
    await relay.admits(relay.token(acr="mfa"), strong)
    for claims in ({}, {"acr": "pwd"}, {"acr": ["mfa"]}):
        assert "acr" in await relay.refuses(relay.token(**claims), strong)

    recent = by_login(max_age=600)
    program = await relay.admits(relay.token(auth_time=NOW - 600, exp=NOW + 9000), recent)
    assert program.expires_at == NOW + LEEWAY
    for claims in ({}, {"auth_time": NOW - 601 - LEEWAY}, {"auth_time": "now"}):
        await relay.refuses(relay.token(**claims), recent)


# Floods


async def test_a_flood_of_bad_tokens_is_told_to_wait_and_reads_no_more(relay: Relay) -> None:
    good, bad = relay.token(), relay.token(aud="other")
    await relay.admits(good)
    for _ in range(BURST_REFUSED):
        await relay.refuses(bad)

    assert await relay.shows(bad) == TokenRefused("too_many_requests", "", 1)
    assert await relay.shows(relay.token(sub="new")) == TokenRefused("too_many_requests", "", 1)
    assert await relay.shows(relay.token(iss="https://the-apps-own.example")) is None
    await relay.admits(good)  # known, and costs nothing
    assert relay.audit.take()[-1].reason == "bearer_tokens"
    relay.monotonic.now += 1 / REFUSED_PER_SECOND
    await relay.admits(relay.token(sub="new"))


async def test_bad_tokens_at_one_endpoint_or_from_one_address_slow_nobody_else(relay: Relay) -> None:
    bad, bearer = relay.token(aud="other"), by_login()
    for _ in range(BURST_REFUSED):
        await relay.shows(bad, host=EVIL)

    await relay.admits(relay.token())
    shown = [f"Bearer {relay.token(sub='b')}".encode()]
    assert isinstance(await relay.bearers.judge(bearer, EVIL, shown, peer="192.0.2.2", request_id="r"), Program)
    assert await relay.shows(bad, host=EVIL) == TokenRefused("too_many_requests", "", 1)


async def test_a_token_of_great_length_is_nobodys(relay: Relay) -> None:
    assert isinstance(await relay.shows(relay.token(x="x" * 11_000)), Program)
    assert await relay.shows(relay.token(x="x" * 13_000)) is None


# The issuer's keys


async def test_row26_a_new_key_is_fetched_once_and_the_old_ones_tokens_end(relay: Relay) -> None:
    old = relay.token()
    await relay.admits(old)
    relay.provider.jwks = {"keys": [public(OTHER_RSA_KEY)]}
    relay.clock.now += KEYS_AGAIN_SECONDS
    relay.monotonic.now += KEYS_AGAIN_SECONDS

    await relay.admits(relay.token(key=OTHER_RSA_KEY, header={"kid": "k2"}))
    assert relay.finds(old) is None
    assert "no key" in await relay.refuses(old)


async def test_row27_a_flood_of_unknown_keys_becomes_one_fetch(relay: Relay) -> None:
    await relay.admits(relay.token())
    relay.clock.now += KEYS_AGAIN_SECONDS
    for number in range(50):
        await relay.refuses(relay.token(header={"kid": f"random-{number}"}))

    assert len(relay.provider.calls_to("/jwks")) == 2


async def test_without_the_issuers_keys_nobody_is_let_in(relay: Relay) -> None:
    relay.provider.answers["/jwks"] = as_json({}, 503)
    assert await relay.shows(relay.token()) == TokenRefused("provider_error", "")

    away = Relay()
    away.provider.answers["/.well-known/openid-configuration"] = TimeoutError()
    assert await away.shows(away.token()) == TokenRefused("provider_unreachable", "")


# Memory


async def test_a_good_token_is_remembered_and_signed_for_once(relay: Relay) -> None:
    token = relay.token()
    first = await relay.admits(token)

    assert relay.finds(token) is first
    assert await relay.admits(token) is first
    assert relay.finds(token, host=EVIL) is None
    assert relay.finds(relay.token(sub="other")) is None


async def test_it_is_looked_at_again_after_a_minute(relay: Relay) -> None:
    token = relay.token()
    await relay.admits(token)

    relay.monotonic.now += CHECKED_SECONDS - 1
    assert relay.finds(token) is not None
    relay.monotonic.now += 1
    assert relay.finds(token) is None
    await relay.admits(token)


async def test_it_is_looked_at_again_after_a_minute_also_when_the_clock_was_set_back(relay: Relay) -> None:
    token = relay.token()
    await relay.admits(token)

    relay.clock.now -= 86_400
    relay.monotonic.now += CHECKED_SECONDS
    assert relay.finds(token) is None
    assert "future" in await relay.refuses(token)


async def test_it_is_not_remembered_beyond_its_end(relay: Relay) -> None:
    token = relay.token(exp=NOW - LEEWAY + 10)
    program = await relay.admits(token)

    relay.clock.now += 10
    assert relay.finds(token) is None
    assert program.is_over(by_login(), relay.clock())
    relay.clock.now += 1
    assert "expired" in await relay.refuses(token)


async def test_other_rules_make_it_be_looked_at_again(relay: Relay) -> None:
    token = relay.token()
    program = await relay.admits(token)
    narrower = by_login("v2", rules=Rules(emails=frozenset({"a@acme.example"})))

    assert relay.finds(token, narrower) is None
    assert program.is_over(narrower, relay.clock())
    assert program.is_over(None, relay.clock())
    assert not program.is_over(by_login(), relay.clock())
    assert isinstance(await relay.shows(token, narrower), TokenRefused)


async def test_row127_memory_has_a_limit_for_each_endpoint_and_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bearer_module, "MAX_TOKENS", 3)
    monkeypatch.setattr(bearer_module, "MAX_HOSTS", 2)
    relay = Relay()
    tokens = [relay.token(sub=f"s{number}") for number in range(5)]
    kept = relay.token(sub="kept")
    await relay.shows(kept, host=EVIL)
    for token in tokens:
        await relay.admits(token)

    assert [relay.finds(token) is not None for token in tokens] == [False, False, True, True, True]
    assert relay.finds(kept, host=EVIL) is not None
    for number in range(3):
        await relay.shows(kept, host=f"h{number}.tun.example")
    hosts = [EVIL, *(f"h{number}.tun.example" for number in range(3))]
    assert [relay.finds(kept, host=host) is not None for host in hosts] == [False, False, True, True]


async def test_refused_tokens_leave_nothing_behind(relay: Relay) -> None:
    for number in range(20):
        await relay.refuses(relay.token(aud=f"other-{number}"))

    assert table(relay.bearers, bound_of("endpoints with remembered tokens")) == {}


async def test_row158_what_is_told_of_a_refused_token_holds_nothing_out_of_it(relay: Relay) -> None:
    canary = "canary-7f3a"
    for changes in ({"aud": canary}, {"sub": canary * 30}, {"exp": canary}, {"iss": f"{ISSUER}/", "jti": canary}):
        token = relay.token(**changes)
        found = await relay.shows(token)
        assert canary not in repr(found)
        assert token not in repr(found)
    events = relay.audit.take()

    assert [event.kind for event in events] == ["bearer.refused"] * 4
    assert canary not in repr(events)


async def test_a_program_in_a_log_shows_neither_token_nor_assertion(relay: Relay) -> None:
    token = relay.token()
    program = await relay.admits(token)

    assert token not in repr(program)
    assert "X-Tunnel-Assertion" not in repr(program)


@settings(max_examples=200)
@given(at=st.integers(min_value=0), bit=st.integers(min_value=0, max_value=7))
async def test_any_changed_bit_of_a_token_makes_it_worthless(at: int, bit: int) -> None:
    relay = Relay()
    token = bytearray(relay.token().encode())
    token[at % len(token)] ^= 1 << bit
    found = await relay.sends([f"Bearer {token.decode('latin-1')}"])

    assert not isinstance(found, Program)
