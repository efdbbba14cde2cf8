"""The ID token of the CI job that the agent runs in: `--authtoken=oidc`.

GitHub Actions gives a job an address to ask for tokens, and each token lives for minutes: a new one is fetched for each
connection to the relay. GitLab CI puts one token, good for as long as the job, into a variable that the job names.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tunnelctl.wire.texts import is_loopback

if TYPE_CHECKING:
    import httpx

AUTHTOKEN = "oidc"
"""The value of `--authtoken` that stands for the job's own token."""
REQUEST_URL, REQUEST_TOKEN = "ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"
"""GitHub's variables: where to ask for a token, and the credential for that."""
GITLAB_TOKEN = "TUNNELCTL_ID_TOKEN"  # noqa: S105  # the name of a variable
"""The variable that `id_tokens:` of a GitLab job must name."""
CALL_SECONDS = 10.0
MAX_ANSWER = 64 * 1024
"""Bytes read of GitHub's answer, which holds one token."""


class NoJobToken(Exception):
    """This job has no ID token, and trying again would not help.

    Attributes:
        hint: What to do.
    """

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class JobTokenAway(Exception):
    """The CI system did not give out a token this time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobIdentity:
    """Where this job's ID tokens come from.

    Attributes:
        system: `GitHub` or `GitLab`.
        request_url, request_token: GitHub's; "" where the job may not ask for tokens.
        given: GitLab's token; "" where the job names none.
    """

    system: str
    request_url: str = ""
    request_token: str = field(default="", repr=False)
    given: str = field(default="", repr=False)

    async def token(self, audience: str, *, transport: "httpx.AsyncBaseTransport | None" = None) -> str:
        """A token for the relay. GitHub makes a new one for each call.

        Args:
            audience: Whom it is for: the relay's address. GitLab's token has the one that the job's file names.
            transport: Makes the call to GitHub; None for the network.

        Raises:
            NoJobToken: The job has none.
            JobTokenAway: GitHub did not answer with one.
        """
        if self.given:
            return self.given
        if self.system == "GitLab":
            hint = f"give the job `id_tokens: {{{GITLAB_TOKEN}: {{aud: {audience}}}}}`"
            raise NoJobToken(f"GitLab gave this job no ID token in {GITLAB_TOKEN}", hint)
        if not self.request_url or not self.request_token:
            hint = "give the job `permissions: {id-token: write}`; runs for pull requests from forks get no token"
            raise NoJobToken("GitHub gave this job no identity", hint)
        return await self._ask_github(audience, transport)

    async def _ask_github(self, audience: str, transport: "httpx.AsyncBaseTransport | None") -> str:
        import httpx  # a third of the agent's start, and other agents do not need it

        from tunnelctl.agent.wayout import ByEnvironment
        from tunnelctl.link.dial import tls_context

        parts = urlsplit(self.request_url)
        if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
            raise NoJobToken(f"{REQUEST_URL} is no https address", "is this a job of GitHub Actions?")
        headers = {"Authorization": f"Bearer {self.request_token}", "Accept": "application/json; api-version=2.0"}
        way = transport or ByEnvironment(tls_context(None))
        try:
            async with httpx.AsyncClient(transport=way, timeout=CALL_SECONDS, trust_env=False) as client:
                url = httpx.URL(self.request_url).copy_merge_params({"audience": audience})
                async with client.stream("GET", url, headers=headers) as answer:
                    body = await _start_of(answer)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise JobTokenAway(f"GitHub did not answer when asked for an ID token ({type(error).__name__})") from error
        if answer.status_code != 200:
            raise JobTokenAway(f"GitHub answered {answer.status_code} when asked for an ID token")
        token = _value_in(body)
        if not token:
            raise JobTokenAway("GitHub's answer holds no ID token")
        return token


def job_identity(environ: Mapping[str, str] = os.environ) -> JobIdentity | None:
    """Where tokens of this job come from; None outside of a CI job."""
    if environ.get("GITHUB_ACTIONS") == "true" or environ.get(REQUEST_URL):
        url, token = environ.get(REQUEST_URL, ""), environ.get(REQUEST_TOKEN, "")
        return JobIdentity(system="GitHub", request_url=url, request_token=token)
    given = environ.get(GITLAB_TOKEN, "").strip()
    if given or environ.get("GITLAB_CI") == "true":
        return JobIdentity(system="GitLab", given=given)
    return None


async def _start_of(answer: "httpx.Response") -> bytes:
    body = b""
    async for part in answer.aiter_bytes():
        body += part
        if len(body) > MAX_ANSWER:
            break
    return body


def _value_in(body: bytes) -> str:
    """The token in GitHub's answer; "" when it has none that can be sent."""
    try:
        told: Any = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    value = told.get("value") if isinstance(told, dict) else None
    return value if isinstance(value, str) and value.isascii() and value.isprintable() and " " not in value else ""
