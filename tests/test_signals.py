"""Stop signals, and the handlers that a program had for them before."""

import asyncio
import os
import signal

from tunnelctl.signals import stopped_by_signals


async def test_a_stop_signal_calls_and_the_handlers_from_before_are_back_afterwards() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    stopped = asyncio.Event()
    with stopped_by_signals(stopped.set):
        os.kill(os.getpid(), signal.SIGTERM)
        await stopped.wait()

    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before
