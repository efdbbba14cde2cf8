"""Writes log lines from a thread, so that a slow or missing reader never blocks the program.

A pipe that is not read fills up after 64 KiB and then blocks its writer; programs started with `stdout=PIPE` often hang
this way. Lines wait in a bounded queue; lines that do not fit are counted and dropped.
"""

import os
import threading
from collections import deque
from collections.abc import Callable

from tunnelctl.bounds import DeclaredBound

MAX_WAITING = 8 << 20
"""Maximum bytes of log that wait for the thread: half a minute of a busy relay's access log."""
ATOMIC = 4096
"""Bytes that the kernel writes to a pipe in one piece (PIPE_BUF on Linux), so that a reader never sees half a line."""
COALESCE_SECONDS = 0.02
"""Seconds between two writes: a busy log costs 50 wake-ups a second instead of one for each line. The first line after
a pause is written at once."""
CLOSE_SECONDS = 2.0
"""Maximum seconds that a program that ends waits for a slow reader of its log."""

BOUNDS = (
    DeclaredBound(
        name="log lines that wait to be written",
        limit=MAX_WAITING,
        unit="bytes",
        per="relay",
        when_full="further lines are dropped and counted",
        worst_bytes=2 * MAX_WAITING,
        holds=("LineWriter._waiting",),
    ),
)


class LineWriter:
    """Accepts lines without blocking and writes them in order from a daemon thread.

    Args:
        write: Function that writes all given bytes; it may block and may raise OSError.
        max_waiting: Maximum bytes in the queue.

    Attributes:
        dropped: Number of lines lost because the queue was full or writing failed.
    """

    def __init__(self, write: Callable[[bytes], object], *, max_waiting: int = MAX_WAITING) -> None:
        self._write = write
        self._max = max_waiting
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._lock = threading.Lock()
        self._due = threading.Event()
        self._ending = threading.Event()
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def write(self, lines: bytes) -> None:
        """Queue complete lines; drop them if the queue is full."""
        with self._lock:
            if self._ending.is_set() or self._size + len(lines) > self._max:
                self.dropped += lines.count(b"\n")
                return
            self._waiting.append(lines)
            self._size += len(lines)
        if not self._due.is_set():
            self._due.set()

    def close(self, timeout: float = CLOSE_SECONDS) -> None:
        """Write the queued lines, for at most `timeout` seconds, and stop the thread."""
        self._ending.set()
        self._due.set()
        self._thread.join(timeout)

    def _run(self) -> None:
        while not self._ending.is_set() or self._waiting:
            self._due.wait()
            self._due.clear()
            while piece := self._next_piece():
                try:
                    self._write(piece)
                except (OSError, ValueError):  # disk full, reader gone, or stream closed: go on without a log
                    self.dropped += piece.count(b"\n")
            self._ending.wait(COALESCE_SECONDS)

    def _next_piece(self) -> bytes:
        """Return the next lines, at most as many as a pipe accepts in one piece; b"" when none are queued."""
        with self._lock:
            pieces: list[bytes] = []
            size = 0
            while self._waiting and (not pieces or size + len(self._waiting[0]) <= ATOMIC):
                pieces.append(self._waiting.popleft())
                size += len(pieces[-1])
            self._size -= size
            return b"".join(pieces)


def write_all(fd: int, data: bytes) -> None:
    """Write all of `data` to a blocking file descriptor."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
