from tunnelctl.wire.limits import LeakyBucket


def test_a_bucket_takes_a_burst_and_then_what_has_drained() -> None:
    bucket = LeakyBucket(rate=10, burst=5)
    assert [bucket.add(1.0) for _ in range(6)] == [True] * 5 + [False]
    assert bucket.room(1.5) == 4
    assert bucket.room(9.0) == 5


def test_a_clock_that_goes_back_drains_nothing() -> None:
    bucket = LeakyBucket(rate=10, burst=5)
    bucket.add(100.0)
    assert bucket.room(50.0) == 4
