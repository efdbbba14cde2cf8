"""The cache that many owners share: bounded by count and bytes, and who fills it pushes out their own."""

from hypothesis import given
from hypothesis import strategies as st

from tests.bounds.driving import measured
from tunnelrelay.policy.fair_cache import FairCache


def cache(*, max_count: int = 100, max_bytes: int = 1_000, max_of_owner: int | None = None) -> FairCache[str, str]:
    return FairCache(max_count=max_count, max_bytes=max_bytes, max_of_owner=max_of_owner)


def fill(kept: FairCache[str, str], owner: str, count: int, *, weight: int = 10) -> None:
    for number in range(count):
        kept.put(f"{owner}-{number}", owner, owner=owner, weight=weight)


def test_an_owner_who_fills_it_by_bytes_pushes_out_their_own_oldest() -> None:
    kept = cache()
    fill(kept, "ann", 3)
    fill(kept, "eve", 50, weight=100)

    assert kept.count_of("ann") == 3
    assert (kept.get("eve-0"), kept.get("eve-49")) == (None, "eve")
    assert kept.total <= 1_000


def test_an_owner_who_fills_it_by_count_pushes_out_their_own_oldest() -> None:
    kept = cache(max_count=10)
    fill(kept, "ann", 3, weight=50)
    fill(kept, "eve", 50, weight=1)

    assert (kept.count_of("ann"), kept.count_of("eve")) == (3, 7)


def test_one_who_comes_late_gets_room_from_the_one_who_has_the_most() -> None:
    kept = cache()
    fill(kept, "eve", 100)
    fill(kept, "ann", 20)

    assert (kept.count_of("ann"), kept.count_of("eve")) == (20, 80)


def test_an_owner_has_no_more_than_their_own_limit() -> None:
    kept = cache(max_of_owner=5)
    fill(kept, "eve", 10)

    assert [kept.get(f"eve-{number}") for number in (4, 5)] == [None, "eve"]


def test_what_was_used_lately_stays() -> None:
    kept = cache(max_of_owner=3)
    fill(kept, "ann", 3)
    kept.touch("ann-0")
    kept.put("ann-3", "ann", owner="ann", weight=10)

    assert (kept.get("ann-0"), kept.get("ann-1")) == ("ann", None)


def test_of_owners_who_have_as_much_the_one_gives_who_used_it_the_longest_ago() -> None:
    kept = cache(max_count=3)
    for owner in ("ann", "bob", "eve"):
        fill(kept, owner, 1)
    kept.touch("ann-0")
    fill(kept, "zoe", 1)

    assert [kept.count_of(owner) for owner in ("ann", "bob", "eve", "zoe")] == [1, 0, 1, 1]


def test_of_owners_who_gave_and_have_as_much_again_each_gives_in_turn() -> None:
    kept = cache(max_count=4)
    for owner in ("ann", "bob"):
        fill(kept, owner, 2)
    for owner in ("zoe", "yan"):
        fill(kept, owner, 1)

    assert [kept.count_of(owner) for owner in ("ann", "bob", "zoe", "yan")] == [1, 1, 1, 1]


def test_what_is_heavier_than_all_may_be_is_not_kept() -> None:
    kept = cache()
    fill(kept, "ann", 1)
    fill(kept, "eve", 1, weight=1_001)

    assert (kept.get("ann-0"), kept.get("eve-0")) == ("ann", None)


def test_a_value_that_grows_makes_room_too() -> None:
    kept = cache()
    fill(kept, "ann", 10)
    kept.weigh("ann-9", 950)
    kept.weigh("gone", 950)

    assert kept.total <= 1_000
    assert kept.get("ann-9") == "ann"
    assert kept.get("ann-0") is None


owners = st.sampled_from("abc")
steps = st.one_of(
    st.tuples(st.just("put"), st.integers(0, 20), owners, st.integers(1, 400)),
    st.tuples(st.just("pop"), st.integers(0, 20)),
    st.tuples(st.just("weigh"), st.integers(0, 20), st.integers(1, 400)),
    st.tuples(st.just("clear")),
)


@given(st.lists(steps, max_size=100))
def test_what_it_counts_is_what_it_keeps_whatever_is_done(done: list[tuple[object, ...]]) -> None:
    kept: FairCache[object, str] = FairCache(max_count=8, max_bytes=1_000, max_of_owner=5)
    weights: dict[object, int] = {}
    for step in done:
        match step:
            case "put", key, str(owner), int(weight):
                kept.put(key, owner, owner=owner, weight=weight)
                weights[key] = weight
            case "pop", key:
                kept.pop(key)
            case "weigh", key, int(weight):
                if kept.get(key) is not None:
                    weights[key] = weight
                kept.weigh(key, weight)
            case _:
                kept.clear()
        assert len(kept) <= 8
        assert kept.total <= 1_000
        assert kept.total == sum(weight for key, weight in weights.items() if kept.get(key) is not None)
        assert len(kept) == sum(kept.count_of(owner) for owner in "abc")
        assert all(kept.count_of(owner) <= 5 for owner in "abc")


def test_owners_who_have_nothing_any_more_take_no_memory() -> None:
    kept: FairCache[int, str] = FairCache(max_count=8, max_bytes=1_000)
    with measured() as memory:
        for number in range(10_000):
            kept.put(number, "v", owner=f"owner-{number}", weight=1)
            kept.pop(number)
        assert memory.taken < 100_000
