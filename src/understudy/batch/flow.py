"""What lets stages overlap without memory growing: a budget for pictures in flight, and a queue of work by stage."""

from __future__ import annotations

import heapq
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from understudy.errors import InvalidInputError

T = TypeVar("T")


@dataclass(frozen=True)
class Cost:
    """What one picture takes of the budget while it is in flight."""

    pixels: int = 0
    n_bytes: int = 0


class Budget:
    """Lets pictures in while their count, pixels and file bytes stay within limits; one alone may be over them.

    Parameters
    ----------
    max_pictures, max_pixels, max_bytes : int
        Limits on what is in flight, each 1 or more.
    """

    def __init__(self, max_pictures: int, max_pixels: int, max_bytes: int) -> None:
        for name, value in (("max_pictures", max_pictures), ("max_pixels", max_pixels), ("max_bytes", max_bytes)):
            if value < 1:
                raise InvalidInputError(f"{name} must be 1 or more, got {value}")
        self.max_pictures, self.max_pixels, self.max_bytes = max_pictures, max_pixels, max_bytes
        self.n_pictures = 0
        self.pixels = 0
        self.n_bytes = 0
        self.waiting = False
        """Whether somebody waits to be let in."""
        self._closed = False
        self._changed = threading.Condition()

    def _fits(self, cost: Cost) -> bool:
        return self.n_pictures == 0 or (
            self.n_pictures < self.max_pictures
            and self.pixels + cost.pixels <= self.max_pixels
            and self.n_bytes + cost.n_bytes <= self.max_bytes
        )

    def acquire(self, cost: Cost, on_wait: Callable[[], None] = lambda: None) -> bool:
        """Wait until a picture may come in; False where the budget was closed instead.

        ``on_wait`` is called once before waiting, so that whoever gathers a batch knows that no more will come.
        """
        with self._changed:
            fits = self._fits(cost)
            self.waiting = not fits
        if not fits:
            on_wait()
        with self._changed:
            while not self._fits(cost) and not self._closed:
                self._changed.wait()
            self.waiting = False
            if self._closed:
                return False
            self.n_pictures += 1
            self.pixels += cost.pixels
            self.n_bytes += cost.n_bytes
            return True

    def release(self, cost: Cost) -> None:
        """A picture has left."""
        with self._changed:
            self.n_pictures -= 1
            self.pixels -= cost.pixels
            self.n_bytes -= cost.n_bytes
            self._changed.notify_all()

    def close(self) -> None:
        """Let nobody in any more, and wake who waits."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


@dataclass
class Desk(Generic[T]):
    """Where pictures wait between stages; every wait and every change goes through one condition.

    ``prepare`` and ``finish`` work is done by the workers, finishing first, so that memory is freed before more is
    taken; ``replace`` work is gathered into batches.
    """

    micro_batch: int
    gather_s: float
    supply_ended: Callable[[], bool]
    """Whether nothing more comes for now: listing is over, or waits for the budget."""
    n_regions: Callable[[T], int]
    _work: list[tuple[int, int, T]] = field(default_factory=list)
    _gathered: deque[tuple[float, T]] = field(default_factory=deque)
    _n_upstream: int = 0
    _sequence: int = 0
    _closed: bool = False
    _draining: bool = False
    changed: threading.Condition = field(default_factory=threading.Condition)

    def expect(self) -> None:
        """A picture is on its way from elsewhere, and will be put or declared to be out."""
        with self.changed:
            self._n_upstream += 1

    def put_prepare(self, item: T, *, expected: bool = False) -> None:
        """A picture that is to be read, decoded and searched; ``expected`` where it was announced."""
        with self.changed:
            self._n_upstream += not expected
            self._push(1, item)

    def depths(self) -> dict[str, int]:
        """How many pictures wait for each stage."""
        with self.changed:
            n_prepare = sum(rank == 1 for rank, _, _ in self._work)
            return {"prepare": n_prepare, "replace": len(self._gathered), "finish": len(self._work) - n_prepare}

    def put_finish(self, item: T) -> None:
        """A picture that is to be encoded and written."""
        with self.changed:
            self._push(0, item)

    def _push(self, rank: int, item: T) -> None:
        self._sequence += 1
        heapq.heappush(self._work, (rank, self._sequence, item))
        self.changed.notify_all()

    def prepared(self, item: T | None) -> None:
        """A picture has left the first stages: on to being replaced, or out (None)."""
        with self.changed:
            self._n_upstream -= 1
            if item is not None:
                self._gathered.append((time.monotonic(), item))
            self.changed.notify_all()

    def wake(self) -> None:
        """Something changed outside that decides about batches."""
        with self.changed:
            self.changed.notify_all()

    def next_work(self) -> tuple[bool, T] | None:
        """(is to be finished, picture) for a worker; None when there will be nothing more."""
        with self.changed:
            while not self._work or (self._draining and self._work[0][0] == 1):
                if self._closed:
                    return None
                self.changed.wait()
            rank, _, item = heapq.heappop(self._work)
            return rank == 0, item

    def next_batch(self) -> list[T] | None:
        """Pictures to replace together; None when there will be nothing more.

        A batch is handed out when it has enough regions, when nothing can join it any more, or after ``gather_s``.
        Who is in it decides only the time that it takes: batches are padded, so results do not depend on company.
        """
        with self.changed:
            while True:
                if self._closed or self._draining:
                    return None
                wait_s = self._wait_s()
                if wait_s is not None and wait_s <= 0:
                    return self._take()
                self.changed.wait(wait_s)

    def _wait_s(self) -> float | None:
        if not self._gathered:
            return None
        if sum(max(1, self.n_regions(item)) for _, item in self._gathered) >= self.micro_batch:
            return 0.0
        if self._n_upstream > 0:
            return None
        return 0.0 if self.supply_ended() else self._gathered[0][0] + self.gather_s - time.monotonic()

    def _take(self) -> list[T]:
        batch: list[T] = []
        n_regions = 0
        while self._gathered and n_regions < self.micro_batch:
            item = self._gathered.popleft()[1]
            batch.append(item)
            n_regions += max(1, self.n_regions(item))
        return batch

    def drain(self) -> None:
        """Begin nothing new; what only has to be written may still be written."""
        with self.changed:
            self._draining = True
            self.changed.notify_all()

    def close(self) -> None:
        """Send everybody home once the queue is empty."""
        with self.changed:
            self._closed = True
            if self._draining:
                self._work = [entry for entry in self._work if entry[0] == 0]
                heapq.heapify(self._work)
            self.changed.notify_all()
