"""One thread that works on one picture at a time, and a short queue before it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from understudy.errors import UnderstudyError

T = TypeVar("T")


class QueueFullError(UnderstudyError):
    """As many wait as may wait."""


class StoppingError(UnderstudyError):
    """The server is being stopped; what had not begun is not begun."""


class _Entry(Generic[T]):
    """One picture that waits."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.future: Future[T] = Future()


class Worker(Generic[T]):
    """A thread with a bounded queue; cancelling a future takes its picture out of the queue.

    Parameters
    ----------
    work : callable
        Called with one body at a time, in order of arrival.
    max_waiting : int
        Bodies that may wait while another is worked on.
    """

    def __init__(self, work: Callable[[bytes], T], max_waiting: int) -> None:
        self._work = work
        self._max_waiting = max_waiting
        self._entries: deque[_Entry[T]] = deque()
        self._wake = threading.Condition()
        self._stopping = False
        self._busy = False
        self._thread = threading.Thread(target=self._run, name="understudy-worker", daemon=True)
        self._thread.start()

    def offer(self, data: bytes) -> Future[T]:
        """Queue a body.

        Raises
        ------
        QueueFullError
            ``max_waiting`` are waiting.
        StoppingError
            ``stop`` was called.
        """
        with self._wake:
            if self._stopping:
                raise StoppingError("the server is being stopped")
            if self._is_full():
                raise QueueFullError(f"{self._max_waiting} pictures are waiting, and no more may")
            entry: _Entry[T] = _Entry(data)
            self._entries.append(entry)
            self._wake.notify()
        entry.future.add_done_callback(lambda _: self._forget(entry))
        return entry.future

    @property
    def is_full(self) -> bool:
        """Whether ``offer`` would refuse now."""
        with self._wake:
            return self._is_full()

    @property
    def n_waiting(self) -> int:
        """Bodies that wait."""
        with self._wake:
            return len(self._entries)

    @property
    def is_busy(self) -> bool:
        """Whether a picture is being worked on."""
        return self._busy

    @property
    def is_well(self) -> bool:
        """Whether the thread lives and takes work."""
        return self._thread.is_alive() and not self._stopping

    def stop(self) -> None:
        """Take no more, fail what waits, and end the thread after the picture that is worked on."""
        with self._wake:
            self._stopping = True
            waiting, self._entries = self._entries, deque()
            self._wake.notify_all()
        for entry in waiting:
            if entry.future.set_running_or_notify_cancel():
                entry.future.set_exception(StoppingError("the server is being stopped"))

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread's end; False where it is still at work then."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _is_full(self) -> bool:
        # an idle worker takes the next one out of the queue at once, so one more may wait for it
        return len(self._entries) >= self._max_waiting + (not self._busy)

    def _forget(self, entry: _Entry[T]) -> None:
        entry.data = b""
        with self._wake:
            if entry in self._entries:
                self._entries.remove(entry)

    def _next(self) -> _Entry[T] | None:
        with self._wake:
            while not self._entries:
                if self._stopping:
                    return None
                self._wake.wait()
            self._busy = True
            return self._entries.popleft()

    def _run(self) -> None:
        while (entry := self._next()) is not None:
            if entry.future.set_running_or_notify_cancel():
                try:
                    result = self._work(entry.data)
                except BaseException as error:  # noqa: BLE001 - the thread goes on; the error is the caller's
                    entry.future.set_exception(error)
                else:
                    entry.future.set_result(result)
                    del result
            del entry  # no picture stays behind while the thread waits for the next
            with self._wake:
                self._busy = False
