import io
import os
import threading
from functools import partial

from tunnelctl.line_writer import ATOMIC, LineWriter, write_all


def read_all(fd):
    data = b""
    while piece := os.read(fd, 65536):
        data += piece
    return data


def test_lines_come_out_whole_and_in_order():
    reader, writer = os.pipe()
    log = LineWriter(partial(write_all, writer))
    lines = [f"line {number} {'x' * (number % 200)}\n" for number in range(300)]
    for line in lines:
        log.write(line.encode())
    log.close()
    os.close(writer)
    assert read_all(reader).decode() == "".join(lines)
    os.close(reader)


def test_a_line_longer_than_a_pipe_takes_at_once_comes_out_whole():
    reader, writer = os.pipe()
    got = []
    thread = threading.Thread(target=lambda: got.append(read_all(reader)))
    thread.start()
    log = LineWriter(partial(write_all, writer))
    log.write(b"y" * (40 * ATOMIC) + b"\n")
    log.close()
    os.close(writer)
    thread.join()
    os.close(reader)
    assert len(got[0]) == 40 * ATOMIC + 1


class StoppedReader(io.RawIOBase):
    """Takes nothing until it is let go."""

    def __init__(self) -> None:
        self.is_let_go = threading.Event()
        self.is_reached = threading.Event()
        self.taken = b""

    def write(self, data: bytes) -> int:
        self.is_reached.set()
        self.is_let_go.wait()
        self.taken += data
        return len(data)


def test_a_reader_that_stops_costs_lines_but_never_time_or_memory() -> None:
    """Row 129."""
    sink = StoppedReader()
    writer = LineWriter(sink.write, max_waiting=100)
    writer.write(b"first\n")
    sink.is_reached.wait()
    for _ in range(1000):
        writer.write(b"0123456789\n")
    assert writer.dropped == 1000 - 9
    sink.is_let_go.set()
    writer.close()
    assert sink.taken == b"first\n" + b"0123456789\n" * 9


def test_closing_does_not_wait_for_a_reader_that_stopped() -> None:
    sink = StoppedReader()
    writer = LineWriter(sink.write)
    writer.write(b"x\n")
    writer.close(timeout=0.01)
    writer.write(b"late\n")
    assert writer.dropped == 1
    sink.is_let_go.set()


def test_a_reader_that_went_away_is_no_error():
    reader, writer = os.pipe()
    os.close(reader)
    log = LineWriter(partial(write_all, writer))
    log.write(b"x\ny\n")
    log.close()
    assert log.dropped == 2
    os.close(writer)
