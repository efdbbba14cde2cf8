"""Run an agent until it ends: the event loop, and the signals that ask it to stop."""

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
from tunnelctl.inspector.routes import inspector_routes
from tunnelctl.inspector.store import CaptureStore
from tunnelctl.localapi.address import WebAddress, listen
from tunnelctl.localapi.api import Build, LocalApi
from tunnelctl.openfiles import raise_limit
from tunnelctl.signals import stopped_by_signals

log = EventLog("tunnelctl")


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """The local API that an agent has.

    Attributes:
        build: Makes the tunnels that programs ask for.
        version: Of the agent, by the name that it runs under.
        inspect_bytes: What captured exchanges may take in memory; 0: nothing is captured.
    """

    address: WebAddress
    build: Build
    version: str
    inspect_bytes: int


def run_agent(config: AgentConfig, output: Output, api: ApiSettings | None) -> Outcome:
    """Serve until the agent ends; a stop signal lets exchanges in flight finish, a second one does not.

    Raises:
        BrokenPipeError: Nothing reads the output any more.
        WebAddressTaken: The local API cannot be where it was asked for.
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
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(agent.stop)

    output.stop_by(stop_from_any_thread)
    with stopped_by_signals(agent.stop):
        if api is None:
            outcome = await agent.run()
        else:
            listener = listen(api.address, output.api_watcher.taken)
            local_api = LocalApi(agent, api.build, version=api.version, routes=inspector_routes(agent, store))
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
