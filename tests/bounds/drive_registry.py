"""Drivers for what agents and owners make the registry keep, and its rate limits."""

import asyncio
from sys import getsizeof

import pytest

from tests.bounds.driving import drives, host, measured, owner, table
from tests.support.tunnels import FakeLink, fake_tunnel
from tunnelctl.bounds import DeclaredBound
from tunnelrelay.policy.limits import MAX_KEYS, Buckets, RetrySchedule
from tunnelrelay.policy.rules import Policy
from tunnelrelay.registry.edges import EdgeTable, LiveEdge
from tunnelrelay.registry.endpoint import Endpoint
from tunnelrelay.registry.registry import Registry, Taken

WEB = (("app", "web"),)


class OpeningLink(FakeLink):
    """Opens what it is asked to."""

    def open(self, payload: bytes, *, owner: object, fin: bool) -> object:
        self.stream_count += 1
        return object()


def registry() -> Registry:
    return Registry(clock=lambda: 1_800_000_000.0, monotonic=lambda: 1000.0)


@drives("keys of one rate limit, of a dozen")
def drive_keys(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    for keys in (Buckets(10, 1.0), RetrySchedule(1.0, shortest=1, longest=10)):
        keep = keys.wait if isinstance(keys, Buckets) else keys.next
        with measured() as memory:
            for number in range(2 * bound.limit):
                keep(f"2001:db8:ffff:ffff::/64 {host(number)}", 1000.0 + number)
                assert len(keys) <= bound.limit
            assert memory.taken <= bound.worst_bytes
    assert bound.limit == MAX_KEYS


@drives("requests that wait for an agent")
async def drive_held(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = Endpoint("demo.localhost", "ann", 1)
    waiting = [asyncio.ensure_future(endpoint.hold(1000.0)) for _ in range(2 * bound.limit)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    refused = [task for task in waiting if task.done()]
    assert endpoint.held_count == bound.limit
    assert [task.result() for task in refused] == [False] * bound.limit
    endpoint.wake()
    await asyncio.gather(*waiting)


@drives("requests that wait for agents")
async def drive_owners_held(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    """An owner with many names: what waits for each is within its own bound."""
    names = registry()
    for number in range(20):
        names.expect(host(number), "eve")
    names.expect("demo.localhost", "ann")
    endpoints = [names.find(host(number)) for number in range(20)]
    waiting = [asyncio.ensure_future(each.hold(1000.0)) for each in endpoints if each for _ in range(bound.limit // 10)]
    anns = names.find("demo.localhost")
    assert anns is not None
    waiting.append(asyncio.ensure_future(anns.hold(1000.0)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [task.result() for task in waiting if task.done()] == [False] * (len(waiting) - 1 - bound.limit)
    assert (names.held_count, anns.held_count) == (bound.limit + 1, 1)
    for endpoint in endpoints:
        endpoint.wake()  # type: ignore[union-attr]  # all are there
    anns.wake()
    await asyncio.gather(*waiting)
    assert not table(anns, bound)


@drives("tunnels that serve it")
def drive_shared(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    names = registry()
    had = [
        names.claim(fake_tunnel("ann", f"a{number}", pooling=True), "demo.localhost", Policy())
        for number in range(2 * bound.limit)
    ]
    endpoint = names.find("demo.localhost")
    assert endpoint is not None
    assert len(endpoint.tunnels) <= bound.limit + 1
    assert getsizeof(endpoint.tunnels) <= bound.worst_bytes
    assert had[-1] == Taken("demo.localhost", "full")


@drives("edges that a tunnel serves")
def drive_served(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    names = registry()
    table = EdgeTable(names)
    early = fake_tunnel("ann", "a1", labels=WEB)
    table.join(early)
    for number in range(2 * bound.limit):
        table.put(LiveEdge(id=f"e{number}", owner="ann", host=host(number), policy=Policy(), labels=WEB))
        assert len(early.hosts) <= bound.limit
    late = fake_tunnel("ann", "a2", labels=WEB)
    assert len(table.join(late)) == len(early.hosts) == bound.limit
    assert getsizeof(late.hosts) <= bound.worst_bytes


@drives("names whose link was lost")
def drive_lost(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    names = registry()
    with measured() as memory:
        for number in range(bound.limit + bound.limit // 10):
            names.expect(host(number), owner(number))
            assert len(table(names, bound)) <= bound.limit
        assert memory.taken <= bound.worst_bytes
    assert names.find(host(0)) is None
    assert names.find(host(number)) is not None


@drives("settings of all tunnels, as JSON")
def drive_settings(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    names = registry()
    policy = Policy(size=bound.limit // 8)
    had = [names.claim(fake_tunnel("ann", f"a{number}"), host(number), policy) for number in range(16)]
    assert [isinstance(each, Taken) for each in had] == [False] * 8 + [True] * 8
    assert table(names, bound)["ann"] <= bound.limit


@drives("health probes under way")
def drive_probes(bound: DeclaredBound, monkeypatch: pytest.MonkeyPatch) -> None:
    from tunnelrelay.agents.health_probes import HealthProbes

    names = registry()
    links = [OpeningLink() for _ in range(2 * bound.limit)]
    for number, link in enumerate(links):
        tunnel = fake_tunnel("ann", f"a{number}", link=link)
        names.claim(tunnel, host(number), Policy())
        names.mark_unhealthy(tunnel, "no_answer")
    probes = HealthProbes(names, now=lambda: 0.0)
    with measured() as memory:
        for round_ in (1, 2):
            probes.look()
            assert sum(link.stream_count for link in links) <= round_ * bound.limit
        assert memory.taken * 3 / 2 <= bound.worst_bytes
