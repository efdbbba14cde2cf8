"""Run an agent until it ends: the event loop, and the signals that ask it to stop."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable, Iterator

from tunnelctl.agent.agent import Agent
from tunnelctl.agent.config import AgentConfig
from tunnelctl.agent.outcome import Outcome
from tunnelctl.agent.watcher import Watcher

STOP_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
"""SIGHUP is a terminal that was closed: its tunnel ends with it."""


def run_agent(config: AgentConfig, watcher: Watcher) -> Outcome:
    """Serve until the agent ends; a stop signal lets exchanges in flight finish, a second one does not."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_run(config, watcher))


async def _run(config: AgentConfig, watcher: Watcher) -> Outcome:
    agent = Agent(config, watcher)
    with _stopped_by_signals(agent.stop):
        return await agent.run()


@contextlib.contextmanager
def _stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    numbers = [getattr(signal, name) for name in STOP_SIGNALS if hasattr(signal, name)]
    for number in numbers:
        try:
            loop.add_signal_handler(number, stop)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop))
    try:
        yield
    finally:
        for number in numbers:
            with contextlib.suppress(NotImplementedError):
                loop.remove_signal_handler(number)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.new_event_loop
