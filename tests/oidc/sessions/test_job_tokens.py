"""ID tokens of CI jobs against an issuer and jobs that lie: who may connect as an agent, and who may not."""

import asyncio
import hmac
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws

from tests.oidc.world import ISSUER, OTHER_RSA_KEY, RSA_KEY, Clock, Gate, LyingProvider, public
from tests.support.every import every
from tests.support.memory_store import MemoryStore
from tunnelctl.oidc.base64url import b64url
from tunnelrelay.oidc.providers.fetch import Fetcher
from tunnelrelay.oidc.providers.provider import ProviderClient
from tunnelrelay.oidc.sessions.job_tokens import MAX_AGE, JobTokens
from tunnelrelay.oidc.tokens.id_token import LEEWAY
from tunnelrelay.policy.trust import JobAdmitted, JobRefused, TrustRule
from tunnelrelay.store.base import StoreError
from tunnelrelay.store.resources import TrustRuleRow

AUDIENCE = "https://tun.example"
MISSING = object()


def row(number: int = 1, **changes: Any) -> TrustRuleRow:
    fields: dict[str, Any] = {
        "id": f"trust_{number}",
        "owner": "acme",
        "created_at": 1.0,
        "updated_at": 1.0,
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "claims": (("project_id", "42"),),
        "acl": ("bind:pr-*",),
    }
    return TrustRuleRow(**{**fields, **changes})


class Relay:
    """What a relay knows of jobs, and the issuer it asks."""

    def __init__(self, configured: tuple[TrustRule, ...] = (), refusal: str = "") -> None:
        self.clock = Clock()
        self.provider = LyingProvider(clock=self.clock)
        self.store = MemoryStore()
        self.jobs = JobTokens(
            self.store,
            ProviderClient(fetcher=Fetcher(self.provider, total_seconds=0.5), clock=self.clock),
            configured=configured,
            key=b"k" * 32,
            refuses_issuer=lambda issuer: refusal,
            clock=self.clock,
        )

    def claims(self, **changes: Any) -> dict[str, Any]:
        now = int(self.clock())
        honest = {"iss": ISSUER, "aud": AUDIENCE, "sub": "project:42", "project_id": "42", "iat": now, "exp": now + 300}
        return {name: value for name, value in {**honest, **changes}.items() if value is not MISSING}

    def token(self, *, key: Any = RSA_KEY, header: dict[str, Any] | None = None, **changes: Any) -> str:
        fields = {"alg": "RS256", "kid": "k1", "typ": "JWT", **(header or {})}
        signed = f"{b64url(json.dumps(fields).encode())}.{b64url(json.dumps(self.claims(**changes)).encode())}"
        return f"{signed}.{b64url(jws.JWSRegistry.algorithms[fields['alg']].sign(signed.encode(), key))}"

    async def refuses(self, token: str) -> JobRefused:
        judged = await self.jobs.judge(token)
        assert isinstance(judged, JobRefused), judged
        return judged

    async def admits(self, token: str) -> JobAdmitted:
        judged = await self.jobs.judge(token)
        assert isinstance(judged, JobAdmitted), judged
        return judged


@pytest.fixture
async def relay() -> Relay:
    found = Relay()
    await found.store.trust_rules.add(row())
    return found


async def test_a_job_that_a_rule_names_gets_what_the_rule_grants(relay: Relay) -> None:
    admitted = await relay.admits(relay.token(project_path="acme/app", job_id="7"))

    assert (admitted.owner, admitted.acl, admitted.credential_id) == ("acme", ("bind:pr-*",), "trust_1")
    assert admitted.job == "acme/app run 7"


async def test_a_token_may_be_shown_again_while_it_is_good_and_not_after(relay: Relay) -> None:
    token = relay.token()

    assert await relay.admits(token) == await relay.admits(token)
    relay.clock.now += 300 + LEEWAY + 1
    assert "expired" in (await relay.refuses(token)).reason


NOW = int(Clock()())
BAD: dict[str, tuple[Callable[[Relay], str], str]] = {
    "alg none": (lambda relay: unsigned(relay, "none"), "missing"),
    "alg None": (lambda relay: unsigned(relay, "None", "AAAA"), "algorithm"),
    "hmac by the public key": (lambda relay: hmac_by_public_key(relay), "algorithm"),
    "another key": (lambda relay: relay.token(key=OTHER_RSA_KEY), "signature"),
    "its own key": (lambda relay: relay.token(key=OTHER_RSA_KEY, header={"jwk": public(OTHER_RSA_KEY)}), "signature"),
    "another algorithm": (lambda relay: relay.token(header={"alg": "RS512"}), "algorithm"),
    "another kind": (lambda relay: relay.token(header={"typ": "logout+jwt"}), "another kind"),
    "another audience": (lambda relay: relay.token(aud="https://other.example"), "aud"),
    "no audience": (lambda relay: relay.token(aud=MISSING), "aud"),
    "further audiences": (lambda relay: relay.token(aud=[AUDIENCE, "evil"]), "others too"),
    "a slash more": (lambda relay: relay.token(iss=f"{ISSUER}/"), "to the letter"),
    "past": (lambda relay: relay.token(exp=NOW - LEEWAY - 1), "expired"),
    "without an end": (lambda relay: relay.token(exp=MISSING), "exp"),
    "not yet": (lambda relay: relay.token(nbf=NOW + LEEWAY + 1), "future"),
    "made later": (lambda relay: relay.token(iat=NOW + LEEWAY + 1), "future"),
    "made long ago": (lambda relay: relay.token(iat=NOW - MAX_AGE - LEEWAY - 1, exp=NOW + 9e6), "too long ago"),
    "without a beginning": (lambda relay: relay.token(iat=MISSING), "iat"),
    "no subject": (lambda relay: relay.token(sub=MISSING), "sub"),
    "bound to a key": (lambda relay: relay.token(cnf={"jkt": "x"}), "bound to a key"),
    "of a login": (lambda relay: relay.token(nonce="n"), "another client"),
}  # fmt: skip


