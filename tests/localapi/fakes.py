"""The local API of an agent whose relay and local services are fakes."""

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from tests.agent.fakes import Diary, FakeRelay, FakeUpstream, make_agent
from tunnelctl.agent.agent import Agent
from tunnelctl.cli.settings import build_tunnel
from tunnelctl.localapi.api import LocalApi
from tunnelctl.localapi.message import ApiAnswer, ApiError, ApiRequest


@dataclass(slots=True)
class Api:
    """The API, asked without a network."""

    api: LocalApi
    agent: Agent
    relay: FakeRelay

    async def ask(self, method: str, path: str, body: Any = None, **fields: str) -> ApiAnswer:
        """The answer as a client gets it; `body` is sent as JSON."""
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        if body is not None:
            fields.setdefault("content_type", "application/json")
        host = fields.pop("host", "127.0.0.1:4040")
        named = {name.replace("_", "-"): value for name, value in fields.items()}
        try:
            return await self.api.answer(ApiRequest(method=method, path=path, host=host, fields=named, body=data))
        except ApiError as error:
            return error.answer()

    async def json(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and JSON of the answer."""
        answer = await self.ask(method, path, body)
        return answer.status, json.loads(answer.body) if answer.body else None


@contextlib.asynccontextmanager
async def api(relay: FakeRelay | None = None, *, waits: bool = True, **kwargs: Any) -> AsyncIterator[Api]:
    """The API of an agent without tunnels.

    Args:
        waits: Until the agent is online.
        kwargs: As `make_agent` takes them.
    """
    relay = relay or FakeRelay()
    kwargs = {"tunnels": (), "upstream": FakeUpstream(), **kwargs}
    async with make_agent(relay, Diary(), **kwargs) as agent:
        if waits:
            await agent.online()
        yield Api(LocalApi(agent, lambda definition: build_tunnel(definition, {}), version="3.9.9"), agent, relay)
