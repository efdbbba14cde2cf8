"""Drivers for what users of the dashboard and the API make the relay keep, and for sign-ins."""

import asyncio
from contextlib import suppress

import pytest

from tests.bounds.driving import drive_bucket, drives, measured, owner, same_table
from tests.manage.people import Office
from tests.support.managed import ANN, BOB, FakeProvider, Managed, actor
from tunnelctl.oidc.findings import Finding
from tunnelctl.wire.messages import OidcSpec
from tunnelrelay.manage.problems import Kind, ManageError
from tunnelrelay.manage.provider_tests import ProviderTests

LOGIN = OidcSpec(issuer="https://idp.example", client_id="c", client_secret="s")


@drives("changes through dashboard and API")
def drive_changes(bound, monkeypatch):
    ground = Managed().ground

    def is_refused() -> bool:
        with suppress(ManageError):
            ground.count_change(ANN)
            return False
        return True

    object.__setattr__(ground, "monotonic", lambda: 0.0)
    drive_bucket(is_refused, bound.limit)
    ground.count_change(BOB)
    same_table(ground.changes, bound)


@drives("failed tests of providers that are remembered")
def drive_failed(bound, monkeypatch):
    tests = ProviderTests(Managed().ground, FakeProvider())
    with measured() as memory:
        for number in range(2 * bound.limit):
            wrong = Finding(topic="keys", level="error", found=f"{number:06d}" + "f" * 1_000)
            tests._note(owner(number), LOGIN, [wrong])
            assert len(tests._failed) <= bound.limit
        assert memory.taken <= bound.worst_bytes


@drives("tests of providers under way")
async def drive_tests(bound, monkeypatch):
    asks = FakeProvider()
    asks.gate = asyncio.Event()
    tests = ProviderTests(Managed().ground, asks)
    calls = [
        asyncio.ensure_future(tests.run(actor(f"user{number // 2}"), LOGIN, owner="ann"))
        for number in range(2 * bound.limit)
    ]
    await asyncio.sleep(0)
    assert len(asks.asked) == tests._running.total() == bound.limit
    asks.gate.set()
    done = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(each, ManageError) and each.kind is Kind.BUSY for each in done) == bound.limit


@drives("tests of providers of one user under way")
async def drive_tests_of_one(bound, monkeypatch):
    asks = FakeProvider()
    asks.gate = asyncio.Event()
    tests = ProviderTests(Managed().ground, asks)
    calls = [asyncio.ensure_future(tests.run(ANN, LOGIN, owner="ann")) for _ in range(2 * bound.limit)]
    await asyncio.sleep(0)
    assert len(asks.asked) == bound.limit
    asks.gate.set()
    await asyncio.gather(*calls, return_exceptions=True)


@drives("tests of providers")
async def drive_tests_begun(bound, monkeypatch):
    tests = ProviderTests(Managed().ground, FakeProvider())
    for _ in range(bound.limit):
        await tests.run(ANN, LOGIN, owner="ann")
    with pytest.raises(ManageError):
        await tests.run(ANN, LOGIN, owner="ann")
    same_table(tests._limit, bound)


async def codes_of(office: Office, count: int, *, text: str = "", peer: str = "") -> list[str]:
    """What comes of so many tries to sign in."""
    codes = []
    for number in range(count):
        with pytest.raises(ManageError) as refused:
            await office.sign_ins.redeem(text or f"code-{number}", peer=peer or f"203.0.113.{number}")
        codes.append(refused.value.code)
    return codes


@drives("tries to sign in")
async def drive_tries(bound, monkeypatch):
    office = Office()
    codes = await codes_of(office, 2 * bound.limit, peer="203.0.113.9")
    assert codes == ["sign_in_refused"] * bound.limit + ["too_often"] * bound.limit
    same_table(office.sign_ins._of_address, bound)


@drives("tries at one code or key")
async def drive_tries_at(bound, monkeypatch):
    office = Office()
    codes = await codes_of(office, 2 * bound.limit, text="leaked")
    assert codes == ["sign_in_refused"] * bound.limit + ["too_often"] * bound.limit
    same_table(office.sign_ins._of_target, bound)
