"""The runner for one machine: every input once, stages overlapping, memory bounded, and able to go on after any stop.

A listing thread lets pictures in while there is room (``Budget``); ``n_workers`` threads read, decode and detect, and
encode and write; ``n_replacers`` threads replace micro-batches across pictures; the calling thread commits rows to the
ledger and reports. Nothing that is written depends on the order in which the threads come to it.
"""

from __future__ import annotations

import hashlib
import os
import queue
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Literal

from understudy.batch.cost import picture_cost
from understudy.batch.flow import Budget, Cost, Desk
from understudy.batch.folder import NameTakenError, Outputs, folds_names, prepare_output, remove_parts, remove_results
from understudy.batch.ledger import Ledger, Row, Status
from understudy.batch.lock import locked
from understudy.batch.progress import Event
from understudy.batch.sources import InputFile, Inputs, printable
from understudy.batch.stages import Job, Picture, finish, new_picture, prepare, replace_batch
from understudy.batch.summary import RunInterruptedError, RunSummary
from understudy.batch.tables import TABLE_FILES, has_tables, write_tables
from understudy.errors import InvalidInputError, OutputError, StateMismatchError

RUN_FILE = "run.yaml"
_POLL_S = 0.1


@dataclass(frozen=True)
class RunSettings:
    """How a run uses the machine; nothing here changes what is written."""

    n_workers: int = 2
    n_replacers: int = 1
    micro_batch: int = 8
    """Regions that are replaced together, across pictures."""
    gather_s: float = 0.2
    """How long a batch waits for more while the listing is slow."""
    max_pictures: int = 16
    """Pictures in flight."""
    max_pixels: int = 32_000_000
    """Pixels in flight, some 20 bytes of memory each; a larger picture is worked on alone."""
    max_bytes: int = 512 << 20
    """Bytes of files in flight; a larger file is worked on alone."""
    max_file_bytes: int = 2 << 30
    """Larger files are refused."""
    resume: Literal["auto", "restart"] = "auto"
    """Go on with what is there, or remove what an earlier run wrote and begin anew."""

    def __post_init__(self) -> None:
        for name in ("n_workers", "n_replacers", "micro_batch", "max_pictures", "max_pixels", "max_bytes"):
            if getattr(self, name) < 1:
                raise InvalidInputError(f"{name} must be 1 or more, got {getattr(self, name)}")
        if self.resume not in ("auto", "restart"):
            raise InvalidInputError(f"resume must be auto or restart, got {self.resume!r}")


def _ignore(event: Event) -> None:
    """No report."""


def run_local(
    job: Job,
    inputs: Inputs,
    output: str | os.PathLike[str],
    *,
    settings: RunSettings | None = None,
    fingerprint: Mapping[str, object],
    report: Callable[[Event], object] = _ignore,
) -> RunSummary:
    """Anonymise a collection into an output folder, going on where an earlier run on it stopped.

    Parameters
    ----------
    job : Job
        What turns one file into another; called from several threads.
    inputs : Inputs
        From ``open_inputs``.
    output : path
        New, empty, or written by an earlier run.
    settings : RunSettings, optional
    fingerprint : mapping
        What results depend on (configuration, weights, versions); compared with that of the earlier run.
    report : callable
        Called in the calling thread with an ``Event`` for each settled input, in the order of settling.

    Returns
    -------
    RunSummary

    Raises
    ------
    OutputError
        The output cannot be written, is in use, or is not ours. What was finished stays.
    StateMismatchError
        Fingerprint or a source changed since the earlier run.
    RunInterruptedError
        A KeyboardInterrupt: SIGINT or SIGTERM came, and everything is in order.
    """
    chosen = settings or RunSettings()
    folder = Path(os.path.abspath(os.fspath(output)))
    prepare_output(folder, inputs.root)
    with locked(folder), closing(Ledger(folder)) as ledger:
        was_clean = ledger.clean
        if not was_clean:
            remove_parts(folder)
        if chosen.resume == "restart":
            remove_results(folder, ledger, (*TABLE_FILES, RUN_FILE))
            ledger.restart()
        ledger.match_fingerprint(fingerprint)
        ledger.mark(clean=False)
        outputs = Outputs(folder, ledger, folds=folds_names(folder))
        run = _Run(job, inputs, ledger, outputs, chosen, report)
        try:
            summary = run.go()
        except BaseException:
            with suppress(OutputError):  # the first error is the one to tell
                write_tables(folder, ledger)
                ledger.mark(clean=True)
            raise
        if ledger.changed or not was_clean or not has_tables(folder):
            write_tables(folder, ledger)
        ledger.mark(clean=True)
        return summary


