"""The stages of a run on one machine, as threads: they overlap, and memory is bounded.

``n_fetchers`` threads read ahead what is far away; ``n_workers`` threads read, decode and detect, and encode and write;
``n_replacers`` threads replace micro-batches across pictures. Nothing that is written depends on the order in which the
threads come to it.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from understudy.batch.engine import Run
from understudy.batch.flow import Desk
from understudy.batch.stages import Job, Picture, copy_sidecar, fetch, finish, prepare, replace_batch


class ThreadRun(Run):
    """A run whose stages are threads of this process.

    Parameters
    ----------
    job : Job
        Called from several threads.
    arguments, more
        Those of ``Run``.
    """

    def __init__(self, job: Job, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.job = job
        self.desk: Desk[Picture] = Desk(
            self.settings.micro_batch,
            self.settings.gather_s,
            supply_ended=lambda: self.listed or self.budget.waiting,
            n_regions=lambda picture: picture.n_regions,
        )
        self.to_fetch: queue.SimpleQueue[Picture | None] = queue.SimpleQueue()
        self._n_fetchers = self.settings.n_fetchers if self.inputs.address else 0

    def _stages(self) -> Sequence[tuple[str, Callable[[], None], int]]:
        return (
            ("fetch", self._fetch, self._n_fetchers),
            ("work", self._work, self.settings.n_workers),
            ("replace", self._replace, self.settings.n_replacers),
        )

    def _let_in(self, picture: Picture) -> None:
        if picture.file.far:
            self.desk.expect()
            self.to_fetch.put(picture)
        else:
            self.desk.put_prepare(picture)

    def _close(self, *, drain: bool) -> None:
        if drain:
            self.desk.drain()
        self.desk.close()
        for _ in range(self._n_fetchers):
            self.to_fetch.put(None)

    def _supply_changed(self) -> None:
        self.desk.wake()

    def _depths(self) -> Mapping[str, int]:
        return {"fetch": self.to_fetch.qsize(), **self.desk.depths()}

    def _fetch(self) -> None:
        while (picture := self.to_fetch.get()) is not None:
            if self.stopping:
                self.desk.prepared(None)
                continue
            fetch(picture, max_bytes=self.settings.max_file_bytes)
            if picture.done is None:
                self.desk.put_prepare(picture, expected=True)
            else:
                self._ended_early(picture)

    def _ended_early(self, picture: Picture) -> None:
        copy_sidecar(picture, self.outputs)
        self.finished.put(picture)
        self.desk.prepared(None)

    def _work(self) -> None:
        while (work := self.desk.next_work()) is not None:
            is_prepared, picture = work
            if is_prepared:
                finish(self.job, picture, self.outputs)
                self.finished.put(picture)
                continue
            prepare(self.job, picture, max_bytes=self.settings.max_file_bytes)
            if picture.done is not None:
                self._ended_early(picture)
            else:
                self.desk.prepared(picture)

    def _replace(self) -> None:
        while (batch := self.desk.next_batch()) is not None:
            replace_batch(self.job, batch)
            for picture in batch:
                if picture.done is not None:
                    self.finished.put(picture)
                else:
                    self.desk.put_finish(picture)
