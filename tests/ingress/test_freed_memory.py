"""Memory is given back once many visitors have left, and not while a few come and go."""

from tunnelrelay.ingress.freed_memory import MANY, FreedMemory


class Freed(FreedMemory):
    """Counts visitors and what is due."""

    def __init__(self) -> None:
        self.due: list = []
        self.given_back = 0
        self.now_there = 0
        super().__init__(lambda _, call: self.due.append(call), self.give)

    def give(self) -> None:
        self.given_back += 1

    def come(self, count: int) -> None:
        for _ in range(count):
            self.now_there += 1
            self.came(self.now_there)

    def leave(self, count: int) -> None:
        for _ in range(count):
            self.now_there -= 1
            self.left(self.now_there)


def test_after_many_have_left_memory_is_given_back_a_few_times_in_all():
    freed = Freed()
    freed.come(8 * MANY)
    freed.leave(8 * MANY)
    for call in freed.due:
        call()

    assert freed.given_back == 4, "at a half, a quarter, an eighth and a sixteenth"


def test_it_is_done_again_after_the_next_wave():
    freed = Freed()
    for _ in range(3):
        freed.come(MANY)
        freed.leave(MANY)

    assert len(freed.due) == 3


def test_few_that_come_and_go_cost_nothing():
    freed = Freed()
    for _ in range(5):
        freed.come(MANY - 1)
        freed.leave(MANY - 1)
    freed.come(MANY)
    for _ in range(1000):
        freed.leave(MANY // 4)
        freed.come(MANY // 4)

    assert freed.due == []


def test_the_c_librarys_own_is_there_or_left_out():
    due: list = []
    freed = FreedMemory(lambda _, call: due.append(call))
    freed.came(MANY)
    freed.left(0)
    for call in due:
        call()

    assert len(due) == 1
