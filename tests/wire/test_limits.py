from tunnelctl.wire.limits import Bucket


def test_a_bucket_gives_a_burst_and_then_what_has_come_since() -> None:
    bucket = Bucket(5, 10)
    assert [bucket.take(1.0) for _ in range(6)] == [True] * 5 + [False]
    assert bucket.room(1.3) == 3
    assert bucket.room(9.0) == 5


def test_what_is_spent_beyond_the_budget_must_fill_up_again_first() -> None:
    bucket = Bucket(5, 10)
    for _ in range(6):
        bucket.spend(1.0)
    assert bucket.room(1.0) == -1
    assert bucket.room(1.5) == 4


def test_a_clock_that_goes_back_gives_nothing() -> None:
    bucket = Bucket(5, 10)
    bucket.take(100.0)
    assert bucket.room(50.0) == 4
