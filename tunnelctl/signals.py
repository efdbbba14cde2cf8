"""Stops agent and relay when they receive a stop signal."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterator

STOP_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
"""Signals that stop the program. SIGHUP means that the terminal was closed."""


@contextlib.contextmanager
def stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` in the running event loop for each of `STOP_SIGNALS` while the body runs.

    Process 1 of a container becomes the parent of every orphaned process there; the kernel is told to discard them when
    they end, otherwise each would stay as a zombie. The programs start no processes of their own, whose exit codes this
    would lose.

    A signal that was ignored when the program started stays ignored: `nohup` ignores SIGHUP for its command in this
    way, and a shell that runs scripts ignores Ctrl-C for its background jobs. Afterwards the handlers are those that
    were set before.
    """
    if os.getpid() == 1:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    loop = asyncio.get_running_loop()
    numbers = [getattr(signal, name) for name in STOP_SIGNALS if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    numbers = [number for number in numbers if before[number] is not signal.SIG_IGN]
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
            if before[number] is not None:  # None is a handler that Python did not set
                signal.signal(number, before[number])
