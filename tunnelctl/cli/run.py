"""Runs an agent in an event loop until it ends, and handles the signals that stop it."""

import asyncio
import contextlib
import sys
from collections.abc import Callable
from dataclasses import dataclass

from tunnelctl.agent.agent import Agent
from tunnelctl.agent.config import AgentConfig
from tunnelctl.agent.outcome import Outcome
from tunnelctl.cli.output_mode import Output
from tunnelctl.eventlog import EventLog
from tunnelctl.inspector.pages import page_routes
from tunnelctl.inspector.routes import inspector_routes
from tunnelctl.inspector.store import CaptureStore
from tunnelctl.inspector.traffic import AgentTraffic
from tunnelctl.localapi.address import WebAddress, listen
from tunnelctl.localapi.api import Build, LocalApi
from tunnelctl.openfiles import raise_limit
from tunnelctl.signals import stopped_by_signals

log = EventLog("tunnelctl")


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """The settings of an agent's local API.

    Attributes:
        build: Function that creates the tunnels that programs ask for.
        version: Version of the agent, under the name that it runs as.
        inspect_bytes: Maximum bytes of captured exchanges in memory; 0 for no capturing.
    """

    address: WebAddress
    build: Build
    version: str
    inspect_bytes: int


def run_agent(config: AgentConfig, output: Output, api: ApiSettings | None) -> Outcome:
    """Run the agent until it ends. A stop signal lets exchanges in progress finish, a second one does not.

    Raises:
        BrokenPipeError: The output has no reader any more.
        WebAddressTaken: The local API cannot listen at the requested address.
    """
    if reason := raise_limit():
        log.debug("limit of open files not raised", reason=reason)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_run(config, output, api))


async def _run(config: AgentConfig, output: Output, api: ApiSettings | None) -> Outcome:
    store = CaptureStore(api.inspect_bytes if api is not None else 0)
    agent = Agent(config, output.watcher, open_tap=store.begin if store.max_bytes else None)
    loop = asyncio.get_running_loop()

    def stop_from_any_thread() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has already ended
            loop.call_soon_threadsafe(agent.stop)

    output.stop_by(stop_from_any_thread)
    with stopped_by_signals(agent.stop):
        if api is None:
            outcome = await agent.run()
        else:
            traffic = AgentTraffic()
            agent.watchers.add(traffic)
            routes = (*inspector_routes(agent, store), *page_routes(agent, traffic.series, api.version))
            local_api = LocalApi(agent, api.build, version=api.version, routes=routes)
            listener = listen(api.address, output.api_watcher.taken)
            async with local_api.serve(listener, output.api_watcher):
                outcome = await agent.run()
    if output.has_lost_reader:
        raise BrokenPipeError
    return outcome


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.new_event_loop
