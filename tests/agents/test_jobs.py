"""CI jobs that connect as agents by their own ID tokens: a whole relay, an issuer, and agents that show such tokens."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.agents.test_door import code, knock
from tests.api.office import OPERATOR
from tests.ingress.conftest import KeptLog
from tests.support.apps import App
from tests.support.issuer import Issuer, issuer
from tests.support.scripted_agent import ScriptedAgent
from tests.support.waiting import turns
from tests.support.world import World, WorldTunnel, tunnel_to, world
from tunnelctl.agent.address import RelayAddress
from tunnelctl.agent.agent import Agent
from tunnelctl.agent.config import AgentConfig
from tunnelctl.agent.job_identity import JobIdentity
from tunnelctl.agent.outcome import NameTaken, NotAllowed
from tunnelctl.wire.messages import Bound, Refused
from tunnelrelay.agents.accept import BURST_TOKENS, JOB_SECONDS
from tunnelrelay.observe.access import journal_line, json_line
from tunnelrelay.services.trust_rules import TrustRules
from tunnelrelay.store.resources import TrustRuleRow

LOOPBACK = ip_network("127.0.0.0/8")
AUDIENCE = "https://tun.example"
JOB = {"repository": "acme/app", "repository_id": "42", "run_id": "1234", "ref": "refs/pull/7/merge"}


@pytest.fixture(scope="module")
def ci() -> Iterator[Issuer]:
    with issuer() as running:
        yield running


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    """A relay that asks for tokens, on loopback, where issuers may be too."""
    async with world(tmp_path / "data", multi_tenant=True) as running:
        yield running


def rules_of(w: World) -> TrustRules:
    return w.relay.parts.services.trust_rules


async def rule(
    w: World, ci: Issuer, *, owner: str = "acme", acl: tuple[str, ...] = ("bind:pr-*",), **changes: Any
) -> TrustRuleRow:
    claims = {"repository_id": "42"}
    what = {"issuer": ci.url, "audience": AUDIENCE, "claims": claims, "acl": acl, "owner": owner, **changes}
    return await rules_of(w).create(OPERATOR, **what)


def token(ci: Issuer, audience: str = AUDIENCE, **claims: Any) -> str:
    return ci.token(audience, **{**JOB, **claims})


async def ended(tunnel: WorldTunnel) -> Any:
    return await tunnel.running


async def test_a_job_publishes_its_app_without_an_authtoken(w: World, ci: Issuer, app: App):
    await rule(w, ci)

    tunnel = await w.tunnel(app.port, subdomain="pr-7", token=token(ci))

    assert (await tunnel.fetch("GET", "/")).status == 200
    assert w.relay.registry.owner_of("pr-7.localhost") == "acme"
    (session,) = w.relay.parts.services.tunnels.sessions(OPERATOR)
    assert (session.owner, session.job) == ("acme", "acme/app run 1234")


async def test_a_name_outside_of_the_rule_is_refused_for_that_name(w: World, ci: Issuer):
    await rule(w, ci)
    agent = ScriptedAgent()
    await agent.connect(w.port, token=token(ci))

    refused, bound = await agent.bind("demo"), await agent.bind("pr-7")
    await agent.close()

    assert isinstance(refused, Refused)
    assert (refused.code, "demo.localhost" in refused.message, "bind:pr-*" in refused.hint) == (
        "not_allowed",
        True,
        True,
    )
    assert isinstance(bound, Bound)


async def test_a_name_of_another_owner_stays_that_owners(w: World, ci: Issuer, app: App):
    made, text = await w.relay.parts.services.credentials.create(OPERATOR, owner="other")
    await w.tunnel(app.port, subdomain="pr-7", token=text)
    await rule(w, ci)

    assert isinstance(await ended(w.agent(app.port, subdomain="pr-7", token=token(ci))), NameTaken)
    assert w.relay.registry.owner_of("pr-7.localhost") == made.owner


async def test_what_no_rule_admits_is_told_why_and_ends(w: World, ci: Issuer, app: App):
    await rule(w, ci)
    shown = token(ci, repository_id="43", repository="mallory/app")

    outcome = await ended(w.agent(app.port, subdomain="pr-7", token=shown))

    assert isinstance(outcome, NotAllowed)
    assert "mallory/app run 1234" in outcome.message
    assert "`repository_id` (it is '43')" in outcome.message
    assert shown not in outcome.message
    (event,) = [event for event in w.relay.parts.audit.take() if event.kind == "job.refused"]
    assert (event.reason, event.details["job"]) == ("job_not_admitted", "mallory/app run 1234")
    assert shown.rpartition(".")[0] not in str(event)


async def test_without_a_rule_about_its_issuer_a_token_is_an_unknown_authtoken(w: World, ci: Issuer):
    assert code(await knock(w.relay, f"Authorization: Bearer {token(ci)}")) == (401, "token_refused")


async def test_a_token_for_another_service_opens_nothing(w: World, ci: Issuer):
    await rule(w, ci)

    answer = await knock(w.relay, f"Authorization: Bearer {token(ci, 'https://other.example')}")

    assert code(answer) == (401, "job_token_invalid")
    assert b"aud" in answer.body


async def test_a_token_beside_another_opens_nothing(w: World, ci: Issuer):
    await rule(w, ci)

    answer = await knock(w.relay, f"Authorization: Bearer {token(ci)}", "Authorization: Bearer x")

    assert answer.status == 401


async def test_a_jobs_token_opens_neither_api_nor_dashboard(w: World, ci: Issuer):
    await rule(w, ci, acl=("*",))
    shown = f"Authorization: Bearer {token(ci)}"

    assert (await knock(w.relay, shown)).status == 101
    assert (await knock(w.relay, shown, target="/_tunnel/api/tunnels", host=f"127.0.0.1:{w.port}")).status == 401


async def test_bad_tokens_without_end_are_slowed_down(tmp_path: Path, ci: Issuer):
    """Row 118. From behind a proxy: loopback itself is not limited."""
    async with world(tmp_path / "data", multi_tenant=True, trusted_proxy=(LOOPBACK,)) as w:
        await rule(w, ci)
        bad = (f"Authorization: Bearer {token(ci, repository_id='1')}", "X-Forwarded-For: 203.0.113.7")
        seen = [code(await knock(w.relay, *bad)) for _ in range(BURST_TOKENS)]

        assert seen == [(403, "job_not_admitted")] * BURST_TOKENS
        assert code(await knock(w.relay, *bad)) == (429, "too_many_requests")


async def test_a_deleted_rule_ends_the_links_that_it_admitted(w: World, ci: Issuer, app: App):
    made = await rule(w, ci)
    tunnel = await w.tunnel(app.port, subdomain="pr-7", token=token(ci))

    await rules_of(w).delete(OPERATOR, made.id)
    outcome = await ended(tunnel)

    assert isinstance(outcome, NotAllowed)
    assert "the trust rule that admitted this job was deleted" in outcome.message
    assert (await tunnel.fetch("GET", "/")).status == 404


async def test_a_rule_that_another_relay_deleted_ends_them_too(w: World, ci: Issuer, app: App):
    made = await rule(w, ci)
    tunnel = await w.tunnel(app.port, subdomain="pr-7", token=token(ci))

    await w.relay.store.trust_rules.delete(made.id)
    await w.relay.parts.revoked.look()

    assert isinstance(await ended(tunnel), NotAllowed)


async def test_a_changed_rule_makes_its_jobs_come_back_under_it(w: World, ci: Issuer, app: App):
    made = await rule(w, ci)
    shown = token(ci)
    kept = await w.tunnel(app.port, subdomain="pr-7", token=shown)

    await rules_of(w).update(OPERATOR, made.id, description="previews")
    assert "lost" not in kept.diary.events
    await rules_of(w).update(OPERATOR, made.id, acl=["bind:pr-7", "bind:demo"])
    await kept.until_started()
    await rules_of(w).update(OPERATOR, made.id, claims={"repository_id": "43"})
    outcome = await ended(kept)

    assert "the trust rules that admitted this job were changed" in kept.diary.lost_for[0]
    assert isinstance(outcome, NotAllowed)
    assert "no trust rule admits acme/app run 1234" in outcome.message


async def test_one_of_two_rules_is_deleted_and_the_job_comes_back_with_what_is_left(w: World, ci: Issuer):
    gone = await rule(w, ci, acl=("bind:demo",))
    await rule(w, ci)
    first, second = ScriptedAgent(), ScriptedAgent()
    await first.connect(w.port, token=token(ci))
    assert isinstance(await first.bind("demo"), Bound)

    await rules_of(w).delete(OPERATOR, gone.id)
    await first.until(lambda: first.closed)
    await second.connect(w.port, token=token(ci))

    assert isinstance(await second.bind("demo"), Refused)
    assert isinstance(await second.bind("pr-7"), Bound)
    await second.close()


async def test_a_rule_of_another_owner_takes_no_jobs_over(w: World, ci: Issuer):
    await rule(w, ci)
    await rule(w, ci, owner="mallory")

    answer = await knock(w.relay, f"Authorization: Bearer {token(ci)}")

    assert code(answer) == (403, "job_not_admitted")
    assert b"several owners" in answer.body


async def test_a_jobs_link_ends_after_some_hours_and_the_agent_comes_back(w: World, ci: Issuer, app: App):
    await rule(w, ci)
    tunnel = await w.tunnel(app.port, subdomain="pr-7", token=token(ci))
    acceptor = w.relay.parts.acceptor
    (session,) = acceptor.sessions
    lasts = session.token.expires_at - session.started_at

    session.token = replace(session.token, expires_at=session.started_at)
    acceptor.expire()
    await tunnel.until_started()

    assert lasts == pytest.approx(JOB_SECONDS, abs=60)
    assert ["link ends after 6 hours" in reason for reason in tunnel.diary.lost_for] == [True]


async def test_logs_and_events_name_the_job_and_never_its_token(w: World, ci: Issuer, app: App, monkeypatch, caplog):
    await rule(w, ci)
    shown, log = token(ci), KeptLog()
    monkeypatch.setattr(w.relay.parts.ingress, "access", log)
    with caplog.at_level("INFO"):
        tunnel = await w.tunnel(app.port, subdomain="pr-7", token=shown)
        await tunnel.fetch("GET", "/hello")
    events = w.relay.parts.audit.take()

    (exchange,) = [each for each in log.kept if each.path == "/hello"]
    assert b'job="acme/app run 1234"' in journal_line(exchange)
    assert b'"job":"acme/app run 1234"' in json_line(exchange)
    assert {event.kind for event in events if event.details.get("job") == "acme/app run 1234"} == {
        "job.admitted",
        "tunnel.bound",
    }
    assert not any(part in caplog.text + str(events) for part in (shown, shown.split(".")[2]))


class GitHub(Issuer):
    """An issuer that gives out tokens as GitHub does, at an address that a job asks with its own credential.

    Attributes:
        audiences: Those that were asked for.
    """

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.audiences: list[str] = []

    def document(self, path: str) -> dict[str, Any] | None:
        url = urlsplit(path)
        if url.path != "/token":
            return super().document(path)
        (audience,) = parse_qs(url.query)["audience"]
        self.audiences.append(audience)
        return {"value": token(self, audience)}


async def test_an_agent_in_a_job_asks_for_a_token_for_this_relay_at_each_connection(w: World, app: App):
    with issuer(GitHub) as github:
        assert isinstance(github, GitHub)
        relay = RelayAddress("http", "127.0.0.1", w.port)
        await rule(w, github, audience=relay.url)
        job = JobIdentity(system="GitHub", request_url=f"{github.url}/token?v=2", request_token="of-the-job")
        agent = Agent(AgentConfig(relay=relay, tunnels=(tunnel_to(app.port, subdomain="pr-7"),), job=job))
        async with agent:
            await agent.online()
            w.relay.parts.acceptor.sessions[0].stop(is_restart=True)
            await turns(lambda: len(github.audiences) == 2)
            await agent.online()

    assert github.audiences == [relay.url] * 2
