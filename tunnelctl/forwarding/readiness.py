"""Waits until a request that is sent to the public address comes back from the local app, and says what is missing.

The stages, in order: the app listens, the agent's link is up and the public address leads to it (`agent`, `ingress`),
and the app answers a request with the run's token (`app` again, or `login` when the endpoint's rules refuse it).
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tunnelctl import __version__
from tunnelctl.agent.agent import Agent
from tunnelctl.agent.config import AgentConfig
from tunnelctl.agent.connector import open_connector
from tunnelctl.agent.tunnel import AgentTunnel
from tunnelctl.forwarding.errors import NotReady, RelayUnreachable, RunRefused, Stage, TunnelError
from tunnelctl.forwarding.public_connector import PublicConnector
from tunnelctl.forwarding.tracker import Tracker
from tunnelctl.link.tcp import reason
from tunnelctl.secret import Secret

LOOK_SECONDS = 0.05
"""Seconds between two checks of the app. One check of an app on this machine takes less than a millisecond."""
ANSWER_SECONDS = 5.0
"""Maximum seconds of one check, after which the app is reported as silent and asked again."""
RULES = frozenset(
    {
        "access_denied", "bearer_invalid", "bearer_not_admitted", "bearer_required", "login_required", "network_denied",
        "password_required",
    }
)  # fmt: skip
"""Error codes of the relay with which the endpoint's rules refuse the run's token. Trying again would not help."""
PROVIDER_ERRORS = frozenset({"provider_unreachable", "provider_error"})


@dataclass(frozen=True, slots=True)
class AnswerHead:
    """The head of a response.

    Attributes:
        fields: Header fields, with names in lower case.
    """

    status: int
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Missing:
    """Why the app is not ready yet.

    Attributes:
        is_final: Trying again would not help.
    """

    stage: Stage
    text: str
    is_final: bool = False


def judge(answer: AnswerHead, path: str, *, is_given: bool) -> Missing | None:
    """Return why a response does not show that the app is ready; None when it does.

    Args:
        path: Path of the request.
        is_given: The user gave the path, so that only a status of 2xx counts; otherwise any below 500 does.
    """
    code = answer.fields.get("tunnel-error", "")
    if code in RULES:
        return Missing("login", f"the endpoint's rules keep this run out ({code})", is_final=True)
    if code in PROVIDER_ERRORS:
        return Missing("login", f"the relay cannot ask the identity provider ({code})")
    if code.startswith("upstream"):
        return Missing("app", f"the request did not get through to it ({code})")
    if code:
        return Missing("ingress", f"the relay answered {answer.status} ({code})")
    if answer.status >= 500 or (is_given and not 200 <= answer.status < 300):
        target = f" to {where}" if (where := answer.fields.get("location")) else ""
        return Missing("app", f"GET {path} gave {answer.status}{target}")
    return None


class Readiness:
    """Waits until the app answers at its public address through this agent.

    Args:
        path: Path to request; None for `/`, where any answer below 500 counts.
        probe: Text that marks the run's own requests, as in `Tracker`.
        clock: Returns monotonic seconds.
    """

    def __init__(
        self,
        config: AgentConfig,
        agent: Agent,
        tracker: Tracker,
        token: Secret,
        *,
        path: str | None,
        probe: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._agent = agent
        self._tracker = tracker
        self._token = token
        self._path = path
        self._probe = probe
        self._clock = clock
        self._missing = Missing("agent", "the relay has not answered yet")

    async def wait(self, timeout: float, app_ended: asyncio.Future[Any] | None = None) -> AgentTunnel:
        """Wait until the app is ready, and return its tunnel.

        Args:
            timeout: Maximum seconds.
            app_ended: As for `open_endpoint`.

        Raises:
            TunnelError: The agent or the app has ended, the rules refuse the run's token, or the time is over.
        """
        checks = asyncio.create_task(self._check())
        try:
            ends: set[asyncio.Future[Any]] = {checks, self._tracker.closed, *([app_ended] if app_ended else [])}
            await asyncio.wait(ends, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if checks.done():
                return checks.result()
        finally:
            checks.cancel()
            await asyncio.gather(checks, return_exceptions=True)
        if self._tracker.closed.done():
            raise self._tracker.closed.result() or NotReady("agent", "it was stopped")
        if app_ended is not None and app_ended.done():
            raise NotReady("app", "its process has ended")
        raise self._too_late(timeout)

    def _too_late(self, timeout: float) -> TunnelError:
        if self._missing.stage == "agent" and not self._tracker.was_online:
            relay = self._config.relay.url
            return RelayUnreachable(self._tracker.reason or f"the relay {relay} has not answered in {timeout:g} s")
        return NotReady(self._missing.stage, f"{self._missing.text} (waited {timeout:g} s)")

    async def _check(self) -> AgentTunnel:
        (config,) = self._config.tunnels
        while problem := await self._app_problem():
            self._missing = Missing("app", f"nothing listens at {config.upstream.authority}: {problem}")
            await asyncio.sleep(LOOK_SECONDS)
        tunnel = self._agent.tunnels[config.name]
        await self._until_reached(tunnel)
        if tunnel.bound is None or not tunnel.bound.run_token_accepted:
            text = f"the relay is older than this agent ({__version__}) and takes no token of a run"
            raise RunRefused(text, "upgrade the relay")
        connector = PublicConnector(self._config, tunnel.url)
        while missing := await self._ask(connector):
            if missing.is_final:
                raise RunRefused(f"{missing.stage}: {missing.text}")
            self._missing = missing
            await asyncio.sleep(LOOK_SECONDS)
        return tunnel

    async def _app_problem(self) -> str:
        """Return why the app does not accept connections; "" when it does."""
        connector = open_connector(self._config.tunnels[0].upstream)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                transport = await connector.connect(asyncio.Protocol)
        except OSError as error:
            return reason(error)
        transport.close()
        return ""

    async def _until_reached(self, tunnel: AgentTunnel) -> None:
        """Wait until the agent's own probe of the public address has come back through its link."""
        ready = asyncio.create_task(tunnel.ready.wait())
        changed = asyncio.create_task(self._tracker.until(lambda: self._note_agent(tunnel)))
        try:
            await asyncio.wait({ready, changed}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
            changed.cancel()
            await asyncio.gather(ready, changed, return_exceptions=True)

    def _note_agent(self, tunnel: AgentTunnel) -> bool:
        """Note what is missing at the agent or the public address. Returns whether the tunnel is reached."""
        if tunnel.is_bound:
            self._missing = Missing("ingress", self._tracker.reason or "the public address has not answered yet")
        else:
            self._missing = Missing("agent", self._tracker.reason or "the relay has not answered yet")
        return tunnel.ready.is_set()

    async def _ask(self, connector: PublicConnector) -> Missing | None:
        """Send one request as a visitor with the run's token. Returns why the app is not ready; None when it is."""
        path = self._path or "/"
        before = self._tracker.probes
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                answer = await self._request(connector, path)
        except TimeoutError:
            return Missing("app", f"it took the connection and did not answer GET {path} in {ANSWER_SECONDS:g} s")
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
            text = reason(error) if isinstance(error, OSError) else "its answer is no HTTP/1.1 response"
            return Missing("ingress", f"{connector.url}: {text}")
        missing = judge(answer, path, is_given=self._path is not None)
        if missing is None and self._tracker.probes == before:
            return Missing("ingress", f"{connector.url} answers, but not through this agent")
        return missing

    async def _request(self, connector: PublicConnector, path: str) -> AnswerHead:
        reader, writer = await connector.connect()
        try:
            lines = [
                f"GET {path} HTTP/1.1",
                f"Host: {connector.authority}",
                f"User-Agent: tunnelctl/{__version__} {self._probe}",
                f"Authorization: Bearer {self._token.reveal()}",
                "Accept: */*",
                "Connection: close",
            ]
            writer.write("\r\n".join([*lines, "", ""]).encode())
            return parse_answer(await reader.readuntil(b"\r\n\r\n"))
        finally:
            writer.close()


def parse_answer(head: bytes) -> AnswerHead:
    """Parse the head of a response.

    Raises:
        ValueError: It is no head of an HTTP/1.1 response.
    """
    first, *lines = head.decode("latin-1").split("\r\n")
    version, status, *_ = [*first.split(" ", 2), ""]
    if version != "HTTP/1.1":
        raise ValueError("not HTTP/1.1")
    pairs = (line.partition(":") for line in lines if line)
    return AnswerHead(int(status), {name.lower(): value.strip() for name, _, value in pairs})
