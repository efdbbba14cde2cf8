"""An API in this process that writes down what it is asked, and answers what the test says."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.support.apps import App, Exchange, running

PATH = "/_tunnel/api"


@dataclass
class FakeApi:
    """The API of a relay on this machine, and the relay's information.

    Attributes:
        asked: Method, target below the API's path, and JSON of the body, in order.
        keys: The `Authorization` of each.
        answers: (status, body) for the next ones; then 200 and `{}`.
        info: What the relay says of itself.
        url: The relay's address.
    """

    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    answers: list[tuple[int, Any]] = field(default_factory=list)
    info: dict[str, Any] = field(default_factory=lambda: {"api_url": "http://127.0.0.1:1/_tunnel/api"})
    url: str = ""

    async def answer(self, exchange: Exchange) -> None:
        body = await exchange.body()
        request = exchange.request
        self.asked.append((request.method, request.target.removeprefix(PATH), json.loads(body) if body else None))
        self.keys.append(request.get("authorization"))
        status, answer = self.answers.pop(0) if self.answers else (200, {})
        text = answer if isinstance(answer, str) else "" if answer is None else json.dumps(answer)
        await exchange.respond(status, text, [("Content-Type", "application/json")])

    async def tell(self, exchange: Exchange) -> None:
        await exchange.respond(200, json.dumps(self.info), [("Content-Type", "application/json")])


@contextmanager
def fake_api() -> Iterator[FakeApi]:
    """One that answers as long as the context lasts."""
    api = FakeApi()
    with running(App({f"{PATH}/": api.answer, "/_tunnel/info": api.tell})) as app:
        api.url = f"http://127.0.0.1:{app.port}"
        yield api


def problem(status: int, code: str, detail: str) -> tuple[int, dict[str, Any]]:
    """What the API answers when it says no."""
    return status, {
        "type": f"urn:tunnel:problem:{code}",
        "title": "No",
        "status": status,
        "detail": detail,
        "error_code": f"ERR_TUNNEL_{code.upper()}",
        "status_code": status,
        "msg": detail,
        "details": {"operation_id": "req_1"},
    }
