"""Stops a program by signals, for the agent and the relay."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterator

STOP_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
"""SIGHUP says that the terminal was closed: the program ends with it."""


@contextlib.contextmanager
def stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` in the running event loop for each of `STOP_SIGNALS` while the body runs.

    Process 1 of a container is given every process there whose parent has ended; the kernel is told to drop them when
    they end, else each would stay as a zombie. Neither program starts processes, whose exit codes this would lose.

    A signal that the program was started with as ignored stays ignored: by that `nohup` says that the end of the
    terminal is not meant for it, and a shell that runs scripts says the same of Ctrl-C to its background jobs.
    """
    if os.getpid() == 1:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    loop = asyncio.get_running_loop()
    numbers = [getattr(signal, name) for name in STOP_SIGNALS if hasattr(signal, name)]
    numbers = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
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
