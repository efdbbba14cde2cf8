"""What one owner may take of a relay, however many tokens and links he does it with. Row 125."""

import pytest

from tests.agents.conftest import flags
from tests.support.scripted_agent import ScriptedAgent
from tunnelctl.link.dial import DialFailed
from tunnelctl.wire.messages import Bind, Bound, PolicySpec, Refused
from tunnelrelay.agents import quotas, session
from tunnelrelay.agents.accept import SHORTEST_WAIT
from tunnelrelay.agents.authtokens import create
from tunnelrelay.agents.quotas import (
    BURST_NEW_NAMES,
    BURST_SETTINGS,
    MAX_LINKS,
    MAX_OWNERS_LINKS,
    NEW_NAMES_PER_SECOND,
    OwnerQuotas,
)
from tunnelrelay.app.relay import Relay
from tunnelrelay.config.config import load_config
from tunnelrelay.registry.registry import MAX_OWNERS_RULES

TOKENS = {"domain": "tun.example", "public_url": "https://*.tun.example"}


def test_one_owner_has_no_more_links_than_his_share_and_gets_back_what_he_gives_back():
    held = OwnerQuotas(lambda: 0.0)
    count = sum(held.open_link("mallory", number) for number in range(MAX_LINKS))

    assert count == MAX_OWNERS_LINKS
    assert not held.open_link("mallory", count)
    assert held.open_link("ann", count)
    held.close_link("mallory")
    assert held.open_link("mallory", count)


def test_where_links_are_few_already_a_share_is_smaller():
    held = OwnerQuotas(lambda: 0.0)
    nearly_all = MAX_LINKS - 100
    count = 0
    while held.open_link("mallory", nearly_all + count):
        count += 1

    assert count < 50
    assert held.open_link("ann", nearly_all + count)


def test_one_owners_binds_take_nothing_of_anothers():
    now = [0.0]
    held = OwnerQuotas(lambda: now[0])

    assert not any(held.take_claim("mallory") for _ in range(BURST_NEW_NAMES))
    assert held.take_claim("mallory") == 1
    assert held.take_claim("ann") == 0
    now[0] += 1 / NEW_NAMES_PER_SECOND
    assert held.take_claim("mallory") == 0


async def opened(relay: Relay, owner: str) -> ScriptedAgent:
    """By a token of its own."""
    text, _ = await create(relay.store, owner)
    agent = ScriptedAgent()
    assert relay.http is not None
    await agent.connect(relay.http[1], token=text)
    return agent


async def test_with_ever_new_tokens_an_owner_opens_no_more_links_and_others_do(tmp_path, monkeypatch):
    monkeypatch.setattr(quotas, "MAX_OWNERS_LINKS", 2)
    async with Relay(load_config(flags=flags(tmp_path, **TOKENS), env={})) as relay:
        links = [await opened(relay, "mallory") for _ in range(2)]
        with pytest.raises(DialFailed) as caught:
            await opened(relay, "mallory")
        assert (caught.value.status, relay.metrics.counts["limited"]) == (503, {"owner_links": 1})
        assert (caught.value.wait, caught.value.error) == (SHORTEST_WAIT, "too_many_agents")
        assert isinstance(await (await opened(relay, "ann")).bind("app"), Bound)
        await links[0].close()
        await links[1].round_trip()
        assert isinstance(await (await opened(relay, "mallory")).bind("more"), Bound)


async def test_an_owner_holds_no_more_names_than_his_share_over_all_his_links(tmp_path, monkeypatch):
    monkeypatch.setattr(session, "MAX_OWNERS_NAMES", 2)
    async with Relay(load_config(flags=flags(tmp_path, **TOKENS), env={})) as relay:
        first, second = await opened(relay, "mallory"), await opened(relay, "mallory")
        assert isinstance(await first.bind("one"), Bound)
        assert isinstance(await second.bind("two"), Bound)
        refused = await second.bind("three")
        assert isinstance(refused, Refused)
        assert refused.code == "too_many"
        assert isinstance(await second.bind("one"), Bound)  # his already
        assert isinstance(await (await opened(relay, "ann")).bind("three"), Bound)


async def test_whoever_binds_ever_new_names_on_many_links_is_put_off_and_nobody_else(tmp_path, monkeypatch):
    monkeypatch.setattr(quotas, "BURST_NEW_NAMES", 4)
    monkeypatch.setattr(quotas, "NEW_NAMES_PER_SECOND", 1e-6)
    async with Relay(load_config(flags=flags(tmp_path, **TOKENS), env={})) as relay:
        links = [await opened(relay, "mallory") for _ in range(3)]
        answers = [
            await link.say(Bind(tunnel=number, name="x", upstream="http://localhost"))
            for number in (1, 2)
            for link in links
        ]
        assert [isinstance(answer, Bound) for answer in answers] == [True] * 4 + [False] * 2
        assert {answer.code for answer in answers if isinstance(answer, Refused)} == {"try_later"}
        assert isinstance(await (await opened(relay, "ann")).bind("app"), Bound)


def test_small_settings_cost_an_owner_nothing_and_large_ones_come_back_with_time():
    now = [0.0]
    held = OwnerQuotas(lambda: now[0])

    assert not any(held.take_settings("mallory", 1023) for _ in range(100_000))
    assert not any(held.take_settings("mallory", 32 * 1024) for _ in range(BURST_SETTINGS // 32))
    wait = held.take_settings("mallory", 32 * 1024)
    assert 0 < wait <= 2
    assert held.take_settings("ann", 32 * 1024) == 0
    assert held.take_settings("mallory", 1023) == 0
    now[0] += wait
    assert held.take_settings("mallory", 32 * 1024) == 0


def test_all_settings_an_owner_may_have_can_be_bound_again_at_once():
    assert 2 * MAX_OWNERS_RULES <= BURST_SETTINGS * 1024


async def test_an_owner_who_binds_large_settings_without_end_is_put_off_and_nobody_else(tmp_path, monkeypatch):
    monkeypatch.setattr(quotas, "BURST_SETTINGS", 40)
    monkeypatch.setattr(quotas, "SETTINGS_PER_SECOND", 1e-6)
    large = PolicySpec(cidr_allow=tuple(f"2001:db8:{number:x}::/48" for number in range(900)))
    async with Relay(load_config(flags=flags(tmp_path, **TOKENS), env={})) as relay:
        links = [await opened(relay, "mallory") for _ in range(3)]
        answers = [await link.bind("one", policy=large) for link in links]

        assert [isinstance(answer, Bound) for answer in answers] == [True, True, False]
        assert isinstance(answers[2], Refused)
        assert answers[2].code == "try_later"
        assert isinstance(await links[2].bind("two"), Bound)
        assert isinstance(await (await opened(relay, "ann")).bind("three", policy=large), Bound)
