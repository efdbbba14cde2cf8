"""`open_endpoint`: serves a local app at a public address while a block runs; the block gets an `AsyncEndpoint`.

Next: `readiness.py`, which decides when the block begins, and `tracker.py`, which decides whether the run was good.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tunnelctl.agent.agent import Agent
from tunnelctl.agent.config import AgentConfig
from tunnelctl.agent.tunnel import AgentTunnel
from tunnelctl.agent.watcher import Watcher
from tunnelctl.forwarding.errors import NoHits, SettingsRefused, TunnelError, TunnelLost
from tunnelctl.forwarding.local_address import LocalAddress
from tunnelctl.forwarding.public_connector import PublicConnector
from tunnelctl.forwarding.readiness import Readiness
from tunnelctl.forwarding.run_token import digest, new_run_token
from tunnelctl.forwarding.tracker import Tracker
from tunnelctl.secret import Secret

if TYPE_CHECKING:
    import httpx

DRAIN_SECONDS = 2.0
"""Seconds that exchanges in progress get at the end of a run: its requests have ended, and only streams remain."""
AWAY_SECONDS = 5.0
"""Seconds of a lost link after which the run counts as broken. Shorter ones go unnoticed, as the relay holds the
requests for as long by default."""
BACK_SECONDS = 2.0
"""Seconds that a lost link gets to come back when the run ends."""


class AsyncEndpoint:
    """A local app at its public address.

    Attributes:
        url: Public URL, without a path.
        host: Public host, with a port that is not the default.
        local_url: URL on this machine that leads to the endpoint and adds its name and the run's token to each request,
            for tools that cannot. It ends with the block.
        token: Bearer token that is accepted at exactly this endpoint, until the block ends.
        redirect_uri: Redirect URI to register at the OpenID provider; None without a login.
        let_in: Who may enter, in words.
        closed: Done when the endpoint ends by itself, with the error; None when the block ends first.
    """

    def __init__(self, tunnel: AgentTunnel, tracker: Tracker, local: LocalAddress, token: Secret) -> None:
        assert tunnel.bound is not None
        self.url = tunnel.url
        self.host = urlsplit(tunnel.url).netloc
        self.local_url = local.url
        self.token = token
        self.redirect_uri = tunnel.bound.redirect_uri
        self.let_in = tunnel.config.who_may_visit
        self.closed = tracker.closed
        self._tracker = tracker

    @property
    def hits(self) -> int:
        """Number of requests that the app has answered; the probes of this package are not counted."""
        return self._tracker.hits

    def headers(self) -> dict[str, str]:
        """Return the header with the run's token, for requests to `url` only."""
        return {"Authorization": f"Bearer {self.token.reveal()}"}

    def client(self, **options: Any) -> "httpx.AsyncClient":
        """Return a client whose base URL is `url`.

        Requests to `url` go to the relay's address and bear the token; requests elsewhere do not. Redirects are not
        followed.

        Args:
            options: Further arguments of `httpx.AsyncClient`.
        """
        from tunnelctl.forwarding.client import async_client

        return async_client(self.url, self.local_url, options)

    async def wait_hits(self, number: int, timeout: float) -> None:
        """Wait until the app has answered this many requests.

        Args:
            timeout: Maximum seconds.

        Raises:
            NoHits: It has not in time.
        """
        try:
            async with asyncio.timeout(timeout):
                await self._tracker.until(lambda: self._tracker.hits >= number)
        except TimeoutError:
            raise too_few(self._tracker.hits, number) from None


@asynccontextmanager
async def open_endpoint(
    config: AgentConfig,
    *,
    ready_path: str | None = None,
    ready_timeout: float = 60.0,
    require_hits: int = 0,
    app_ended: asyncio.Future[Any] | None = None,
    watcher: Watcher | None = None,
) -> AsyncIterator[AsyncEndpoint]:
    """Serve a local app while the block runs. It begins once a request has come back from the app, and ends with the
    name given up.

    Args:
        config: Settings with one tunnel, which is no TCP tunnel and serves no edges.
        ready_path: Path that must answer with 2xx; None for `/`, which may answer anything below 500.
        ready_timeout: Maximum seconds until the app is ready.
        require_hits: Minimum requests that the app must have answered at the end.
        app_ended: Done when the app's process has ended, so that waiting for it is pointless; None if that is unknown.
        watcher: Gets the agent's events too.

    Raises:
        TunnelError: On entering, the app cannot be served; or on leaving, if the block raised nothing, the tunnel was
            lost or too few requests reached the app.
    """
    (tunnel,) = config.tunnels
    if tunnel.is_tcp or tunnel.is_joined:
        raise SettingsRefused("only a web app with an address of its own can be served for a run")
    token = new_run_token()
    tunnel = replace(tunnel, run_token_sha256=digest(token), inspect=False)
    config = replace(config, tunnels=(tunnel,), drain_seconds=DRAIN_SECONDS)
    probe = f"run/{secrets.token_hex(16)}"
    tracker = Tracker(config.relay.url, probe.encode())
    agent = Agent(config, watcher)
    agent.watchers.add(tracker)
    async with agent:
        readiness = Readiness(config, agent, tracker, token, path=ready_path, probe=probe)
        bound = await readiness.wait(ready_timeout, app_ended)
        async with LocalAddress(PublicConnector(config, bound.url), token) as local:
            yield AsyncEndpoint(bound, tracker, local, token)
            lost = await _loss(tracker, local)
    if lost is not None:
        raise lost
    if tracker.hits < require_hits:
        raise too_few(tracker.hits, require_hits)


def too_few(hits: int, required: int) -> NoHits:
    """Return the error about too few requests that reached the app."""
    return NoHits(
        f"{hits} of {required} requests reached the app",
        "does the command use the URL it was given, and was it let in?",
    )


async def _loss(tracker: Tracker, local: LocalAddress) -> TunnelError | None:
    """Return why the tunnel did not last for the whole run; None when it did."""
    try:
        async with asyncio.timeout(BACK_SECONDS):
            await tracker.until(lambda: not tracker.is_away or tracker.closed.done())
    except TimeoutError:
        pass
    if tracker.closed.done():
        return tracker.closed.result()
    if tracker.is_away or tracker.longest_away > AWAY_SECONDS:
        failed = f"; {local.failures} requests failed" if local.failures else ""
        return TunnelLost(
            f"the tunnel was away for {tracker.longest_away:.0f} s: {tracker.reason or 'it is back'}{failed}"
        )
    return None