class _Run:
    """The threads of one run and what they share."""

    def __init__(
        self,
        job: Job,
        inputs: Inputs,
        ledger: Ledger,
        outputs: Outputs,
        settings: RunSettings,
        report: Callable[[Event], object],
    ) -> None:
        self.job, self.inputs, self.ledger, self.outputs = job, inputs, ledger, outputs
        self.settings, self.report = settings, report
        self.summary = RunSummary()
        self.budget = Budget(settings.max_pictures, settings.max_pixels, settings.max_bytes)
        self.desk: Desk[Picture] = Desk(
            settings.micro_batch,
            settings.gather_s,
            supply_ended=lambda: self.listed or self.budget.waiting,
            n_regions=lambda picture: picture.n_regions,
        )
        self.finished: queue.SimpleQueue[Picture] = queue.SimpleQueue()
        self.resumed: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.listed = False
        self.stopping = False
        self.interrupted = self.hurried = False
        self.error: BaseException | None = None

    def go(self) -> RunSummary:
        """Work until everything is settled or something ends the run."""
        began = time.monotonic()
        threads = [threading.Thread(target=self._guard, args=(self._list,), name="list", daemon=True)]
        for target, n in ((self._work, self.settings.n_workers), (self._replace, self.settings.n_replacers)):
            threads += [
                threading.Thread(target=self._guard, args=(target,), name=f"{target.__name__}-{k}", daemon=True)
                for k in range(n)
            ]
        with self._signals():
            for thread in threads:
                thread.start()
            try:
                self._settle_all(threads)
            finally:
                self._stop()
                for thread in threads if not self.hurried else ():
                    thread.join()
                self._settle(timeout_s=0)
                self.summary.elapsed_s = time.monotonic() - began
        if self.error is not None:
            raise self.error
        if self.interrupted:
            raise RunInterruptedError(self.summary)
        return self.summary

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
        if not self.listed or self.budget.n_pictures > 0:
            self.desk.drain()
        self.desk.close()

    def _settle_all(self, threads: list[threading.Thread]) -> None:
        while not (self.listed and self.budget.n_pictures == 0):
            self._settle(_POLL_S)
            if self.error is not None or self.interrupted:
                self._stop()
                while any(thread.is_alive() for thread in threads):
                    self._settle(_POLL_S)
                return

    def _settle(self, timeout_s: float) -> None:
        """Commit what is finished, in one transaction, then tell."""
        while not self.resumed.empty():
            self._tell(self.resumed.get())
        pictures: list[Picture] = []
        with suppress(queue.Empty):
            pictures.append(self.finished.get(timeout=timeout_s) if timeout_s else self.finished.get_nowait())
            while len(pictures) < self.settings.max_pictures:
                pictures.append(self.finished.get_nowait())
        rows = [picture.done for picture in pictures if picture.done is not None]
        if not rows:
            return
        for row in rows:
            if row.status is not Status.DONE:
                self.outputs.discard(row.image_id)
        try:
            self.ledger.record(rows)
        except OutputError as error:
            self._fail(error)
            rows = []
        for picture in pictures:
            self.outputs.release(picture.file.image_id)
            self.budget.release(picture.cost)
        for row in rows:
            self._tell(_event(row, resumed=False))

    def _tell(self, event: Event) -> None:
        self.summary.add(event)
        self.report(event)

    def _list(self) -> None:
        """Let in one input after the other."""
        try:
            for file in self.inputs:
                if self.stopping or self.error is not None:
                    return
                if self._settled_before(file):
                    continue
                cost = Cost() if file.problem else picture_cost(file.path)
                if not self.budget.acquire(cost, self.desk.wake):
                    return
                self._let_in(new_picture(file, cost))
        finally:
            self.listed = True
            self.desk.wake()

    def _let_in(self, picture: Picture) -> None:
        file = picture.file
        if file.problem:
            picture.end(Status(file.status), file.problem)
        else:
            try:
                self.outputs.claim(file.image_id)
            except NameTakenError as error:
                picture.end(Status.FAILED, str(error))
        if picture.done is not None:
            self.finished.put(picture)
        else:
            self.desk.put_prepare(picture)

    def _settled_before(self, file: InputFile) -> bool:
        """Whether an earlier run finished an input, and it still is what it was.

        What was refused is tried again, which costs its first bytes: a limit may have been raised since, or an extra
        installed.
        """
        row = self.ledger.find(file.image_id)
        if row is None or row.status not in (Status.DONE, Status.SKIPPED):
            return False
        if row.status is Status.DONE and not self.outputs.exists(row.output, row.output_bytes):
            return False
        now = _stamp(file)
        if (row.source_bytes, row.source_mtime_ns) != now:
            if row.status is not Status.DONE:
                return False
            if now is not None:  # where the source is out of reach for now, what was made of it stays
                self._compare(file, row)
                self.ledger.touch(file.image_id, *now)
        self.resumed.put(_event(row, resumed=True))
        return True

    def _compare(self, file: InputFile, row: Row) -> None:
        """The digest decides where size or time differ."""
        try:
            with file.path.open("rb") as source:
                digest = hashlib.file_digest(source, "sha256").digest()
        except OSError:
            digest = b""
        if digest != row.digest:
            name, written = printable(file.image_id), printable(str(row.output))
            raise StateMismatchError(
                f"source {name!r} changed since it was anonymised: put the earlier file back, or delete "
                f"{written!r} in the output folder to have it made again, or begin anew with resume=restart"
            )

    def _work(self) -> None:
        while (work := self.desk.next_work()) is not None:
            is_prepared, picture = work
            if is_prepared:
                finish(self.job, picture, self.outputs)
                self.finished.put(picture)
                continue
            prepare(self.job, picture, max_bytes=self.settings.max_file_bytes)
            if picture.done is not None:
                self.finished.put(picture)
            self.desk.prepared(None if picture.done is not None else picture)

    def _replace(self) -> None:
        while (batch := self.desk.next_batch()) is not None:
            replace_batch(self.job, batch)
            for picture in batch:
                if picture.done is not None:
                    self.finished.put(picture)
                else:
                    self.desk.put_finish(picture)


def _stamp(file: InputFile) -> tuple[int, int] | None:
    """Size and time of a source; None where it cannot be reached."""
    try:
        status = os.stat(file.path)
    except OSError:
        return None
    return None if file.problem else (status.st_size, status.st_mtime_ns)


def _event(row: Row, *, resumed: bool) -> Event:
    outcomes = Counter(replaced=row.n_replaced, filled=row.n_filled, obscured=row.n_obscured)
    return Event(row.status, row.image_id, row.error, outcomes=+outcomes, resumed=resumed)
