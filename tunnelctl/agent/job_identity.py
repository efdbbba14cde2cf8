"""Gets the ID token of the CI job in which the agent runs, for `--authtoken=oidc`.

GitHub Actions gives a job a URL at which it can request tokens, each valid for minutes: a new one is requested for each
connection to the relay. GitLab CI stores one token, valid as long as the job, in a variable that the job chooses.
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
"""The value of `--authtoken` that means the job's own token."""
REQUEST_URL, REQUEST_TOKEN = "ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"
"""GitHub's environment variables: the URL for requesting a token, and the credential for the request."""
GITLAB_TOKEN = "TUNNELCTL_ID_TOKEN"  # noqa: S105  # the name of a variable
"""The variable in which `id_tokens:` of a GitLab job must store the token."""
CALL_SECONDS = 10.0
MAX_ANSWER = 64 * 1024
"""Maximum bytes that are read of GitHub's response, which contains one token."""


class NoJobToken(Exception):
    """The job has no ID token, and trying again would not help.

    Attributes:
        hint: What the user can do.
    """

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class JobTokenAway(Exception):
    """The CI system did not issue a token this time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobIdentity:
    """The source of the job's ID tokens.

    Attributes:
        system: Name of the CI system: `GitHub` or `GitLab`.
        request_url, request_token: Values of GitHub's variables; "" if the job may not request tokens.
        given: GitLab's token; "" if the job has none.
    """

    system: str
    request_url: str = ""
    request_token: str = field(default="", repr=False)
    given: str = field(default="", repr=False)

    async def token(self, audience: str, *, transport: "httpx.AsyncBaseTransport | None" = None) -> str:
        """Return a token for the relay. GitHub issues a new one for each call.

        Args:
            audience: Audience of the token: the relay's address. GitLab's token has the audience in the job's
                configuration.
            transport: Makes the call to GitHub; None for the network.

        Raises:
            NoJobToken: The job has no token.
            JobTokenAway: GitHub did not return a token.
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
        import httpx  # takes a third of the agent's start, and other agents do not need it

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
    """Return the source of this job's tokens; None outside of a CI job."""
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
    """Return the token in GitHub's response; "" when it contains no usable one."""
    try:
        told: Any = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    value = told.get("value") if isinstance(told, dict) else None
    return value if isinstance(value, str) and value.isascii() and value.isprintable() and " " not in value else ""
