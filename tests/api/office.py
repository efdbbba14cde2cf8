"""A relay's services and API on a store in memory, with people and keys, and nothing that listens."""

import time
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.api.asking import ADDRESS, Program
from tests.support.memory_store import MemoryStore
from tunnelrelay.address import PublicAddress
from tunnelrelay.api.app import authenticated, build_routes
from tunnelrelay.app.wiring import Parts, RelayInputs
from tunnelrelay.config.config import RelayConfig
from tunnelrelay.config.values import ListenAddress, PortRange
from tunnelrelay.observe.access import AccessLog
from tunnelrelay.observe.metrics import Metrics
from tunnelrelay.services.actor import Actor
from tunnelrelay.services.services import Services
from tunnelrelay.store.resources import UserRow

OPERATOR = Actor(user_id="", name="operator", owner="default", is_admin=True, via="command")


def nowhere(_request: httpx.Request) -> httpx.Response:
    """The answer of every provider: there is none."""
    raise httpx.ConnectError("nobody is there")


@dataclass
class Clock:
    """Unix time, turned by hand."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Office:
    """See the module.

    Attributes:
        admin, member, outsider: Users; the last two are members of different owners.
    """

    parts: Parts
    app: ASGIApp
    store: MemoryStore
    address: PublicAddress
    clock: Clock
    people: dict[str, UserRow] = field(default_factory=dict)

    @property
    def services(self) -> Services:
        return self.parts.services

    async def key(self, name: str, scopes: Sequence[str] = ("*",), expires_at: float | None = None) -> str:
        """A key of somebody's."""
        user = self.people[name]
        made = await self.services.api_keys.create(OPERATOR, scopes=scopes, expires_at=expires_at, user_id=user.id)
        return made[1]

    async def program(self, name: str, *scopes: str) -> Program:
        """A program with a key of somebody's."""
        return Program(self.app, await self.key(name, scopes or ("*",)), address=self.address)


PORTS = (PortRange(None, 20_000, 29_999),)
"""Never listened at."""
_asked: ContextVar[Services] = ContextVar("services of the office that is asked")


class _Lent:
    """One of the services, of the office that is asked."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(getattr(_asked.get(), self._name), name)


@cache
def api_routes(address: PublicAddress = ADDRESS) -> FastAPI:
    """The routes, which are the same for all offices: to build them takes longer than most tests."""
    lent = SimpleNamespace(**{field.name: _Lent(field.name) for field in fields(Services)})
    return build_routes(cast(Services, lent), address)


def _api(services: Services, address: PublicAddress) -> ASGIApp:
    app = authenticated(api_routes(address), address, services.api_keys)

    async def called(scope: Scope, receive: Receive, send: Send) -> None:
        _asked.set(services)
        await app(scope, receive, send)

    return called


async def open_office(data_dir: Path, address: PublicAddress = ADDRESS) -> Office:
    """An office with `admin`, `member` (of the owner `team`) and `outsider` (of the owner `other`)."""
    store, clock = MemoryStore(), Clock()
    inputs = RelayInputs(
        config=RelayConfig(
            domain=address.domain, http=ListenAddress("127.0.0.1", 0), data_dir=data_dir, tcp_ports=PORTS
        ),
        address=address,
        store=store,
        metrics=Metrics(),
        access=AccessLog(lambda lines: None, is_on=False),
        spawn=lambda work: work.close(),
        clock=clock,
        monotonic=time.monotonic,
        transport=httpx.MockTransport(nowhere),
    )
    parts = Parts(inputs)
    await parts.load()
    office = Office(parts, _api(parts.services, address), store, address, clock)
    for name, owner, role in (
        ("admin", "default", "admin"),
        ("member", "team", "member"),
        ("outsider", "other", "member"),
    ):
        office.people[name] = await parts.services.users.create(OPERATOR, name, owner, role)
        clock.now += 1
    return office
