"""The ID token of the CI job that an agent runs in: where it comes from, and what is said when there is none."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.support.every import every
from tunnelctl.agent.job_identity import (
    GITLAB_TOKEN,
    MAX_ANSWER,
    REQUEST_TOKEN,
    REQUEST_URL,
    JobIdentity,
    JobTokenAway,
    NoJobToken,
    job_identity,
)

URL = "https://vstoken.actions.example/_apis/token?api-version=2.0"
GITHUB = {"GITHUB_ACTIONS": "true", REQUEST_URL: URL, REQUEST_TOKEN: "request-secret"}
AUDIENCE = "https://tun.example"


class GitHub(httpx.AsyncBaseTransport):
    """Answers as GitHub does, until a test says otherwise."""

    def __init__(self, status: int = 200, body: bytes | None = None) -> None:
        self.status, self.body = status, body
        self.asked: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        body = json.dumps({"count": 1, "value": f"a.b.{len(self.asked)}"}).encode() if self.body is None else self.body
        return httpx.Response(self.status, content=body)


def of(environ: dict[str, str]) -> JobIdentity:
    found = job_identity(environ)
    assert found is not None
    return found


async def test_github_is_asked_for_a_new_token_each_time_with_the_relay_as_audience():
    github, job = GitHub(), of(GITHUB)

    assert [await job.token(AUDIENCE, transport=github) for _ in range(2)] == ["a.b.1", "a.b.2"]
    asked = github.asked[0]
    assert dict(asked.url.params) == {"api-version": "2.0", "audience": AUDIENCE}
    assert asked.headers["authorization"] == "Bearer request-secret"
    assert "request-secret" not in str(asked.url) + repr(job)


async def test_gitlabs_token_is_the_variables():
    job = of({"GITLAB_CI": "true", GITLAB_TOKEN: "a.b.c\n"})

    assert await job.token(AUDIENCE) == "a.b.c"
    assert "a.b.c" not in repr(job)


@pytest.mark.parametrize("missing", [REQUEST_URL, REQUEST_TOKEN])
async def test_a_job_of_github_without_the_permission_or_from_a_fork_is_told_so(missing: str):
    with pytest.raises(NoJobToken, match="GitHub gave this job no identity") as refused:
        await of(GITHUB | {missing: ""}).token(AUDIENCE)

    assert "forks" in refused.value.hint
    assert "id-token: write" in refused.value.hint


async def test_a_job_of_gitlab_that_names_no_token_is_told_what_to_write():
    with pytest.raises(NoJobToken, match="GitLab gave this job no ID token") as refused:
        await of({"GITLAB_CI": "true"}).token(AUDIENCE)

    assert "{TUNNELCTL_ID_TOKEN: {aud: https://tun.example}}" in refused.value.hint


async def test_the_credential_for_tokens_is_sent_over_tls_only():
    github = GitHub()

    with pytest.raises(NoJobToken):
        await of(GITHUB | {REQUEST_URL: "http://tokens.example/"}).token(AUDIENCE, transport=github)

    assert github.asked == []


@every(
    "status, body",
    [
        (500, b"{}"),
        (403, b'{"value": "a.b.c"}'),
        (302, b""),
        (200, b"<html>"),
        (200, b"[]"),
        (200, b'{"value": null}'),
        (200, b'{"value": 7}'),
        (200, b'{"value": ""}'),
        (200, b'{"value": "a\\r\\nX-Evil: 1"}'),
        (200, '{"value": "é"}'.encode()),
        (200, b'{"value": "' + b"x" * MAX_ANSWER),
        (200, b"[" * 60_000),
    ],
)
async def test_an_answer_without_a_token_is_trouble_and_not_the_end(status: int, body: bytes):
    with pytest.raises(JobTokenAway):
        await of(GITHUB).token(AUDIENCE, transport=GitHub(status, body))


async def test_a_network_that_is_away_is_trouble_and_shows_no_secret():
    class Away(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            raise httpx.ConnectError(f"no way to {request.url} with {request.headers}")

    with pytest.raises(JobTokenAway) as away:
        await of(GITHUB).token(AUDIENCE, transport=Away())

    assert "request-secret" not in str(away.value)


def test_elsewhere_there_is_no_job():
    assert job_identity({}) is None
    assert job_identity({"GITHUB_ACTIONS": "false", "CI": "true"}) is None


async def _endless() -> AsyncIterator[bytes]:
    while True:
        yield b" " * 8192


async def test_an_answer_without_end_is_not_read_to_its_end():
    class Endless(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            class Body(httpx.AsyncByteStream):
                async def __aiter__(self) -> Any:
                    async for part in _endless():
                        yield part

            return httpx.Response(200, stream=Body())

    with pytest.raises(JobTokenAway):
        await of(GITHUB).token(AUDIENCE, transport=Endless())
