import os
import threading

from tunnelctl.line_writer import ATOMIC, MAX_WAITING, LineWriter


def read_all(fd):
    data = b""
    while piece := os.read(fd, 65536):
        data += piece
    return data


def test_lines_come_out_whole_and_in_order():
    reader, writer = os.pipe()
    log = LineWriter(writer)
    lines = [f"line {number} {'x' * (number % 200)}\n" for number in range(300)]
    for line in lines:
        log.write(line)
    log.close()
    os.close(writer)
    assert read_all(reader).decode() == "".join(lines)
    os.close(reader)


def test_a_line_longer_than_a_pipe_takes_at_once_comes_out_whole():
    reader, writer = os.pipe()
    got = []
    thread = threading.Thread(target=lambda: got.append(read_all(reader)))
    thread.start()
    log = LineWriter(writer)
    log.write("y" * (40 * ATOMIC) + "\n")
    log.close()
    os.close(writer)
    thread.join()
    os.close(reader)
    assert len(got[0]) == 40 * ATOMIC + 1


def test_a_reader_that_never_reads_holds_up_nobody_and_the_rest_is_counted():
    reader, writer = os.pipe()
    log = LineWriter(writer)
    for _ in range(MAX_WAITING * 2):
        log.write("z" * 100 + "\n")
    assert log.dropped > 0
    os.close(reader)  # the thread's write fails, and it ends
    log.close()
    os.close(writer)


def test_a_reader_that_went_away_is_no_error():
    reader, writer = os.pipe()
    os.close(reader)
    log = LineWriter(writer)
    log.write("x\n")
    log.close()
    log.write("y\n")
    os.close(writer)
