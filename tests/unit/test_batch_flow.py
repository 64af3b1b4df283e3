"""Letting pictures in while there is room, and gathering them into batches."""

from __future__ import annotations

import threading
import time

import pytest

from understudy.batch.flow import Budget, Cost, Desk
from understudy.errors import InvalidInputError


def desk(micro_batch: int = 4, *, gather_s: float = 60.0, ended: bool = False) -> Desk[str]:
    """Pictures are strings here; each letter is a region."""
    return Desk(micro_batch, gather_s, supply_ended=lambda: ended, n_regions=len)


def arrive(waiting: Desk[str], *pictures: str) -> None:
    for picture in pictures:
        waiting.put_prepare(picture)
    for _ in pictures:
        work = waiting.next_work()
        assert work is not None
        waiting.prepared(work[1])


def test_pictures_are_let_in_up_to_each_limit() -> None:
    for limits, cost in (((2, 99, 99), Cost(1, 1)), ((99, 20, 99), Cost(10, 1)), ((99, 99, 20), Cost(1, 10))):
        budget = Budget(*limits)
        waits: list[bool] = []
        assert budget.acquire(cost, lambda waits=waits: waits.append(True))  # type: ignore[misc]
        assert budget.acquire(cost, lambda waits=waits: waits.append(True))  # type: ignore[misc]
        assert waits == []
        threading.Timer(0.05, budget.release, (cost,)).start()
        assert budget.acquire(cost, lambda waits=waits: waits.append(True))  # type: ignore[misc]
        assert waits == [True]


def test_a_picture_over_every_limit_is_let_in_alone() -> None:
    budget = Budget(5, 10, 10)
    assert budget.acquire(Cost(1000, 1000))
    assert (budget.n_pictures, budget.pixels) == (1, 1000)
    budget.release(Cost(1000, 1000))
    assert (budget.n_pictures, budget.pixels, budget.n_bytes) == (0, 0, 0)


def test_closing_turns_away_who_waits() -> None:
    budget = Budget(1, 1, 1)
    assert budget.acquire(Cost())
    threading.Timer(0.05, budget.close).start()
    assert not budget.acquire(Cost())


def test_limits_below_one_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="max_pixels must be 1 or more, got 0"):
        Budget(1, 0, 1)


def test_a_batch_is_handed_out_when_it_has_enough_regions() -> None:
    waiting = desk(4)
    arrive(waiting, "aa", "b", "cccc", "d")
    assert waiting.next_batch() == ["aa", "b", "cccc"]


def test_a_picture_without_regions_counts_as_one() -> None:
    waiting = desk(3)
    arrive(waiting, "", "", "", "")
    assert waiting.next_batch() == ["", "", ""]


def test_a_batch_that_nothing_can_join_any_more_is_handed_out() -> None:
    waiting = desk(100, ended=True)
    arrive(waiting, "a", "b")
    assert waiting.next_batch() == ["a", "b"]


def test_a_batch_waits_for_pictures_that_are_being_prepared() -> None:
    waiting = desk(100, ended=True)
    arrive(waiting, "a")
    waiting.put_prepare("late")
    threading.Timer(0.05, arrive_late, (waiting,)).start()
    assert waiting.next_batch() == ["a", "late"]


def arrive_late(waiting: Desk[str]) -> None:
    work = waiting.next_work()
    assert work == (False, "late")
    waiting.prepared("late")


def test_a_batch_does_not_wait_for_a_slow_listing_for_ever() -> None:
    waiting = desk(100, gather_s=0.05, ended=False)
    arrive(waiting, "a")
    began = time.monotonic()
    assert waiting.next_batch() == ["a"]
    assert time.monotonic() - began < 30


def test_a_picture_that_ended_early_is_not_waited_for() -> None:
    waiting = desk(100, ended=True)
    arrive(waiting, "a")
    waiting.put_prepare("bad")
    assert waiting.next_work() == (False, "bad")
    waiting.prepared(None)
    assert waiting.next_batch() == ["a"]


def test_writing_goes_before_reading() -> None:
    waiting = desk()
    waiting.put_prepare("new")
    waiting.put_finish("old")
    assert waiting.next_work() == (True, "old")
    assert waiting.next_work() == (False, "new")


def test_draining_only_writes_what_is_ready() -> None:
    waiting = desk()
    arrive(waiting, "aaaa")
    waiting.put_prepare("new")
    waiting.put_finish("old")
    waiting.drain()
    waiting.close()
    assert waiting.next_work() == (True, "old")
    assert waiting.next_work() is None
    assert waiting.next_batch() is None
