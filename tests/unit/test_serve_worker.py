"""The worker: one picture at a time, in order, a bounded queue, nothing begun that nobody waits for."""

from __future__ import annotations

import gc
import threading
import weakref
from concurrent.futures import Future

import pytest

from understudy.serve.worker import QueueFullError, StoppingError, Worker


class Gated:
    """Work that waits until it is let go, and notes its order."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.began = threading.Event()
        self.order: list[bytes] = []
        self.most_at_once = self._now = 0

    def __call__(self, data: bytes) -> bytes:
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        self.began.set()
        assert self.go.wait(20)
        self.order.append(data)
        self._now -= 1
        return data.upper()


def test_pictures_are_worked_on_one_at_a_time_in_the_order_of_their_coming() -> None:
    work = Gated()
    worker = Worker(work, 5)
    futures = [worker.offer(bytes([97 + k])) for k in range(5)]
    work.go.set()
    assert [future.result(20) for future in futures] == [b"A", b"B", b"C", b"D", b"E"]
    assert work.order == [b"a", b"b", b"c", b"d", b"e"]
    assert work.most_at_once == 1
    worker.stop()
    assert worker.join(20)


def test_no_more_wait_than_may_and_a_cancelled_one_makes_room() -> None:
    work = Gated()
    worker = Worker(work, 2)
    first = worker.offer(b"a")
    assert work.began.wait(20)
    second, _third = worker.offer(b"b"), worker.offer(b"c")
    assert worker.is_full
    with pytest.raises(QueueFullError, match="2 pictures are waiting"):
        worker.offer(b"d")
    assert second.cancel()
    assert worker.n_waiting == 1
    fourth = worker.offer(b"e")
    work.go.set()
    assert (first.result(20), fourth.result(20)) == (b"A", b"E")
    assert work.order == [b"a", b"c", b"e"]
    worker.stop()


def test_stopping_finishes_what_is_worked_on_and_turns_away_what_waits() -> None:
    work = Gated()
    worker = Worker(work, 3)
    running = worker.offer(b"a")
    assert work.began.wait(20)
    waiting = worker.offer(b"b")
    worker.stop()
    with pytest.raises(StoppingError):
        waiting.result(20)
    with pytest.raises(StoppingError):
        worker.offer(b"c")
    assert not worker.is_well
    assert not worker.join(0.01)
    work.go.set()
    assert running.result(20) == b"A"
    assert worker.join(20)
    assert work.order == [b"a"]


def test_work_that_raises_is_told_and_the_thread_goes_on() -> None:
    def work(data: bytes) -> int:
        return 10 // len(data)

    worker = Worker(work, 2)
    with pytest.raises(ZeroDivisionError):
        worker.offer(b"").result(20)
    assert worker.offer(b"ab").result(20) == 5
    worker.stop()


def test_no_result_stays_with_an_idle_worker() -> None:
    class Result:
        """A result that can be watched."""

    kept: list[weakref.ref[object]] = []

    def work(data: bytes) -> Result:
        result = Result()
        kept.append(weakref.ref(result))
        return result

    worker = Worker(work, 2)
    future: Future[Result] | None = worker.offer(b"a picture")
    assert future is not None
    future.result(20)
    del future
    for _ in range(200):
        gc.collect()
        if all(reference() is None for reference in kept):
            break
        threading.Event().wait(0.02)
    assert [reference() for reference in kept if reference() is not None] == []
    worker.stop()
