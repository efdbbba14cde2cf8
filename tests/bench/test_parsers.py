"""Tests of the parsers for the output of load tools and for /proc."""

import os

import pytest

from tests.bench.loads import LoadFailed, parse_load, parse_wrk
from tests.bench.procs import cpu_seconds, parse_machine_time, parse_stat, pss_kib, tree_of

WRK = """Running 1s test @ http://127.0.0.1:40001/128
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   777.19us  812.95us  12.87ms   92.83%
    Req/Sec    23.38k     1.62k   26.29k    60.00%
  Latency Distribution
     50%  590.00us
     75%    0.92ms
     90%    1.46ms
     99%    3.97ms
  23302 requests in 1.02s, 8.31MB read
Requests/sec:  22913.06
Transfer/sec:      8.17MB
"""


def test_wrk_is_read_in_plain_units() -> None:
    result = parse_wrk(WRK)

    assert (result.requests, result.seconds, result.errors) == (23302, 1.02, 0)
    assert (result.p50_ms, result.p99_ms) == (0.59, 3.97)
    assert result.bytes_read == pytest.approx(8.31 * 2**20)


def test_wrk_errors_of_every_kind_are_counted() -> None:
    text = WRK + "  Socket errors: connect 1, read 20, write 0, timeout 3\n  Non-2xx or 3xx responses: 100\n"

    assert parse_wrk(text).errors == 124


def test_wrk_in_long_windows_is_read_too() -> None:
    result = parse_wrk("     99%    1.20s\n  10 requests in 1.50m, 2.00GB read\n")

    assert (result.seconds, result.bytes_read, result.p99_ms) == (90.0, 2 * 2**30, 1200.0)


def test_wrk_without_a_summary_is_a_failure() -> None:
    with pytest.raises(LoadFailed, match="no summary"):
        parse_wrk("unable to connect to 127.0.0.1:1 Connection refused\n")


def test_a_probe_and_an_echo_are_read_alike() -> None:
    echo = '{"count": 9, "errors": 1, "rate": 4.5, "p50_ms": 0.2, "p99_ms": 1.5}'
    probe = echo[:-1] + ', "sent_p50_ms": 0.1, "sent_p99_ms": 0.7}'

    assert (parse_load(echo).sent_p99_ms, parse_load(probe).sent_p99_ms) == (1.5, 0.7)


@pytest.mark.parametrize("text", ["", "stalled 8", '{"count": 0, "errors": 64, "rate": 0}'])
def test_a_load_without_an_answer_is_a_failure(text: str) -> None:
    with pytest.raises(LoadFailed):
        parse_load(text)


def test_a_process_name_with_brackets_does_not_shift_its_figures() -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    stat = parse_stat(f"7 (a) b) S 3 7 7 0 -1 0 0 0 0 0 {ticks} {ticks} {2 * ticks} 0 20 0 1 0 0 0 0")

    assert (stat.parent, stat.cpu_seconds) == (3, 4.0)


def test_idle_and_waiting_time_is_not_work() -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    time = parse_machine_time(f"cpu  {ticks} 0 {ticks} 999999 999999 0 {ticks} {2 * ticks} 0 0")

    assert (time.busy, time.stolen) == (3.0, 2.0)


def test_this_process_is_found_with_its_cpu_and_memory() -> None:
    me = os.getpid()

    assert me in tree_of([os.getppid()])
    assert cpu_seconds([me]) > 0
    assert pss_kib([me]) > 1000


def test_a_process_that_is_gone_counts_nothing() -> None:
    gone = 2**22 + 1

    assert (cpu_seconds([gone]), pss_kib([gone])) == (0, 0)
