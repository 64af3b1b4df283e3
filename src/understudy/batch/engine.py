"""What every run does around the work itself: let inputs in, each once, and commit what became of them.

A listing thread lets pictures in while there is room (``Budget``); one thread puts containers together; the calling
thread commits rows to the ledger and reports. The stages between are those of a kind of run: threads of this process
(``threads``), or workers of a Ray cluster (``ray_run``).
"""

from __future__ import annotations

import queue
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

from understudy.batch.containers import BrokenContainerError
from understudy.batch.films import Films, StoppedError, is_film
from understudy.batch.flow import Budget, Cost
from understudy.batch.folder import NameTakenError, Outputs
from understudy.batch.items import Inputs, Item
from understudy.batch.keeper import Keeper, failure, is_container
from understudy.batch.ledger import Ledger, Row, Status
from understudy.batch.progress import Event
from understudy.batch.resume import Resumed, event_of, is_settled, with_rows
from understudy.batch.settings import RunSettings
from understudy.batch.shard import Census, Shard
from understudy.batch.stages import Picture, new_picture
from understudy.batch.summary import RunInterruptedError, RunSummary
from understudy.errors import OutputError

Watch = Callable[[Mapping[str, float]], object]
"""Told what is in flight and how long the queues are."""

_POLL_S = 0.1
_WATCH_S = 1.0
_MAX_TOLD = 1000
"""Events of earlier runs that may wait to be told."""