def unsigned(relay: Relay, algorithm: str, signature: str = "") -> str:
    header = b64url(json.dumps({"alg": algorithm, "kid": "k1"}).encode())
    return f"{header}.{b64url(json.dumps(relay.claims()).encode())}.{signature}"


def hmac_by_public_key(relay: Relay) -> str:
    signed = unsigned(relay, "HS256").rpartition(".")[0]
    return f"{signed}.{b64url(hmac.digest(RSA_KEY.as_pem(private=False), signed.encode(), 'sha256'))}"


@every("case", BAD)
async def test_a_bad_token_is_refused_at_its_check(relay: Relay, case: str) -> None:
    """Rows 1, 2, 3, 7, 8, 9, 10, 11, 14, 16, 28."""
    make, reason = BAD[case]

    refused = await relay.refuses(make(relay))

    assert refused.code == "job_token_invalid"
    assert reason in refused.reason
    assert make(relay) not in refused.reason
    assert refused.job == ""  # nothing of a token that is not genuine is believed


@pytest.mark.parametrize(
    "issuer", ["https://other.example", f"{ISSUER}.evil", ISSUER.upper(), "", 7, None, "\x00", "a" * 9000]
)
async def test_a_token_of_an_issuer_that_no_rule_names_is_not_looked_at(relay: Relay, issuer: Any) -> None:
    assert await relay.jobs.judge(relay.token(iss=issuer)) is None
    assert relay.provider.calls == []


@given(text=st.text(alphabet="eyJabc019-_.=", max_size=80))
def test_whatever_is_shown_is_judged_without_an_error(text: str) -> None:
    assert asyncio.run(Relay().jobs.judge(text)) is None


async def test_a_job_of_another_project_is_told_which_claims_do_not_fit(relay: Relay) -> None:
    token = relay.token(project_id="43", project_path="mallory/app")

    refused = await relay.refuses(token)

    assert refused.code == "job_not_admitted"
    assert "`project_id` (it is '43')" in refused.reason
    assert "mallory/app" in refused.reason
    assert token not in refused.reason
    assert token.split(".")[2] not in refused.reason


async def test_a_rule_for_another_audience_admits_none_of_this_one(relay: Relay) -> None:
    await relay.store.trust_rules.add(
        row(2, audience="https://other.example", claims=(("project_id", "7"),), owner="x")
    )

    assert "`aud`" in (await relay.refuses(relay.token(aud="https://other.example"))).reason
    assert (await relay.admits(relay.token(aud="https://other.example", project_id="7"))).owner == "x"


async def test_an_issuer_that_the_relay_does_not_call_admits_no_job() -> None:
    relay = Relay(refusal="its port is not called")
    await relay.store.trust_rules.add(row())

    assert await relay.jobs.judge(relay.token()) is None
    assert relay.provider.calls == []


async def test_an_issuer_that_does_not_answer_is_no_refusal_of_the_job(relay: Relay) -> None:
    relay.provider.answers["/jwks"] = httpx.ConnectError("away")

    assert (await relay.refuses(relay.token())).code == "relay_busy"


async def test_a_store_that_is_away_is_no_refusal_of_the_job(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(**_: object) -> list[TrustRuleRow]:
        raise StoreError("away")

    monkeypatch.setattr(relay.store.trust_rules, "all", away)

    with pytest.raises(StoreError):
        await relay.jobs.judge(relay.token())


async def test_a_rule_that_is_deleted_while_the_issuer_is_asked_admits_no_job(relay: Relay) -> None:
    gate = relay.provider.gates["/jwks"] = Gate()
    judging = asyncio.create_task(relay.jobs.judge(relay.token()))
    await gate.reached.wait()
    await relay.store.trust_rules.delete("trust_1")
    gate.open()

    assert await judging is None


async def test_rules_of_the_configuration_stand_beside_those_of_the_store() -> None:
    one = TrustRule(owner="ops", issuer=ISSUER, audience=AUDIENCE, claims=(("project_id", "42"),), acl=("*",))
    relay = Relay(configured=(one,))

    admitted = await relay.admits(relay.token())

    assert (admitted.owner, admitted.credential_id) == ("ops", "configuration")
