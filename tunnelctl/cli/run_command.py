"""Runs a command while an app is served at a public address: the work of `tunnel exec`, in the worker process."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tunnelctl.agent.config import AgentConfig
from tunnelctl.agent.connector import open_connector
from tunnelctl.cli.persona import NGROK_VARIABLES
from tunnelctl.forwarding.commands import RunningCommand, start_app, start_command
from tunnelctl.forwarding.endpoint import AsyncEndpoint, open_endpoint
from tunnelctl.forwarding.errors import AppEnded, TunnelError
from tunnelctl.forwarding.guard import Worker
from tunnelctl.signals import stopped_by_signals

NOT_EXECUTABLE, NOT_FOUND = 126, 127
"""Exit codes of a shell for a command that cannot be started."""
STOPPED = 128 + 15
"""Exit code of a run that was asked to stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """What `tunnel exec` was asked to do.

    Attributes:
        command: The words of COMMAND.
        up: Command that starts the app; "" when the app runs already.
        ready_path, ready_timeout, require_hits: As for `open_endpoint`.
    """

    agent: AgentConfig
    command: tuple[str, ...]
    up: str
    ready_path: str | None
    ready_timeout: float
    require_hits: int


class CommandFailed(Exception):
    """COMMAND ended with a code that is not 0, or could not be started.

    Attributes:
        text: What happened, for display; "" when the command has said it.
    """

    def __init__(self, code: int, text: str = "") -> None:
        super().__init__(text)
        self.code = code
        self.text = text


async def run_command(plan: RunPlan, worker: Worker) -> None:
    """Serve the app, run COMMAND, and stop both.

    Raises:
        TunnelError: The app was not served, or not for the whole run, or no request reached it.
        CommandFailed: COMMAND failed.
    """
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    loop.add_reader(worker.guard, stopped.set)
    try:
        with stopped_by_signals(stopped.set):
            running = asyncio.create_task(_run(plan, worker))
            stopping = asyncio.create_task(stopped.wait())
            await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            if not running.done():
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
                raise CommandFailed(STOPPED)
            await running
    finally:
        loop.remove_reader(worker.guard)


async def _run(plan: RunPlan, worker: Worker) -> None:
    async with _app(plan, worker) as app:
        serving = open_endpoint(
            plan.agent,
            ready_path=plan.ready_path,
            ready_timeout=plan.ready_timeout,
            require_hits=plan.require_hits,
            app_ended=None if app is None else app.ended,
        )
        try:
            async with serving as endpoint:
                await _command(plan, worker, endpoint)
        except TunnelError:
            if app is not None and app.has_ended:
                raise await _ended(app) from None
            raise
        if app is not None and app.has_ended:
            raise await _ended(app)


@asynccontextmanager
async def _app(plan: RunPlan, worker: Worker) -> AsyncIterator[RunningCommand | None]:
    """Start the app while the block runs, if the plan says how."""
    if not plan.up:
        yield None
        return
    upstream = plan.agent.tunnels[0].upstream
    try:
        transport = await open_connector(upstream).connect(asyncio.Protocol)
    except OSError:
        pass
    else:
        transport.close()
        raise AppEnded(f"something listens at {upstream.authority} already, which is not the app of --up")
    app = await start_app(worker, plan.up, _environ())
    try:
        yield app
    finally:
        await app.stop()


async def _command(plan: RunPlan, worker: Worker, endpoint: AsyncEndpoint) -> None:
    """Run COMMAND to its end, or stop it when the endpoint has ended before."""
    try:
        command = await start_command(worker, plan.command, _environ(endpoint))
    except FileNotFoundError:
        raise CommandFailed(NOT_FOUND, f"{plan.command[0]}: there is no such command") from None
    except OSError as error:
        raise CommandFailed(NOT_EXECUTABLE, f"{plan.command[0]}: {error.strerror}") from None
    try:
        ends: set[asyncio.Future[Any]] = {command.ended, endpoint.closed}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        lost = None if command.ended.done() else endpoint.closed.result()
        if lost is not None:
            raise lost
    finally:
        await command.stop()
    if code := command.ended.result():
        raise CommandFailed(code)


async def _ended(app: RunningCommand) -> AppEnded:
    code = await asyncio.shield(app.ended)
    said = "".join(f"\n{line}" for line in app.last_lines)
    return AppEnded(f"the app of --up ended with {code}{said}")


def _environ(endpoint: AsyncEndpoint | None = None) -> Mapping[str, str]:
    """Return a child's environment: ours, without the settings of the agent (some are secret), and with the endpoint.

    Variables of ngrok are left out too, as the agent reads them under its name.
    """
    environ = {
        name: text
        for name, text in os.environ.items()
        if not name.startswith("TUNNELCTL_") and name not in NGROK_VARIABLES
    }
    if endpoint is not None:
        environ |= {
            "TUNNELCTL_URL": endpoint.url,
            "TUNNELCTL_HOST": endpoint.host,
            "TUNNELCTL_TOKEN": endpoint.token.reveal(),
            "TUNNELCTL_LOCAL_URL": endpoint.local_url,
        }
    return environ