class Run(ABC):
    """One run over a collection: its listing, its budget, its ledger.

    Parameters
    ----------
    inputs : Inputs
    ledger : Ledger
    outputs : Outputs
    settings : RunSettings
    report : callable
        Told each event, in the calling thread.
    shard : Shard, optional
        The part of the inputs to work on.
    watch : callable, optional
    lost : list of exceptions
        Whatever is put into it from elsewhere ends the run.
    """

    keeper: Keeper
    """Set before ``go``."""
    films: Films | None = None
    """The same; None: films are refused."""

    def __init__(
        self,
        inputs: Inputs,
        ledger: Ledger,
        outputs: Outputs,
        settings: RunSettings,
        report: Callable[[Event], object],
        *,
        shard: Shard | None = None,
        watch: Watch | None = None,
        lost: list[BaseException] | None = None,
    ) -> None:
        self.inputs, self.ledger, self.outputs = inputs, ledger, outputs
        self.settings, self.report, self.shard, self.watch = settings, report, shard, watch
        self.summary = RunSummary()
        self.census = Census()
        self.budget = Budget(settings.max_pictures, settings.max_pixels, settings.max_bytes)
        self.to_film: queue.SimpleQueue[Picture | None] = queue.SimpleQueue()
        self.finished: queue.SimpleQueue[Picture] = queue.SimpleQueue()
        self.told_later: queue.Queue[Event] = queue.Queue(_MAX_TOLD)
        self.resumed = Resumed()
        self.listed = False
        self.stopping = False
        self.interrupted = self.hurried = False
        self.error: BaseException | None = None
        self._lost = lost if lost is not None else []
        self._watched = 0.0

    def go(self) -> RunSummary:
        """Work until everything is settled or something ends the run."""
        began = time.monotonic()
        n_films = 0 if self.films is None else 1
        own = (("list", self._list, 1), ("film", self._film, n_films), ("keep", self.keeper.work, 1))
        stages = (*own, *self._stages())
        threads = [
            threading.Thread(target=self._guard, args=(work,), name=name, daemon=True)
            for name, work, n in stages
            for _ in range(n)
        ]
        with self._signals():
            for thread in threads:
                thread.start()
            try:
                self._settle_all(threads)
            finally:
                self._stop()
                for thread in threads if not self.hurried else ():
                    while thread.is_alive():
                        self._tell_all()  # whoever waits to tell something can then end
                        thread.join(_POLL_S)
                self._settle(timeout_s=0)
                self._tell_all()
                self.summary.elapsed_s = time.monotonic() - began
        if self.error is not None:
            raise self.error
        if self.interrupted:
            raise RunInterruptedError(self.summary)
        return self.summary

    @abstractmethod
    def _stages(self) -> Sequence[tuple[str, Callable[[], None], int]]:
        """Name, work and number of the threads between listing and committing."""

    @abstractmethod
    def _let_in(self, picture: Picture) -> None:
        """Hand a picture to the first stage; it comes back through ``finished``."""

    @abstractmethod
    def _close(self, *, drain: bool) -> None:
        """Send the stages home once their work is done; ``drain``: begin nothing new, write what only has to be."""

    def _supply_changed(self) -> None:  # noqa: B027 - not every kind of run wants to know
        """Listing is over, or waits for room."""

    def _depths(self) -> Mapping[str, int]:
        """How many pictures wait for each stage."""
        return {}

    def _cost(self, item: Item) -> Cost:
        """What an input takes of the budget."""
        return item.cost()

    def _guard(self, work: Callable[[], None]) -> None:
        """An error that is not one picture's ends the run; the calling thread raises it."""
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised again by ``go``
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if self.error is None:
            self.error = error

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """The first SIGINT or SIGTERM stops cleanly, the second at once."""

        def stop(_number: int, _frame: FrameType | None) -> None:
            if self.interrupted:
                self.hurried = True
                raise KeyboardInterrupt
            self.interrupted = True

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self) -> None:
        """Begin nothing new; pictures that only have to be written are written."""
        self.stopping = True
        self.budget.close()
        self._close(drain=not self.listed or self.budget.n_pictures > 0)
        self.to_film.put(None)
        self.keeper.close()

    @property
    def _is_over(self) -> bool:
        return self.listed and self.budget.n_pictures == 0 and self.keeper.idle

    def _settle_all(self, threads: list[threading.Thread]) -> None:
        while not self._is_over:
            self._settle(_POLL_S)
            self._look()
            if self._lost:
                self._fail(self._lost[0])
            if self.error is not None or self.interrupted:
                self._stop()
                while any(thread.is_alive() for thread in threads):
                    self._settle(_POLL_S)
                return
        self._look(last=True)

    def _look(self, *, last: bool = False) -> None:
        now = time.monotonic()
        if self.watch is not None and (last or now - self._watched >= _WATCH_S):
            self._watched = now
            depths = {f"queue_{stage}": float(n) for stage, n in self._depths().items()}
            self.watch(
                {
                    "pictures_in_flight": float(self.budget.n_pictures),
                    "pixels_in_flight": float(self.budget.pixels),
                    "bytes_in_flight": float(self.budget.n_bytes),
                    "queue_commit": float(self.finished.qsize()),
                    **depths,
                }
            )

    def _settle(self, timeout_s: float) -> None:
        """Commit what is finished, in one transaction, then tell."""
        self._tell_all()
        pictures: list[Picture] = []
        with suppress(queue.Empty):
            pictures.append(self.finished.get(timeout=timeout_s) if timeout_s else self.finished.get_nowait())
            while len(pictures) < self.settings.max_pictures:
                pictures.append(self.finished.get_nowait())
        rows = [picture.done for picture in pictures if picture.done is not None]
        if not rows:
            return
        for picture in pictures:
            if picture.done is not None and picture.done.status is not Status.DONE:
                self.outputs.discard(picture.file)
        try:
            self.ledger.record(rows)
        except OutputError as error:
            self._fail(error)
            rows = []
        for picture in pictures:
            self.outputs.release(picture.file.image_id)
            if rows:
                self.keeper.settled(picture.file)
            self.budget.release(picture.cost)
        for row in rows:
            self._tell(event_of(row, resumed=False))

    def _tell(self, event: Event) -> None:
        self.summary.add(event)
        self.report(event)

    def _tell_all(self) -> None:
        with suppress(queue.Empty):
            while True:
                self._tell(self.told_later.get_nowait())

    def tell_later(self, event: Event) -> None:
        """Have the calling thread tell something; waits while it has much to tell."""
        while True:
            try:
                return self.told_later.put(event, timeout=_POLL_S)
            except queue.Full:
                if self.hurried:
                    return None

    def _list(self) -> None:
        """Let in one input after the other."""
        try:
            for item, row in with_rows(self._of_this_shard(), self.ledger):
                if self.stopping or self.error is not None:
                    return
                if is_container(item):
                    if self._let_in_container(item):
                        continue
                    row = self.ledger.find(item.image_id)
                if not self._settled_before(item, row) and not self._admit(item):
                    return
        finally:
            self._tell_resumed()
            self.listed = True
            self._supply_changed()

    def _of_this_shard(self) -> Iterator[Item]:
        if self.shard is None:
            yield from self.inputs
            return
        for item in self.inputs:
            self.census.add(item.image_id)
            if self.shard.holds(item.image_id):
                yield item

    def _settled_before(self, item: Item, row: Row | None) -> bool:
        if row is None or not is_settled(item, row, self.outputs, self.ledger):
            return False
        if self.resumed.add(row):
            self._tell_resumed()
        return True

    def _tell_resumed(self) -> None:
        for event in self.resumed.events():
            self.tell_later(event)

    def _let_in_container(self, item: Item) -> bool:
        """Let in the pictures of a container; False where it holds none, or is to be recorded as a failure."""
        try:
            if self.keeper.settled_before(item):
                return True
            key = self.keeper.enter(item, lambda: self.stopping or self.error is not None)
        except (BrokenContainerError, OSError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            return self._admit(failure(item, f"the container cannot be read: {reason}"))
        if key is None:
            return self.stopping
        for member, row in with_rows(self.keeper.members(key), self.ledger):
            if self.stopping or self.error is not None:
                return True
            if not self._settled_before(member, row):
                self.keeper.wait_for(member)
                if not self._admit(member):
                    return True
        self.keeper.all_listed(key)
        return True

    def _admit(self, item: Item) -> bool:
        """Wait for room and let one input in; False where the run ends instead."""
        filmed = self.films is not None and is_film(item)
        cost = Cost() if item.problem or filmed else self._cost(item)
        if not self.budget.acquire(cost, self._supply_changed):
            return False
        picture = new_picture(item, cost)
        if item.problem:
            picture.end(Status(item.status), item.problem)
        else:
            try:
                self.outputs.claim(item.image_id)
            except NameTakenError as error:
                picture.end(Status.FAILED, str(error))
        if picture.done is not None:
            self.finished.put(picture)
        elif filmed:
            self.to_film.put(picture)
        else:
            self._let_in(picture)
        return True

    def _film(self) -> None:
        """Work on films, one after the other."""
        while (picture := self.to_film.get()) is not None and self.films is not None:
            try:
                self.films.work_on(picture, self._tick)
            except StoppedError:
                return
            self.finished.put(picture)

    def _tick(self) -> None:
        if self.stopping or self.error is not None:
            raise StoppedError
