"""An emulated terminal, and programs that run at it in a pseudo-terminal.

It knows only the control sequences that the agent's live screen may use, and refuses all others, so that a test fails
when a visitor can smuggle any other sequence in.
"""

import asyncio
import codecs
import contextlib
import fcntl
import os
import pty
import re
import struct
import sys
import termios
import unicodedata
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from tests.support.waiting import PATIENCE

SEQUENCE = re.compile(r"\x1b\[(\??)([\d;]*)([a-zA-Z])|[^\x1b]|\x1b", re.DOTALL)
UNFINISHED = re.compile(r"\x1b(\[[\d;?]*)?\Z")
HIDE, ALTERNATE = "25", "1049"
COLOURS = frozenset({*range(30, 38), *range(40, 48), *range(90, 98), *range(100, 108), 38, 48})
"""Parameters of the control sequence SGR that choose a colour."""
BECOME = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
"""Program that makes the pseudo-terminal on stdin the controlling one, so that Ctrl-C sends a signal, and then runs a
command."""


def columns_of(character: str) -> int:
    """Return how many cells a character takes: 2 for wide ones such as Chinese, 0 for a combining accent, else 1."""
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


class Terminal:
    """The screen of a terminal, as a program's output has left it.

    Attributes:
        frame: The lines of the last complete screen, taken when the program began the next one or left the screen.
        has_colour: Whether the program has used a colour.
        is_alternate: Whether the program uses the alternate screen.
        raw: All characters that the program has written.
    """

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.frame: list[str] = []
        self.has_colour = False
        self.is_alternate = False
        self.is_cursor_hidden = False
        self.raw = ""
        self._cells = self._blank()
        self._kept = (self._cells, 0, 0)
        self._row = self._column = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._rest = ""

    @property
    def lines(self) -> list[str]:
        """The lines on the screen now, without blanks at their ends."""
        return ["".join(row).rstrip() for row in self._cells]

    def resize(self, width: int, height: int) -> None:
        """Change the size. Text beyond the new edges is cut off, as terminals do for the alternate screen."""
        rows = [(row + [" "] * width)[:width] for row in self._cells]
        self.width, self.height = width, height
        self._cells = (rows + self._blank())[:height]
        self._row, self._column = min(self._row, height - 1), min(self._column, width)

    def feed(self, data: bytes) -> None:
        """Apply output of the program to the screen. A control sequence may be split between two calls.

        Raises:
            AssertionError: The output has a control character or sequence that is not allowed.
        """
        text = self._decoder.decode(data)
        self.raw += text
        text = self._rest + text
        unfinished = UNFINISHED.search(text)
        self._rest = unfinished[0] if unfinished else ""
        for found in SEQUENCE.finditer(text.removesuffix(self._rest)):
            if found[3]:
                self._control(found[1], found[2], found[3])
            else:
                self._put(found[0])

    def _control(self, private: str, numbers: str, final: str) -> None:
        match private, final:
            case "?", "h" | "l" if numbers == HIDE:
                self.is_cursor_hidden = final == "l"
            case "?", "h" | "l" if numbers == ALTERNATE:
                self._switch(is_alternate=final == "h")
            case "", "H" if not numbers:
                self.frame = self.lines
                self._row = self._column = 0
            case "", "m":
                parameters = {int(number) for number in numbers.split(";") if number}
                self.has_colour = self.has_colour or bool(parameters & COLOURS)
            case _:
                raise AssertionError(f"the program wrote ESC [ {private}{numbers}{final}")

    def _switch(self, *, is_alternate: bool) -> None:
        if is_alternate:
            self._kept = (self._cells, self._row, self._column)
            self._cells, self._row, self._column = self._blank(), 0, 0
        else:
            self.frame = self.lines
            self._cells, self._row, self._column = self._kept
            self.resize(self.width, self.height)
        self.is_alternate = is_alternate

    def _put(self, character: str) -> None:
        if character == "\r":
            self._column = 0
        elif character == "\n":
            self._feed_line()
        else:
            assert character.isprintable(), f"the program wrote {character!r}"
            self._write(character, columns_of(character))

    def _write(self, character: str, columns: int) -> None:
        if columns == 0:
            self._cells[self._row][self._column - 1] += character
            return
        if self._column + columns > self.width:
            self._column = 0
            self._feed_line()
        self._cells[self._row][self._column : self._column + columns] = [character, *[""] * (columns - 1)]
        self._column += columns

    def _feed_line(self) -> None:
        if self._row == self.height - 1:
            self._cells = [*self._cells[1:], [" "] * self.width]
        else:
            self._row += 1

    def _blank(self) -> list[list[str]]:
        return [[" "] * self.width for _ in range(self.height)]


class Seat:
    """A user's side of a pseudo-terminal at which a program runs: types keys, and sees the screen.

    Attributes:
        process: The program's process.
        terminal: The screen with the program's output.
    """

    def __init__(self, fd: int, terminal: Terminal) -> None:
        self.terminal = terminal
        self.process: asyncio.subprocess.Process
        self._fd = fd
        self._news = asyncio.Event()
        self._refused: AssertionError | None = None
        self._resize_tty()
        asyncio.get_running_loop().add_reader(fd, self._read)

    async def until(self, holds: Callable[[Terminal], object]) -> Terminal:
        """Wait until `holds` is true of the screen. Returns the screen."""
        try:
            async with asyncio.timeout(PATIENCE):
                while self._refused is None and not holds(self.terminal):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError("it was never seen; at last there stood\n" + "\n".join(self.terminal.lines)) from None
        if self._refused is not None:
            raise self._refused
        return self.terminal

    def resize(self, width: int, height: int) -> None:
        """Change the size of the terminal, of which the kernel informs the program by SIGWINCH."""
        self.terminal.resize(width, height)
        self._resize_tty()

    def type(self, keys: str) -> None:
        """Type keys at the terminal."""
        os.write(self._fd, keys.encode())

    @property
    def has_echo(self) -> bool:
        """Whether the terminal echoes typed keys."""
        return bool(termios.tcgetattr(self._fd)[3] & termios.ECHO)

    def close(self) -> None:
        """Close the user's side of the terminal, as closing its window does."""
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)

    def _resize_tty(self) -> None:
        size = struct.pack("HHHH", self.terminal.height, self.terminal.width, 0, 0)
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, size)

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # EIO: nothing holds the other end any more
            if data := os.read(self._fd, 65536):
                self._show(data)
                return
        asyncio.get_running_loop().remove_reader(self._fd)

    def _show(self, data: bytes) -> None:
        try:
            self.terminal.feed(data)
        except AssertionError as error:
            self._refused = error  # raised where the test waits, not in the loop
        self._news.set()


@asynccontextmanager
async def at_terminal(
    command: Sequence[str], *, env: Mapping[str, str], width: int = 80, height: int = 24
) -> AsyncIterator[Seat]:
    """Context manager: a program that runs at a terminal of its own. It is killed at the end if it still runs.

    Args:
        command: The path of the program, and its arguments.
    """
    ours, theirs = pty.openpty()
    seat = Seat(ours, Terminal(width, height))
    try:
        seat.process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", "-c", BECOME, *command,
            env=env, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        )  # fmt: skip
        try:
            yield seat
        finally:
            if seat.process.returncode is None:
                seat.process.kill()
                await seat.process.wait()
    finally:
        os.close(theirs)
        seat.close()
